"""The operations of PAI AutoML.

Paths: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-overview.
"""

from __future__ import annotations

from dataclasses import replace

from alilocal.core.acs3 import Acs3
from alilocal.core.gateway import gateway_error, json_response
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject
from alilocal.core.ram import Permission
from alilocal.core.service import Call, Handler, Route, Service
from alilocal.core.snapshot import dump, load, member
from alilocal.core.world import World
from alilocal.paiautoml import wire
from alilocal.paiautoml.errors import (
    SERVICE_ROLE,
    ExperimentError,
    NoServiceRole,
    StillRuns,
    Unsupported,
)
from alilocal.paiautoml.lifecycle import TERMINAL
from alilocal.paiautoml.listing import read_listing
from alilocal.paiautoml.model import Experiment, Experiments
from alilocal.paiautoml.secrets import masked
from alilocal.paiautoml.trial_calls import TrialCalls
from alilocal.paiautoml.validation import read_draft, read_update

VERSION = "2022-08-28"
_API = "/api/automl/v1"
_ONE = f"{_API}/hpo/experiment/{{id}}"
_ROLE = f"{_API}/serviceidentityrole"
_UNSUPPORTED = (
    ("CreateAutofeExperiment", "POST", f"{_API}/autofe/experiment"),
    ("GetAutofeExperiment", "GET", f"{_API}/autofe/experiment/{{id}}"),
)


_OF_ALL = frozenset(
    {"StopHpoExperiment", "StopHpoTrials", "ListHpoTrialCommands", "ListHpoTrialLogNames", "ListHpoTrialLogs"}
)
"""Operations on one experiment whose permission is, by the documentation, one on all."""


class PaiAutoMl(Service):
    """Experiments and their trials."""

    name = "paiautoml"
    title = "PAI AutoML 2022-08-28"

    def __init__(self, world: World) -> None:
        self.experiments = Experiments(world)
        self._world = world
        self._has_role = False
        self._signatures = Acs3(world.credentials, world.clock, VERSION)
        super().__init__(
            (
                Route("CreateHpoExperiment", "POST", f"{_API}/hpo/experiment", self._create),
                Route("ListHpoExperiments", "GET", f"{_API}/hpo/experiments", self._list),
                Route("GetHpoExperiment", "GET", _ONE, self._get),
                Route("UpdateHpoExperiment", "PUT", f"{_ONE}/update", self._update),
                Route("StopHpoExperiment", "PUT", f"{_ONE}/stop", self._stop),
                Route("DeleteHpoExperiment", "PUT", f"{_ONE}/delete", self._delete),
                *TrialCalls(world, self.experiments, self._success).routes(_ONE),
                Route("CreateServiceIdentityRole", "POST", _ROLE, self._create_role),
                Route("GetServiceIdentityRole", "GET", _ROLE, self._get_role),
                *(
                    Route(name, method, path, _refuse(name), supported=False)
                    for name, method, path in _UNSUPPORTED
                ),
            )
        )

    def owns(self, request: Request) -> bool:
        return request.path.startswith("/api/automl/") or bool(request.header("x-acs-action"))

    def new_request_id(self) -> str:
        return self._world.ids.request_id()

    def answer(
        self, request: Request, found: tuple[Route, dict[str, str]] | None, request_id: str
    ) -> Response:
        """Verify the sender and do what is asked; raises ServiceError."""
        caller = self._signatures.verify(request)
        if found is None:
            raise ServiceError(
                404,
                "InvalidApi.NotFound",
                "Specified api is not found, please check your url and method.",
            )
        route, params = found
        fits = request.header("x-acs-action") == route.operation
        if not fits and self._world.behaviour.wrong_action == "refused":
            raise ServiceError(404, "InvalidAction.NotFound", "Specified action does not fit its path.")
        call = Call(request, params, caller, request_id)
        self.authorize(route, call)
        return route.handler(call)

    def permission(self, route: Route, call: Call) -> Permission:
        """Resources: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-ram."""
        place = f"acs:paiautoml:{self._world.region}:{self._world.account_id}"
        whole = route.operation in _OF_ALL or "id" not in call.params
        what = "*" if whole else f"hpoexperiment/{call.params['id']}"
        return Permission((f"paiautoml:{route.operation}",), (f"{place}:{what}",))

    def dump(self) -> JsonObject:
        """Secrets of configurations are masked, as a snapshot may lie on a disk."""
        kept = [
            replace(
                one,
                configuration=masked(one.configuration),
                earlier=[(since, masked(configuration)) for since, configuration in one.earlier],
            )
            for one in self.experiments.all()
        ]
        return {"experiments": dump(kept, list[Experiment]), "serviceRole": self._has_role}

    def restore(self, state: JsonObject) -> None:
        place = f"{self.name}.experiments"
        document = member(state, "experiments", self.name)
        self.experiments.restore(load(list[Experiment], document, place, clock=self._world.clock))
        self._has_role = load(bool, member(state, "serviceRole", self.name), f"{self.name}.serviceRole")

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(
            403, "Forbidden.RAM", f"User not authorized to operate on the specified resource: {needed}."
        )

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        """In the service's form if it is the service's own, else in the gateway's."""
        behaviour = self._world.behaviour
        status = error.status
        if isinstance(error, ExperimentError):
            status = behaviour.error_status
            body: JsonObject = {"RequestId": request_id, "Code": error.code, "Message": error.message}
        else:
            host = request.header("Host") or "localhost"
            body = gateway_error(error, request_id, host, "paiAutoML", lower=behaviour.error_keys == "lower")
        answer = json_response(status, body, request_id)
        return Response(answer.status, (*answer.headers, *error.headers), answer.body)

    def _create(self, call: Call) -> Response:
        behaviour = self._world.behaviour
        draft = read_draft(call.request.body, behaviour)
        experiment = self.experiments.create(draft, call.caller.user_id)
        values = [value for _, value in experiment.tags]
        self._world.notes.about(experiment.experiment_id, *values, detail=experiment.experiment_id)
        return self._success(call, {"ExperimentId": experiment.experiment_id})

    def _list(self, call: Call) -> Response:
        listing = read_listing(call.request, self._world.behaviour)
        self._world.notes.about(*(value for _, value in listing.tags))
        matching = listing.select(self.experiments.visible(call.caller))
        rows = [
            wire.list_item(experiment, with_configuration=listing.with_configuration)
            for experiment in listing.page_of(matching)
        ]
        counted = matching if self._world.behaviour.total_count == "matches" else rows
        return self._success(call, {"TotalCount": len(counted), "Experiments": list(rows)})

    def _get(self, call: Call) -> Response:
        experiment = self._addressed(call)
        return self._success(call, wire.whole(experiment, mask=self._world.behaviour.mask_configuration))

    def _update(self, call: Call) -> Response:
        experiment, behaviour = self._addressed(call), self._world.behaviour
        update = read_update(call.request.body, experiment.configuration, behaviour)
        experiment.update(update)
        return self._success(call, {})

    def _create_role(self, call: Call) -> Response:
        self._has_role = True
        return self._success(call, {"RoleName": SERVICE_ROLE})

    def _get_role(self, call: Call) -> Response:
        if not self._has_role:
            raise NoServiceRole
        return self._success(call, {"RoleName": SERVICE_ROLE})

    def _stop(self, call: Call) -> Response:
        experiment = self._addressed(call)
        experiment.stop()
        # Stop alone names the id so.
        return self._success(call, {"ExpId": experiment.experiment_id, "Status": experiment.status})

    def _delete(self, call: Call) -> Response:
        experiment = self._addressed(call)
        if self._world.behaviour.delete_running == "refused" and experiment.status not in TERMINAL:
            raise StillRuns(experiment.experiment_id)
        experiment.deleted = True
        return self._success(call, {})

    def _addressed(self, call: Call) -> Experiment:
        return self.experiments.find(call.params["id"], call.caller)

    def _success(self, call: Call, members: JsonObject) -> Response:
        code: JsonObject = {"Code": "SUCCESS"} if self._world.behaviour.success_code else {}
        return json_response(200, {"RequestId": call.request_id, **code, **members}, call.request_id)


def _refuse(operation: str) -> Handler:
    def handler(_call: Call) -> Response:
        raise Unsupported(operation)

    return handler
