"""What an experiment's configuration asks for, checked: either a `Plan`, or a reason why it cannot run here."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.trials.arguments import read_number
from alilocal.trials.assessor import ARGUMENTS as ASSESSOR_ARGUMENTS
from alilocal.trials.assessor import Rules, read_rules
from alilocal.trials.metrics import Reading
from alilocal.trials.record import Refused
from alilocal.trials.space import Parameter, read_space
from alilocal.trials.tuners import ARGUMENTS, LIARS, NUMBERS, TPE_ARGUMENTS, TPE_NUMBERS, find_tuner

RUNNABLE = ("LOCAL", "DLC")
_DEFAULT_NUMBER, _DEFAULT_CONCURRENCY = 10, 2
_MOST_TRIALS, _MOST_AT_ONCE = 100_000, 64
_COMMAND = re.compile(r"(?i)\s*cmd(\d*)\s*(,.*)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MODES = ("maximize", "minimize")
_WRONG_MODE = "optimize_mode {mode!r} is neither maximize nor minimize."
_REMOTE = ("oss://", "hdfs://", "odps://")
_IGNORED = {
    "schedule_config": "trials run at any time",
    "monitor_config": "no alert is sent",
    "output_config": "the best model is not copied",
}


@dataclass(frozen=True)
class Source:
    """Where metrics come from: the output of the command with this number, from 1 on, or a path."""

    command: int = 0
    path: str = ""


@dataclass(frozen=True)
class Plan:
    """A configuration that can run here. `remarks` are for the experiment's log."""

    platform: str
    commands: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    metric_type: str
    sources: tuple[Source, ...]
    reading: Reading
    parameters: tuple[Parameter, ...]
    number: int
    concurrency: int
    trial_seconds: float | None
    experiment_seconds: float | None
    tuner: str
    tuner_arguments: Mapping[str, JsonValue]
    rules: Rules | None
    remarks: tuple[str, ...]

    @property
    def maximize(self) -> bool:
        """Whether a larger metric is better."""
        return self.reading.maximize


def platform_of(configuration: JsonObject) -> str:
    """Return the name of the platform in upper case."""
    return str(_section(configuration, "platform_config").get("name") or "").upper()


def read_plan(configuration: JsonObject) -> Plan:
    """Return the plan of a configuration; raises Refused if it cannot run here."""
    platform = platform_of(configuration)
    if platform not in RUNNABLE:
        given = _section(configuration, "platform_config").get("name") or "no platform"
        raise Refused(
            f"Trials on {given} cannot run on this machine; only those of LOCAL and DLC can. With --simulate-others, "
            "a local cloud that runs trials simulates those of other platforms."
        )
    remarks: list[str] = []
    commands = _read_commands(configuration, platform)
    run = _section(configuration, "yml_config")
    tuner, arguments = _read_tuner(run, remarks)
    assessor = _section(run, "assessor")
    maximize = _read_direction(tuner, arguments, _section(assessor, "class_args"), remarks)
    metric_type, sources, reading = _read_metric(configuration, len(commands), maximize=maximize)
    parameters = read_space(_section(configuration, "search_space"), remarks)
    if str(_section(configuration, "platform_config").get("resume") or "0") not in ("0", ""):
        remarks.append(
            "platform_config.resume is ignored: a trial that is run again begins with its first command"
        )
    remarks += [f"{name} is ignored: {why}" for name, why in _IGNORED.items() if configuration.get(name)]
    return Plan(
        platform=platform,
        commands=commands,
        files=_read_files(configuration),
        metric_type=metric_type,
        sources=sources,
        reading=reading,
        parameters=parameters,
        number=_read_count(run, "max_trial_number", _DEFAULT_NUMBER, _MOST_TRIALS, remarks),
        concurrency=_read_count(run, "trial_concurrency", _DEFAULT_CONCURRENCY, _MOST_AT_ONCE, remarks),
        trial_seconds=_read_seconds(run, "max_trial_duration"),
        experiment_seconds=_read_seconds(run, "max_experiment_duration"),
        tuner=tuner,
        tuner_arguments=arguments,
        rules=_read_assessor(assessor, remarks, maximize=maximize),
        remarks=tuple(remarks),
    )


def command_of(text: str, platform: str) -> str:
    """Return what the shell runs: a command, or the `--command` of a DLC job; raises Refused."""
    words = text.split(maxsplit=3)
    is_job = words[:2] == ["dlc", "submit"] or words[:3] == ["dlc", "create", "job"]
    if platform != "DLC" or not is_job:
        return text
    try:
        parts = shlex.split(text)
    except ValueError as exc:
        raise Refused(f"The command {text!r} cannot be read: {exc}.") from None
    for place, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if name.lstrip("-") == "command" and name.startswith("-"):
            if equals:
                return value
            if place + 1 < len(parts):
                return parts[place + 1]
    raise Refused(f"The command {text!r} has no --command, so there is nothing to run.")


def _read_commands(configuration: JsonObject, platform: str) -> tuple[str, ...]:
    given = _section(configuration, "platform_config").get("cmd")
    commands = tuple(one for one in given if isinstance(one, str)) if isinstance(given, list) else ()
    if not commands:
        raise Refused("platform_config.cmd has no command. Give at least one.")
    for text in commands:
        command_of(text, platform)
    return commands


def _read_files(configuration: JsonObject) -> tuple[tuple[str, str], ...]:
    given = _section(configuration, "params_config").get("params_src_dst_filepath")
    pairs = []
    for text in given if isinstance(given, list) else ():
        source, comma, target = str(text).partition(",")
        if not comma or "," in target:
            raise Refused(f"params_src_dst_filepath has {text!r}. Write it as SOURCE,TARGET.")
        pairs.append((_local(source.strip()), _local(target.strip())))
    return tuple(pairs)


def _read_metric(
    configuration: JsonObject, commands: int, *, maximize: bool
) -> tuple[str, tuple[Source, ...], Reading]:
    section = _section(configuration, "metric_config")
    kind = str(section.get("metric_type"))
    if kind not in ("stdout", "json", "summary"):
        raise Refused(f"metric_type {kind!r} cannot be read on this machine. Use stdout, json or summary.")
    given = section.get("metric_source")
    texts = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    if kind == "stdout":
        sources = tuple(_read_command_source(one, commands) for one in texts or ["cmd1"])
    else:
        sources = tuple(Source(path=_local(one)) for one in texts)
    weights = _read_weights(_section(section, "metric_dict"), are_patterns=kind == "stdout")
    if not sources or not weights:
        raise Refused("metric_config needs a metric_source and a metric_dict with at least one metric.")
    mode = str(section.get("final_mode") or "best")
    combined = str(section.get("source_list_final_mode") or mode)
    for one in (mode, combined):
        if one not in ("final", "best", "avg"):
            raise Refused(f"final_mode {one!r} is not one of final, best and avg.")
    return kind, sources, Reading(weights, mode, combined, maximize)


def _read_command_source(text: str, commands: int) -> Source:
    found = _COMMAND.fullmatch(text)
    number = int(found[1] or 1) if found else 0
    if not 1 <= number <= commands:
        raise Refused(f"metric_source {text!r} names no command; the number of commands is {commands}.")
    return Source(command=number)


def _read_weights(given: JsonObject, *, are_patterns: bool) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, weight in given.items():
        try:
            weights[name] = _read_weight(weight)
            groups = re.compile(name).groups if are_patterns else 1
        except ValueError:
            raise Refused(f"metric_dict has the weight {weight!r} for {name!r}. Give a number.") from None
        except (re.error, RecursionError, OverflowError) as exc:
            raise Refused(f"metric_dict has {name!r}, which is not a regular expression: {exc}.") from None
        if groups < 1:
            raise Refused(f"metric_dict has {name!r}, which has no group (...) around the number.")
    return weights


def _read_weight(weight: JsonValue) -> float:
    number = float(weight) if isinstance(weight, (int, float, str)) else math.nan
    if not math.isfinite(number):
        raise ValueError
    return number


def _read_tuner(run: JsonObject, remarks: list[str]) -> tuple[str, JsonObject]:
    section = _section(run, "tuner")
    given = str(section.get("name") or "TPE")
    name = find_tuner(given)
    if name is None:
        raise Refused(f"The tuner {given!r} does not exist here. Use one of {', '.join(ARGUMENTS)}.")
    arguments = _section(section, "class_args")
    owner = f"the tuner {name}"
    _note_unused(arguments.keys() - ARGUMENTS[name], owner, remarks)
    seed = arguments.get("seed")
    if isinstance(seed, (bool, list, dict)):
        remarks.append(
            f"The argument seed of {owner} is {seed!r}, which is not a number, so its text is used"
        )
    if name == "TPE":
        _check_tpe(_section(arguments, "tpe_args"), owner, remarks)
    for one, rule in NUMBERS.get(name, {}).items():
        read_number(arguments, one, rule, owner, remarks)
    return name, arguments


def _note_unused(arguments: Iterable[str], owner: str, remarks: list[str]) -> None:
    remarks += [f"The argument {name} of {owner} has no effect here" for name in sorted(arguments)]


def _check_tpe(arguments: JsonObject, owner: str, remarks: list[str]) -> None:
    _note_unused((f"tpe_args.{name}" for name in arguments.keys() - TPE_ARGUMENTS), owner, remarks)
    for name, rule in TPE_NUMBERS.items():
        value = arguments.get(name)
        if value is not None and not rule.accepts(value):
            raise Refused(f"tpe_args.{name} is {value!r}. Give {rule}.")
    liar = arguments.get("constant_liar_type")
    if liar not in LIARS:
        raise Refused(f"tpe_args.constant_liar_type is {liar!r}. Give best, worst, mean or null.")


def _read_direction(tuner: str, arguments: JsonObject, others: JsonObject, remarks: list[str]) -> bool:
    for mode in (arguments.get("optimize_mode"), others.get("optimize_mode")):
        if mode in _MODES:
            return mode == "maximize"
        if mode is not None:
            raise Refused(_WRONG_MODE.format(mode=mode))
    maximizes = tuner == "GP"
    remarks.append(
        f"optimize_mode is missing, so the tuner {tuner} {'maximizes' if maximizes else 'minimizes'} the metric"
    )
    return maximizes


def _read_assessor(section: JsonObject, remarks: list[str], *, maximize: bool) -> Rules | None:
    name = section.get("name")
    if not name:
        return None
    if name != "PAIAssessor":
        remarks.append(f"The assessor {name} does not exist here, so no trial is stopped early")
        return None
    arguments = _section(section, "class_args")
    _note_unused(arguments.keys() - ASSESSOR_ARGUMENTS, name, remarks)
    mode = arguments.get("optimize_mode")
    if mode not in (None, *_MODES):
        raise Refused(_WRONG_MODE.format(mode=mode))
    return read_rules(arguments, remarks, maximize=mode == "maximize" if mode else maximize)


def _read_count(run: JsonObject, name: str, default: int, most: int, remarks: list[str]) -> int:
    value = run.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        if value > most:
            remarks.append(f"{name} is limited to {most} here")
        return min(value, most)
    remarks.append(f"{name} is missing or not a positive number, so {default} is used")
    return default


def _read_seconds(run: JsonObject, name: str) -> float | None:
    """Return a duration such as 30, "10m" or "2h" in seconds, or None if it is missing."""
    given = run.get(name)
    if given is None:
        return None
    found = _DURATION.fullmatch(str(given).strip().lower())
    if found is None:
        raise Refused(
            f"yml_config.{name} is {given!r}. Write a number of seconds, or a string such as 10m or 2h."
        )
    return float(found[1]) * _UNITS[found[2]]


def _local(path: str) -> str:
    if path.startswith(_REMOTE):
        raise Refused(f"{path} cannot be reached from this machine. Give the path of a local file.")
    return path.removeprefix("file://")


def _section(document: JsonObject, name: str) -> JsonObject:
    """Return a member that is an object, also if it is written as a JSON text; an empty object if it is neither."""
    value = document.get(name)
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    return value if isinstance(value, dict) else {}
