"""The operations on experiments, on the service-linked role, and on the trials, logs and commands of an experiment.

Members: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotrials and its
siblings. An unknown trial is answered like an unknown experiment, which is undocumented.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from alilocal.core.http import Response
from alilocal.core.jsonvalue import JsonObject, JsonValue, load_json
from alilocal.core.service import Call
from alilocal.core.world import World
from alilocal.paiautoml import wire
from alilocal.paiautoml.errors import SERVICE_ROLE, InvalidInput, NoServiceRole, NoSuchExperiment, StillRuns
from alilocal.paiautoml.listing import read_count, read_listing, read_page
from alilocal.paiautoml.model import Account, AnyTrial, Experiment, Experiments
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.paiautoml.triallogs import EXPERIMENT_LOGS, TRIAL_LOGS, experiment_log, read_commands, trial_log
from alilocal.paiautoml.validation import read_draft, read_object, read_update
from alilocal.paiautoml.views import final_of, is_restartable
from alilocal.trials.record import TERMINAL

T = TypeVar("T")
_TIME = "%Y-%m-%d %H:%M:%S"

_ORDERS: dict[str, Callable[[AnyTrial], float]] = {
    "CREATE_TIME": lambda trial: trial.created,
    "GmtCreateTime": lambda trial: trial.created,
    "FINAL_METRIC": lambda trial: final_of(trial) or 0.0,
}


class TrialCalls:
    """The handlers of the operations."""

    def __init__(self, world: World[PaiAutoMlSwitches], experiments: Experiments) -> None:
        self._world = world
        self._experiments = experiments

    def list(self, call: Call) -> Response:
        given = dict(call.request.query_pairs(plus_is_space=True))
        order, by = given.get("Order") or "ASC", given.get("SortBy") or "CREATE_TIME"
        if by not in _ORDERS or order not in ("ASC", "DESC"):
            raise InvalidInput("'SortBy' or 'Order' is not valid.")
        trials = sorted(self._experiment(call).trials, key=_ORDERS[by], reverse=order == "DESC")
        rows: list[JsonValue] = [self._row(trial, "SUCCEEDED") for trial in _page(call, trials)]
        return wire.success(self._world, call, {"TotalCount": len(trials), "Trials": rows})

    def get(self, call: Call) -> Response:
        trial = self._trial(call)
        members = self._row(trial, "FINISHED")
        final = final_of(trial)
        if final is not None:
            # A JSON object here and a bare number in a list, as in the published examples.
            members["FinalMetric"] = json.dumps({"default": final})
        return wire.success(self._world, call, members)

    def stop(self, call: Call) -> Response:
        experiment = self._experiment(call)
        numbers = {trial.trial_id: trial.sequence for trial in experiment.trials}
        asked = _ids(call)
        done = {one: one in numbers and experiment.stop_trial(numbers[one]) for one in asked}
        return self._results(call, done, "stop", "successfully stopped trial,")

    def restart(self, call: Call) -> Response:
        experiment = self._experiment(call)
        asked = _ids(call)
        if not asked:
            return self._rerun_values(call, experiment)
        trials = {trial.trial_id: trial for trial in experiment.trials}
        done = {one: rerun_trial(experiment, trials.get(one)) for one in asked}
        return self._results(call, done, "restart", "successfully restarted trial,")

    def _rerun_values(self, call: Call, experiment: Experiment) -> Response:
        text = read_object(call.request.body).get("TrialHyperParameters")
        if text in (None, ""):
            return wire.success(self._world, call, {"Results": {}})
        values = _values(text)
        done = {json.dumps(one): experiment.rerun(one) for one in values}
        return self._results(call, done, "restart", "successfully restarted trial,")

    def _results(self, call: Call, done: dict[str, bool], verb: str, success: str) -> Response:
        results: JsonObject = {
            one: success if went_well else f"failed to {verb} trial," for one, went_well in done.items()
        }
        failed: JsonObject = {"Message": f"failed to {verb} any trial"}
        return wire.success(
            self._world, call, {"Results": results, **(failed if done and not any(done.values()) else {})}
        )

    def experiment_logs(self, call: Call) -> Response:
        experiment = self._experiment(call)
        name = _log_name(call, EXPERIMENT_LOGS)
        return self._lines(call, experiment_log(experiment, name))

    def log_names(self, call: Call) -> Response:
        trial = self._trial(call)
        folder = f"/root/nni-experiments/{trial.experiment_id}/trials/{trial.trial_id}"
        return wire.success(self._world, call, {"LogNames": [f"{folder}/{name}" for name in TRIAL_LOGS]})

    def logs(self, call: Call) -> Response:
        experiment = self._experiment(call)
        return self._lines(call, trial_log(experiment, _log_name(call, TRIAL_LOGS), self._trial(call)))

    def commands(self, call: Call) -> Response:
        rows: list[JsonValue] = [
            {"Id": command.number, "Command": command.text, "Output": command.output}
            for command in read_commands(self._experiment(call), self._trial(call))
        ]
        return wire.success(self._world, call, {"Commands": rows})

    def _lines(self, call: Call, lines: Sequence[str]) -> Response:
        return wire.success(self._world, call, {"TotalCount": len(lines), "Logs": list(_page(call, lines))})

    def _experiment(self, call: Call) -> Experiment:
        return self._experiments.find(call.params["id"], call.caller)

    def _trial(self, call: Call) -> AnyTrial:
        wanted = call.params["trial"]
        for trial in self._experiment(call).trials:
            if trial.trial_id == wanted:
                return trial
        raise NoSuchExperiment(wanted)

    def _row(self, trial: AnyTrial, success: str) -> JsonObject:
        named = self._world.behaviour.trial_success
        status = trial.status if trial.status != "SUCCEEDED" else success
        if trial.status == "SUCCEEDED" and named != "as_documented":
            status = named
        final = final_of(trial)
        meta = {
            "nni_trial_id": trial.trial_id,
            "nni_exp_id": trial.experiment_id,
            "nni_trial_sequence_id": str(trial.sequence),
        }
        members: JsonObject = {
            "TrialId": trial.trial_id,
            "ExperimentId": trial.experiment_id,
            "ParameterId": trial.sequence,
            "Hyperparam": json.dumps(trial.hyperparameters, ensure_ascii=False),
            "Status": status,
            "Metric": json.dumps(trial.metrics),
            "JobMeta": json.dumps(meta),
            "GmtCreateTime": time.strftime(_TIME, time.gmtime(trial.created)),
            "GmtModifiedTime": time.strftime(_TIME, time.gmtime(trial.since)),
        }
        return members if final is None else {**members, "FinalMetric": json.dumps(final)}


def rerun_trial(experiment: Experiment, trial: AnyTrial | None) -> bool:
    """Add a trial in place of one that failed, unless the same hyperparameters have succeeded elsewhere."""
    if trial is None or not is_restartable(trial):
        return False
    has_succeeded = any(
        one.status == "SUCCEEDED" and one.hyperparameters == trial.hyperparameters
        for one in experiment.trials
    )
    return not has_succeeded and experiment.rerun(trial.hyperparameters)


def _ids(call: Call) -> list[str]:
    given = read_object(call.request.body).get("TrialIds")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise InvalidInput("'TrialIds' must be a list of strings.")
    return [one for one in given if isinstance(one, str)]


def _values(text: JsonValue) -> list[JsonObject]:
    """Return the sets of hyperparameters in `text`, a JSON object or a list of objects."""
    try:
        value: JsonValue = load_json(text) if isinstance(text, str) else text
    except ValueError:
        raise InvalidInput("'TrialHyperParameters' is not valid JSON.") from None
    found = value if isinstance(value, list) else [value]
    sets = [one for one in found if isinstance(one, dict)]
    if len(sets) != len(found):
        raise InvalidInput("'TrialHyperParameters' must be an object, or a list of objects.")
    return sets


def _log_name(call: Call, names: Sequence[str]) -> str:
    name = dict(call.request.query_pairs(plus_is_space=True)).get("LogName") or names[0]
    # ListHpoTrialLogNames returns whole paths.
    short = name.rpartition("/")[2]
    if short not in names:
        raise InvalidInput(f"'LogName' must be one of {', '.join(names)}.")
    return short


def _page(call: Call, rows: Sequence[T]) -> Sequence[T]:
    """Return the requested page of `rows`, or all rows if the call requests no page."""
    given = dict(call.request.query_pairs(plus_is_space=True))
    if not given.get("PageNumber") and not given.get("PageSize"):
        return rows
    page, size = read_page(given), read_count(given.get("PageSize"), "PageSize", 10, None)
    return rows[(page - 1) * size : page * size]


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
