"""Build a request in Python from parts that a type checker and an editor know.

request = build_request(
    name="mnist",
    platform="DLC",
    commands=["dlc submit pytorch --command='python mnist.py --lr=${lr} --batch=${batch}'"],
    metric="val_loss=([0-9.]+)",
    goal="minimize",
    parameters={"lr": loguniform(1e-4, 0.1), "batch": choice(16, 32, 64)},
    trials=20,
    parallel=5,
)
request.check()
request.sample(3)
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import get_object
from hpoq.contract.request import parse_request
from hpoq.errors import Violation
from hpoq.producer.sampling import draw_samples, render_command

Goal = Literal["minimize", "maximize"]
MetricType = Literal["stdout", "table", "json", "summary"]
FinalMode = Literal["best", "final", "avg"]
Sections = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Parameter:
    """How the value of a parameter is drawn; the functions of this module make them."""

    type: str
    value: tuple[JsonValue, ...]

    def as_json(self) -> JsonObject:
        """Return the entry of a search space."""
        return {"_type": self.type, "_value": list(self.value)}


@dataclass(frozen=True)
class Option:
    """A value of a `choice` with parameters of its own."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def as_json(self) -> JsonObject:
        """Return the item of a nested choice."""
        return {"_name": self.name, **_write_space(self.parameters)}


def choice(*values: float | str | Option) -> Parameter:
    """Draw one of `values`: numbers, or strings, or only options with parameters of their own."""
    items: list[JsonValue] = [one.as_json() if isinstance(one, Option) else one for one in values]
    return Parameter("choice", tuple(items))


def option(name: str, parameters: Mapping[str, Parameter] | None = None) -> Option:
    """Return a value of a `choice` that has further parameters."""
    return Option(name, parameters or {})


def randint(low: int, high: int) -> Parameter:
    """Draw an integer from `low` to `high - 1`."""
    return Parameter("randint", (low, high))


def uniform(low: float, high: float) -> Parameter:
    """Draw a number between `low` and `high`."""
    return Parameter("uniform", (low, high))


def quniform(low: float, high: float, q: float) -> Parameter:
    """Draw a multiple of `q` between `low` and `high`."""
    return Parameter("quniform", (low, high, q))


def loguniform(low: float, high: float) -> Parameter:
    """Draw a number between `low` and `high`, every order of magnitude with the same probability."""
    return Parameter("loguniform", (low, high))


def qloguniform(low: float, high: float, q: float) -> Parameter:
    """Draw as `loguniform`, rounded to a multiple of `q`."""
    return Parameter("qloguniform", (low, high, q))


def normal(mu: float, sigma: float) -> Parameter:
    """Draw a number around `mu` with the standard deviation `sigma`."""
    return Parameter("normal", (mu, sigma))


def qnormal(mu: float, sigma: float, q: float) -> Parameter:
    """Draw as `normal`, rounded to a multiple of `q`."""
    return Parameter("qnormal", (mu, sigma, q))


def lognormal(mu: float, sigma: float) -> Parameter:
    """Draw a number whose logarithm is drawn as `normal`."""
    return Parameter("lognormal", (mu, sigma))


def qlognormal(mu: float, sigma: float, q: float) -> Parameter:
    """Draw as `lognormal`, rounded to a multiple of `q`."""
    return Parameter("qlognormal", (mu, sigma, q))


@dataclass(frozen=True)
class Request:
    """A request as a JSON document, for `Queue.send`."""

    document: JsonObject = field(repr=False)

    def check(self) -> tuple[Violation, ...]:
        """Return the warnings. Raises RequestRejected with every violation if the request is invalid."""
        return parse_request(json.dumps(self.document).encode()).warnings

    def sample(self, count: int, *, seed: int = 0) -> list[dict[str, JsonValue]]:
        """Return `count` draws from the search space; the same seed gives the same draws."""
        rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
        return [dict(drawn) for drawn in draw_samples(self._read_configuration("search_space"), rng, count)]

    def render(self, drawn: Mapping[str, JsonValue]) -> list[str]:
        """Return the commands of a trial with the parameters `drawn`."""
        commands = self._read_configuration("platform_config").get("cmd")
        listed = commands if isinstance(commands, list) else []
        return [render_command(str(command), drawn) for command in listed]

    def _read_configuration(self, section: str) -> JsonObject:
        return get_object(self.document, "experiment", "HpoExperimentConfiguration", section)


def build_request(
    *,
    name: str,
    platform: str,
    commands: str | Sequence[str],
    metric: str | Mapping[str, float],
    goal: Goal,
    parameters: Mapping[str, Parameter],
    trials: int,
    parallel: int = 1,
    metric_type: MetricType = "stdout",
    metric_source: str | Sequence[str] = ("cmd1",),
    final_mode: FinalMode = "best",
    tuner: str = "TPE",
    tuner_args: Sections | None = None,
    workspace_id: str | None = None,
    description: str | None = None,
    idempotency_key: str | None = None,
    sections: Mapping[str, Sections] | None = None,
) -> Request:
    """Return a request to search for the best `parameters` of `commands`.

    `parameters` are named as in the commands, where `lr` stands as `${lr}`. `metric` is a name or, for stdout, a
    regular expression; or several with their weights. `sections` are further parts of the configuration, such as
    `{"dlc_config": {"region": "cn-shanghai"}}`, or members for those above. Numbers may be NumPy's. Raises TypeError
    for a parameter of another class and for a value that JSON cannot contain; nothing else is checked.
    """
    weights: JsonObject = {metric: 1} if isinstance(metric, str) else dict(metric)
    configuration: JsonObject = {
        "platform_config": {"name": platform, "cmd": _make_list(commands)},
        "metric_config": {
            "metric_type": metric_type,
            "metric_source": _make_list(metric_source),
            "final_mode": final_mode,
            "metric_dict": weights,
        },
        "search_space": _write_space(parameters),
        "yml_config": {
            "max_trial_number": trials,
            "trial_concurrency": parallel,
            "tuner": {"name": tuner, "class_args": {"optimize_mode": goal, **(tuner_args or {})}},
        },
    }
    _add_sections(configuration, sections or {})
    texts = {"Name": name, "WorkspaceId": workspace_id, "Description": description}
    experiment: JsonObject = {**_leave_out_none(texts), "HpoExperimentConfiguration": configuration}
    document = {**_leave_out_none({"idempotencyKey": idempotency_key}), "experiment": experiment}
    return Request(json.loads(json.dumps(document, default=_to_number)))


def _make_list(texts: str | Sequence[str]) -> list[JsonValue]:
    # A string is a sequence of strings too, but its letters are not meant.
    return [texts] if isinstance(texts, str) else [*texts]


def _leave_out_none(members: Mapping[str, str | None]) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}


def _to_number(value: object) -> JsonValue:
    """Return the Python number of a number of another library, such as NumPy's `int64`."""
    item = getattr(value, "item", None)
    number: object = item() if callable(item) else None
    if not isinstance(number, (bool, int, float)):
        raise TypeError(f"{value!r} is of the type {type(value).__name__}, which a request cannot contain")
    return number


def _add_sections(configuration: JsonObject, sections: Mapping[str, Sections]) -> None:
    """Add `sections` to `configuration`; the members of one that it has are added to that one's."""
    for section, members in sections.items():
        configuration[section] = {**get_object(configuration, section), **members}


def _write_space(parameters: Mapping[str, Parameter]) -> JsonObject:
    for name, parameter in parameters.items():
        if not isinstance(parameter, Parameter):
            given = type(parameter).__name__
            raise TypeError(
                f"the parameter {name!r} must be a Parameter, not {given}. Use uniform(...), choice(...) or another "
                "function of hpoq.producer."
            )
    return {
        name if name.startswith("${") else f"${{{name}}}": parameter.as_json()
        for name, parameter in parameters.items()
    }
