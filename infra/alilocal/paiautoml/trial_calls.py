"""Operations on the trials, logs and commands of an experiment.

Paths and members: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotrials
and its siblings. An id that nobody knows is answered like an unknown experiment, which is undocumented.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from alilocal.core.http import Response
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.service import Call, Route
from alilocal.core.world import World
from alilocal.paiautoml.errors import InvalidInput, NoSuchExperiment
from alilocal.paiautoml.listing import read_count, read_page
from alilocal.paiautoml.model import Experiment, Experiments
from alilocal.paiautoml.triallogs import EXPERIMENT_LOGS, TRIAL_LOGS, commands, experiment_log, trial_log
from alilocal.paiautoml.trials import Trial
from alilocal.paiautoml.validation import read_object

T = TypeVar("T")
_TIME = "%Y-%m-%d %H:%M:%S"

_ORDERS: dict[str, Callable[[Trial], float]] = {
    "CREATE_TIME": lambda trial: trial.created,
    "GmtCreateTime": lambda trial: trial.created,
    "FINAL_METRIC": lambda trial: _final(trial) or 0.0,
}


class TrialCalls:
    """The handlers and their routes; `succeed` makes an answer of its members."""

    def __init__(
        self, world: World, experiments: Experiments, succeed: Callable[[Call, JsonObject], Response]
    ) -> None:
        self._world = world
        self._experiments = experiments
        self._succeed = succeed

    def routes(self, one: str) -> Sequence[Route]:
        """`one` is the path of an experiment."""
        trial = f"{one}/trial/{{trial}}"
        return (
            Route("ListHpoExperimentLogs", "GET", f"{one}/logs", self._experiment_logs),
            Route("ListHpoTrials", "GET", f"{one}/trials", self._list),
            Route("GetHpoTrial", "GET", trial, self._get),
            Route("StopHpoTrials", "PUT", f"{one}/stop_trials", self._stop),
            Route("RestartHpoTrials", "PUT", f"{one}/restart_trials", self._restart),
            Route("ListHpoTrialLogNames", "GET", f"{trial}/lognames", self._log_names),
            Route("ListHpoTrialLogs", "GET", f"{trial}/logs", self._logs),
            Route("ListHpoTrialCommands", "GET", f"{trial}/commands", self._commands),
        )

    def _list(self, call: Call) -> Response:
        given = dict(call.request.query_pairs(plus_is_space=True))
        order, by = given.get("Order") or "ASC", given.get("SortBy") or "CREATE_TIME"
        if by not in _ORDERS or order not in ("ASC", "DESC"):
            raise InvalidInput("'SortBy' or 'Order' is not valid.")
        trials = sorted(self._experiment(call).trials, key=_ORDERS[by], reverse=order == "DESC")
        rows: list[JsonValue] = [self._row(trial, "SUCCEEDED") for trial in _page(call, trials)]
        return self._succeed(call, {"TotalCount": len(trials), "Trials": rows})

    def _get(self, call: Call) -> Response:
        trial = self._trial(call)
        members = self._row(trial, "FINISHED")
        final = _final(trial)
        if final is not None:
            # Here a JSON object, in a list a bare number: so the published examples.
            members["FinalMetric"] = json.dumps({"default": final})
        return self._succeed(call, members)

    def _stop(self, call: Call) -> Response:
        experiment = self._experiment(call)
        numbers = {trial.trial_id: trial.sequence for trial in experiment.trials}
        asked = _ids(call)
        done = {one: one in numbers and experiment.stop_trial(numbers[one]) for one in asked}
        return self._told(call, done, "stop", "successfully stopped trial,")

    def _restart(self, call: Call) -> Response:
        experiment = self._experiment(call)
        asked = _ids(call)
        if not asked:
            return self._rerun_values(call, experiment)
        trials = {trial.trial_id: trial for trial in experiment.trials}
        done = {one: _rerun(experiment, trials.get(one)) for one in asked}
        return self._told(call, done, "restart", "successfully restarted trial,")

    def _rerun_values(self, call: Call, experiment: Experiment) -> Response:
        text = read_object(call.request.body).get("TrialHyperParameters")
        if text in (None, ""):
            return self._succeed(call, {"Results": {}})
        values = _values(text)
        done = {json.dumps(one): experiment.rerun(one) for one in values}
        return self._told(call, done, "restart", "successfully restarted trial,")

    def _told(self, call: Call, done: dict[str, bool], verb: str, success: str) -> Response:
        results: JsonObject = {
            one: success if went else f"failed to {verb} trial," for one, went in done.items()
        }
        failed: JsonObject = {"Message": f"failed to {verb} any trial"}
        return self._succeed(
            call, {"Results": results, **(failed if done and not any(done.values()) else {})}
        )

    def _experiment_logs(self, call: Call) -> Response:
        experiment = self._experiment(call)
        name = _log_name(call, EXPERIMENT_LOGS)
        return self._lines(call, experiment_log(name, experiment.trials, experiment.statuses))

    def _log_names(self, call: Call) -> Response:
        trial = self._trial(call)
        folder = f"/root/nni-experiments/{trial.experiment_id}/trials/{trial.trial_id}"
        return self._succeed(call, {"LogNames": [f"{folder}/{name}" for name in TRIAL_LOGS]})

    def _logs(self, call: Call) -> Response:
        trial = self._trial(call)
        return self._lines(call, trial_log(_log_name(call, TRIAL_LOGS), trial))

    def _commands(self, call: Call) -> Response:
        rows: list[JsonValue] = [
            {"Id": command.number, "Command": command.text, "Output": command.output}
            for command in commands(self._trial(call))
        ]
        return self._succeed(call, {"Commands": rows})

    def _lines(self, call: Call, lines: Sequence[str]) -> Response:
        return self._succeed(call, {"TotalCount": len(lines), "Logs": list(_page(call, lines))})

    def _experiment(self, call: Call) -> Experiment:
        return self._experiments.find(call.params["id"], call.caller)

    def _trial(self, call: Call) -> Trial:
        wanted = call.params["trial"]
        for trial in self._experiment(call).trials:
            if trial.trial_id == wanted:
                return trial
        raise NoSuchExperiment(wanted)

    def _row(self, trial: Trial, success: str) -> JsonObject:
        named = self._world.behaviour.trial_success
        status = trial.status if trial.status != "SUCCEEDED" else success
        if trial.status == "SUCCEEDED" and named != "as_documented":
            status = named
        final = _final(trial)
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


def _rerun(experiment: Experiment, trial: Trial | None) -> bool:
    """A new trial for one that failed; not for one whose parameters have succeeded."""
    if trial is None or trial.status not in ("FAILED", "USER_CANCELED", "SYS_CANCELED"):
        return False
    went = any(
        one.status == "SUCCEEDED" and one.hyperparameters == trial.hyperparameters
        for one in experiment.trials
    )
    return not went and experiment.rerun(trial.hyperparameters)


def _final(trial: Trial) -> float | None:
    rows = [row["default"] for row in trial.metrics if row["type"] == "FINAL"]
    return float(rows[0]) if rows and isinstance(rows[0], (int, float)) else None


def _ids(call: Call) -> list[str]:
    given = read_object(call.request.body).get("TrialIds")
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise InvalidInput("'TrialIds' must be a list of strings.")
    return [one for one in given if isinstance(one, str)]


def _values(text: JsonValue) -> list[JsonObject]:
    """Sets of hyperparameters, of one JSON object or a list of them."""
    try:
        value: JsonValue = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        raise InvalidInput("'TrialHyperParameters' is not valid JSON.") from None
    found = value if isinstance(value, list) else [value]
    sets = [one for one in found if isinstance(one, dict)]
    if len(sets) != len(found):
        raise InvalidInput("'TrialHyperParameters' must be an object, or a list of objects.")
    return sets


def _log_name(call: Call, names: Sequence[str]) -> str:
    name = dict(call.request.query_pairs(plus_is_space=True)).get("LogName") or names[0]
    # The names that are listed are whole paths.
    short = name.rpartition("/")[2]
    if short not in names:
        raise InvalidInput(f"'LogName' must be one of {', '.join(names)}.")
    return short


def _page(call: Call, rows: Sequence[T]) -> Sequence[T]:
    """The page asked for; everything if none is."""
    given = dict(call.request.query_pairs(plus_is_space=True))
    if not given.get("PageNumber") and not given.get("PageSize"):
        return rows
    page, size = read_page(given), read_count(given.get("PageSize"), "PageSize", 10, None)
    return rows[(page - 1) * size : page * size]
