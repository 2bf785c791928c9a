"""The service PAI AutoML and the list of its operations.

Paths: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-overview.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from alilocal.core.credentials import Credential
from alilocal.core.gateway import as_xml, error_response, json_response, wants_xml
from alilocal.core.http import Request, Response, ServiceError
from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.core.ram import Permission
from alilocal.core.service import Call, Found, Handler, Route, Service
from alilocal.core.signatures import GatewaySignatures
from alilocal.core.snapshot import dump, load, member
from alilocal.core.view import Badge, Card, Code, Link, Moment, Preset, Table, Trace, View
from alilocal.core.world import World
from alilocal.paiautoml import wire
from alilocal.paiautoml.calls import Calls, TrialCalls, rerun_trial
from alilocal.paiautoml.errors import ExperimentError, Unsupported
from alilocal.paiautoml.model import Account, AnyTrial, Experiment, Experiments
from alilocal.paiautoml.switches import PaiAutoMlSwitches
from alilocal.paiautoml.views import experiment_path, find_trial, view_experiment, view_trial
from alilocal.trials.record import TERMINAL, cut_off

VERSION = "2022-08-28"
_API = "/api/automl/v1"
_ONE = f"{_API}/hpo/experiment/{{id}}"
_TRIAL = f"{_ONE}/trial/{{trial}}"
_ROLE = f"{_API}/serviceidentityrole"
_UNSUPPORTED = (
    ("CreateAutofeExperiment", "POST", f"{_API}/autofe/experiment"),
    ("GetAutofeExperiment", "GET", f"{_API}/autofe/experiment/{{id}}"),
)
_OF_ALL = frozenset(
    {"StopHpoExperiment", "StopHpoTrials", "ListHpoTrialCommands", "ListHpoTrialLogNames", "ListHpoTrialLogs"}
)
"""Operations on one experiment for which, as documented, RAM must grant access to all experiments."""
_CREATED, _LOOKED_FOR = Trace("created", creates=True, makes=True), Trace("searched for")


class PaiAutoMl(Service):
    """Experiments and their trials."""

    name = "paiautoml"
    title = "PAI AutoML 2022-08-28"

    def __init__(self, world: World[PaiAutoMlSwitches]) -> None:
        self.experiments = Experiments(world)
        self._account = Account()
        self._world: World[PaiAutoMlSwitches] = world
        self._signatures = GatewaySignatures(world, VERSION)
        calls = Calls(world, self.experiments, self._account)
        trials = TrialCalls(world, self.experiments)
        super().__init__(
            (
                Route("CreateHpoExperiment", "POST", f"{_API}/hpo/experiment", calls.create, trace=_CREATED),
                Route("ListHpoExperiments", "GET", f"{_API}/hpo/experiments", calls.list, trace=_LOOKED_FOR),
                Route("GetHpoExperiment", "GET", _ONE, calls.get),
                Route("UpdateHpoExperiment", "PUT", f"{_ONE}/update", calls.update),
                Route("StopHpoExperiment", "PUT", f"{_ONE}/stop", calls.stop),
                Route("DeleteHpoExperiment", "PUT", f"{_ONE}/delete", calls.delete),
                Route("ListHpoExperimentLogs", "GET", f"{_ONE}/logs", trials.experiment_logs),
                Route("ListHpoTrials", "GET", f"{_ONE}/trials", trials.list),
                Route("GetHpoTrial", "GET", _TRIAL, trials.get),
                Route("StopHpoTrials", "PUT", f"{_ONE}/stop_trials", trials.stop),
                Route("RestartHpoTrials", "PUT", f"{_ONE}/restart_trials", trials.restart),
                Route("ListHpoTrialLogNames", "GET", f"{_TRIAL}/lognames", trials.log_names),
                Route("ListHpoTrialLogs", "GET", f"{_TRIAL}/logs", trials.logs),
                Route("ListHpoTrialCommands", "GET", f"{_TRIAL}/commands", trials.commands),
                Route("CreateServiceIdentityRole", "POST", _ROLE, calls.create_role),
                Route("GetServiceIdentityRole", "GET", _ROLE, calls.get_role),
                *(
                    Route(name, method, path, _refuse(name), supported=False)
                    for name, method, path in _UNSUPPORTED
                ),
            )
        )

    def owns(self, request: Request) -> bool:
        """Return whether the path is one of the API's, or the request names this service's API version elsewhere."""
        if request.path.startswith("/api/automl/"):
            return True
        return request.header("x-acs-version") == VERSION

    def new_request_id(self) -> str:
        return self._world.ids.request_id()

    def verify(self, request: Request) -> Credential:
        return self._signatures.verify(request)

    def unknown_operation(self, request: Request) -> ServiceError:  # noqa: ARG002 - the service names no request
        return ServiceError(
            404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method."
        )

    def check_call(self, route: Route, call: Call) -> None:
        # Version 1 of the signature does without the header; version 3 makes it mandatory.
        fits = call.request.header("x-acs-action") in (None, route.operation)
        if not fits and self._world.behaviour.wrong_action == "refused":
            raise ServiceError(404, "InvalidAction.NotFound", "Specified action does not fit its path.")

    def permission(self, route: Route, call: Call) -> Permission:
        """Return the permission; https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-ram."""
        place = f"acs:paiautoml:{self._world.region}:{self._world.account_id}"
        is_for_all = route.operation in _OF_ALL or "id" not in call.params
        what = "*" if is_for_all else f"hpoexperiment/{call.params['id']}"
        return Permission((f"paiautoml:{route.operation}",), (f"{place}:{what}",))

    def denied(self, permission: Permission) -> ServiceError:
        needed = f"{permission.actions[0]} on {permission.resources[0]}"
        return ServiceError(
            403, "Forbidden.RAM", f"User not authorized to operate on the specified resource: {needed}."
        )

    def answer(self, request: Request, found: Found | None, request_id: str) -> Response:
        answer = super().answer(request, found, request_id)
        return as_xml(answer, f"{found[0].operation}Response") if found and wants_xml(request) else answer

    def render_error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        answer = self._error(error, request, request_id)
        return as_xml(answer, "Error") if wants_xml(request) else answer

    def _error(self, error: ServiceError, request: Request, request_id: str) -> Response:
        """Return `error` in the service's form if the service itself raised it, else in the gateway's form."""
        behaviour = self._world.behaviour
        if not isinstance(error, ExperimentError):
            lower = behaviour.error_keys == "lower"
            return error_response(error, request, request_id, "paiAutoML", lower=lower)
        body: JsonObject = {"RequestId": request_id, "Code": error.code, "Message": error.message}
        return json_response(behaviour.error_status, body, request_id)

    def dump(self) -> JsonObject:
        """Return the state with the secrets of configurations masked, because a snapshot may be kept on a disk."""
        kept = [
            replace(
                one,
                configuration=wire.without_secrets(one.configuration),
                earlier=[
                    (since, wire.without_secrets(configuration)) for since, configuration in one.earlier
                ],
            )
            for one in self.experiments.list()
        ]
        return {"experiments": dump(kept, list[Experiment]), "serviceRole": self._account.has_role}

    def restore(self, state: JsonObject) -> None:
        place = f"{self.name}.experiments"
        document = member(state, "experiments", self.name)
        engine = self.experiments.engine
        found = load(list[Experiment], document, place, clock=self._world.clock, engine=engine)
        self.experiments.restore(found)
        for one in found if engine is None else ():
            if one.run is not None and one.run.status not in TERMINAL:
                cut_off(one.run, self._world.clock.now(), "SYS_CANCELED", "This local cloud runs no trials.")
        has_role = load(bool, member(state, "serviceRole", self.name), f"{self.name}.serviceRole")
        self._account.has_role = has_role

    def console_cards(self) -> Iterable[Card]:
        statuses = Counter(one.status for one in self._present())
        return [Card("experiments", "PAI AutoML", dict(sorted(statuses.items())) or {"created": 0})]

    def console_tables(self, most: int, about: frozenset[str] | None = None) -> Iterable[Table]:
        found = [one for one in self._present() if about is None or one.experiment_id in about]
        rows = [
            (
                Link(one.experiment_id, experiment_path(one)),
                one.name or "",
                Badge(one.status),
                str(len(one.trials)),
                Code([f"{key}={value}" for key, value in one.tags]),
                Moment(one.gmt_create_time),
            )
            for one in reversed(found[-most:])
        ]
        heads = ("id", "name", "status", "trials", "tags", "created")
        empty = "No experiment was created yet."
        return [Table("experiments", "Experiments", heads, rows, len(found), empty)]

    def console_presets(self) -> Iterable[Preset]:
        create: JsonObject = {"service": self.name, "operation": "CreateHpoExperiment", "times": 1}
        throttled: JsonObject = {"kind": "status", "status": 429, "code": "Throttling.User", "times": 5}
        return [
            Preset("The create's answer is lost", {**create, "kind": "reset", "when": "after"}),
            Preset("PAI throttles 5 creates", {**create, **throttled}),
            Preset("Kill the instance after its create", {**create, "kind": "kill", "when": "after"}),
        ]

    def console_view(self, path: str) -> View | None:
        """Return the page at `experiment/ID` or `experiment/ID/trial/ID`, or None if there is none."""
        words = path.split("/")
        experiment = self._find(words[1]) if len(words) in (2, 4) else None
        if experiment is None or words[0] != "experiment":
            return None
        if len(words) == 2:
            return view_experiment(experiment)
        trial = find_trial(experiment, words[3]) if words[2] == "trial" else None
        return view_trial(experiment, trial) if trial is not None else None

    def console_actions(self) -> Mapping[str, Callable[[Mapping[str, str]], str]]:
        return {"stop": self._stop, "stop-trial": self._stop_trial, "restart-trial": self._restart_trial}

    def _stop(self, fields: Mapping[str, str]) -> str:
        experiment, _ = self._target(fields)
        experiment.stop()
        return f"Experiment {experiment.experiment_id} is {experiment.status}"

    def _stop_trial(self, fields: Mapping[str, str]) -> str:
        experiment, trial = self._target(fields)
        if trial is None or not experiment.stop_trial(trial.sequence):
            raise ValueError("The trial has ended already.")
        return f"Trial {trial.trial_id} is stopped"

    def _restart_trial(self, fields: Mapping[str, str]) -> str:
        experiment, trial = self._target(fields)
        if trial is None or not rerun_trial(experiment, trial):
            raise ValueError("Only a trial without success of an experiment that runs can be restarted.")
        return f"A new trial has the hyperparameters of {trial.trial_id}"

    def _target(self, fields: Mapping[str, str]) -> tuple[Experiment, AnyTrial | None]:
        """Return the experiment and the trial that a button names; raises ValueError."""
        experiment = self._find(fields.get("experiment", ""))
        if experiment is None:
            raise ValueError("There is no such experiment any more.")
        return experiment, find_trial(experiment, fields.get("trial", ""))

    def _find(self, experiment_id: str) -> Experiment | None:
        return next((one for one in self._present() if one.experiment_id == experiment_id), None)

    def control_listings(self) -> Mapping[str, Callable[[], list[JsonValue]]]:
        return {"experiments": lambda: [_row(one) for one in self.experiments.list()]}

    def _present(self) -> list[Experiment]:
        return [one for one in self.experiments.list() if not one.deleted]


def _row(experiment: Experiment) -> JsonObject:
    """Return an experiment for the control API."""
    return {
        "experimentId": experiment.experiment_id,
        "name": experiment.name,
        "status": experiment.status,
        "tags": [list(pair) for pair in experiment.tags],
        "createTime": experiment.gmt_create_time,
        "deleted": experiment.deleted,
    }


def _refuse(operation: str) -> Handler:
    def handler(_call: Call) -> Response:
        raise Unsupported(operation)

    return handler
