"""The operations on experiments and on the service-linked role."""

from __future__ import annotations

from alilocal.core.http import Response
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.paiautoml import wire
from alilocal.paiautoml.errors import SERVICE_ROLE, NoServiceRole, StillRuns
from alilocal.paiautoml.listing import read_listing
from alilocal.paiautoml.model import Account, Experiment, Experiments
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.paiautoml.validation import read_draft, read_update
from alilocal.trials.record import TERMINAL


class Calls:
    """The handlers of the operations."""

    def __init__(self, world: World[PaiAutoMlSwitches], experiments: Experiments, account: Account) -> None:
        self._world = world
        self._experiments = experiments
        self._account = account

    def create(self, call: Call) -> Response:
        draft = read_draft(call.request.body, self._world.behaviour)
        experiment = self._experiments.create(draft, call.caller.user_id)
        tags = [value for _, value in experiment.tags]
        self._world.notes.record_keys(experiment.experiment_id, *tags, detail=experiment.experiment_id)
        return wire.success(self._world, call, {"ExperimentId": experiment.experiment_id})

    def list(self, call: Call) -> Response:
        listing = read_listing(call.request, self._world.behaviour)
        self._world.notes.record_keys(*(value for _, value in listing.tags))
        matching = listing.select(self._experiments.visible(call.caller))
        rows = [
            wire.list_item(experiment, with_configuration=listing.with_configuration)
            for experiment in listing.page_of(matching)
        ]
        counted = matching if self._world.behaviour.total_count == "matches" else rows
        total = max(0, len(counted) + self._world.behaviour.listing_total_offset)
        return wire.success(self._world, call, {"TotalCount": total, "Experiments": [*rows]})

    def get(self, call: Call) -> Response:
        members = wire.whole(self._find(call), mask=self._world.behaviour.mask_configuration)
        return wire.success(self._world, call, members)

    def update(self, call: Call) -> Response:
        experiment = self._find(call)
        update = read_update(call.request.body, experiment.configuration, self._world.behaviour)
        experiment.update(update)
        return wire.success(self._world, call, {})

    def stop(self, call: Call) -> Response:
        experiment = self._find(call)
        experiment.stop()
        # StopHpoExperiment is the only operation that calls the id `ExpId`.
        members = {"ExpId": experiment.experiment_id, "Status": experiment.status}
        return wire.success(self._world, call, {**members})

    def delete(self, call: Call) -> Response:
        experiment = self._find(call)
        if self._world.behaviour.delete_running == "refused" and experiment.status not in TERMINAL:
            raise StillRuns(experiment.experiment_id)
        if experiment.run is not None:
            experiment.stop()
        experiment.deleted = True
        return wire.success(self._world, call, {})

    def create_role(self, call: Call) -> Response:
        self._account.has_role = True
        return wire.success(self._world, call, {"RoleName": SERVICE_ROLE})

    def get_role(self, call: Call) -> Response:
        if not self._account.has_role:
            raise NoServiceRole
        return wire.success(self._world, call, {"RoleName": SERVICE_ROLE})

    def _find(self, call: Call) -> Experiment:
        return self._experiments.find(call.params["id"], call.caller)
