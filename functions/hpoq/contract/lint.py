"""Warnings: what the engine's documentation, or the arithmetic of an experiment, lets one expect to go wrong.

Source of the engine's rules: EasyRec's "PAI-NNI-HPO" documentation (github.com/alibaba/EasyRec, docs/source/automl)
and NNI's (https://nni.readthedocs.io). The service may know better, so nothing here rejects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import Finding, member, obj, text, texts, warning
from hpoq.contract.pointer import pointer_to
from hpoq.contract.search_space import names_in

_PLATFORMS = {
    "dlc": "dlc_config",
    "maxcompute": "odps_config",
    "paiflow": "paiflow_config",
    "pai": None,
    "datascience": None,
    "local": None,
}
_TUNERS = {
    "tpe": {"seed", "tpe_args"},
    "gridsearch": set[str](),
    "random": {"seed"},
    "evolution": {"population_size"},
    "gp": {
        "utility",
        "kappa",
        "xi",
        "nu",
        "alpha",
        "cold_start_num",
        "selection_num_warm_up",
        "selection_num_starting_points",
    },
    "pbt": {"all_checkpoint_dir", "population_size", "fraction", "factor", "factors"},
}
_NEED_MODE = {"evolution", "pbt"}
_NO_MODE = {"random", "gridsearch"}
_MODES = ("maximize", "minimize")
_LOG_LEVELS = {"trace", "debug", "info", "warning", "error", "fatal"}
_PAIRS = {
    "oss_config": ("accessKeyID", "accessKeySecret"),
    "odps_config": ("access_id", "access_key"),
    "dlc_config": ("access_id", "access_key"),
    "ts_config": ("access_key_id", "access_key_secret"),
    "paiflow_config": ("access_key_id", "access_key_secret"),
}
_EVERYTHING = {"${tuner_params_list}", "${tuner_params_dict}", "${tuner_params_json}", "${params}"}
_BUILT_IN = {"${exp_id}", "${trial_id}", "${NNI_OUTPUT_DIR}", *_EVERYTHING}
_PLACEHOLDER = r"\$\{[^{}\s]+\}"
_COMMAND = r"(?ia)\s*cmd(\d+)\s*(,\s*worker\s*)?"
_CASELESS = r"\(\?[a-zA-Z]*i"
_LONGEST_PATTERN = 1_000
_MOST_PATTERN_TEXT = 2_000
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"


def lint(config: JsonObject, space: JsonObject, at: str) -> Iterator[Finding]:
    """Every warning about `config`, which stands at `at`; `space` is its search space as an object."""
    yield from _platform(config, at)
    yield from _credentials(config, at)
    yield from _storage(config, at)
    yield from _metric(config, at)
    yield from _placeholders(config, space, at)
    yield from _tuner(config, at)
    yield from _run(config, at)
    yield from _schedule(config, at)
    yield from _undocumented(config, at)


def _platform(config: JsonObject, at: str) -> Iterator[Finding]:
    name = text(config, "platform_config", "name")
    place = f"{at}/platform_config/name"
    if name and name.lower() not in _PLATFORMS:
        yield warning(place, "platform.unknown", "not a documented platform: DLC, MaxCompute, paiflow")
    wanted = _PLATFORMS.get(name.lower())
    if wanted and not isinstance(config.get(wanted), dict):
        yield warning(place, "platform.config", f"platform {name} usually needs {wanted}")
    if name.lower() == "maxcompute":
        for needed in ("project_name", "end_point"):
            if isinstance(config.get("odps_config"), dict) and not text(config, "odps_config", needed):
                yield warning(f"{at}/odps_config", "platform.config", f"MaxCompute usually needs {needed}")
    if member(config, "platform_config", "cmd") == []:
        yield warning(f"{at}/platform_config/cmd", "platform.command", "no command, so nothing would run")
    resume = member(config, "platform_config", "resume")
    if isinstance(resume, str) and resume not in ("0", "1"):
        yield warning(
            f"{at}/platform_config/resume", "platform.resume", '"1" resumes, "0" does not; this is neither'
        )


def _credentials(config: JsonObject, at: str) -> Iterator[Finding]:
    for name, (key_id, secret) in _PAIRS.items():
        held = obj(config, name)
        if (key_id in held) != (secret in held):
            missing = secret if key_id in held else key_id
            yield warning(f"{at}/{name}", "credentials.pair", f"half a key pair: {missing} is missing")


def _storage(config: JsonObject, at: str) -> Iterator[Finding]:
    sources = texts(config, "metric_config", "metric_source")
    files = texts(config, "params_config", "params_src_dst_filepath")
    if any("oss://" in item for _, item in [*sources, *files]) and not isinstance(
        config.get("oss_config"), dict
    ):
        yield warning(at, "storage.oss", "oss:// paths usually need oss_config")


def _metric(config: JsonObject, at: str) -> Iterator[Finding]:
    at = f"{at}/metric_config"
    kind = text(config, "metric_config", "metric_type")
    if member(config, "metric_config", "metric_dict") == {}:
        yield warning(f"{at}/metric_dict", "metric.empty", "no metric, so there is nothing to optimise")
    if kind == "table" and not isinstance(config.get("odps_config"), dict):
        yield warning(f"{at}/metric_type", "metric-type.odps", "metric_type table usually needs odps_config")
    if kind != "stdout":
        return
    commands = member(config, "platform_config", "cmd")
    count = len(commands) if isinstance(commands, list) else 0
    for index, source in texts(config, "metric_config", "metric_source"):
        named = re.fullmatch(_COMMAND, source)
        if named and not 1 <= int(named[1][:9]) <= count:
            problem = f"there are {count} commands, counted from cmd1"
            yield warning(f"{at}/metric_source/{index}", "metric-source.command", problem)
    yield from _patterns(obj(config, "metric_config", "metric_dict"), at)


def _patterns(weights: JsonObject, at: str) -> Iterator[Finding]:
    room = _MOST_PATTERN_TEXT
    for pattern in weights:
        room -= len(pattern) if len(pattern) <= _LONGEST_PATTERN else 0
        unfit = _pattern(pattern) if room >= 0 else None
        if unfit:
            yield warning(f"{at}/metric_dict{pointer_to(pattern)}", "metric.pattern", unfit)


def _pattern(pattern: str) -> str | None:
    """Compiling is all that is done with a producer's pattern: matching could take for ever.

    Without its flag for upper and lower case, for that makes a set of many characters slow to compile.
    """
    if len(pattern) > _LONGEST_PATTERN:
        return "an uncommonly long pattern"
    try:
        groups = re.compile(re.sub(_CASELESS, lambda flags: flags[0].replace("i", "u"), pattern)).groups
    except (re.error, OverflowError, RecursionError):
        return "for stdout a metric is a regular expression; this is none"
    except Warning:  # where warnings are errors, a pattern that Python only warns of
        return None
    return None if groups else "for stdout a metric is a regular expression with one group around the number"


def _placeholders(config: JsonObject, space: JsonObject, at: str) -> Iterator[Finding]:
    found = [
        (index, set(re.findall(_PLACEHOLDER, cmd))) for index, cmd in texts(config, "platform_config", "cmd")
    ]
    defined = _BUILT_IN | set(names_in(space))
    for index, names in found:
        for name in sorted(names - defined):
            place = f"{at}/platform_config/cmd/{index}"
            yield warning(
                place, "placeholder.undefined", f"{name[:60]} is in no search_space; it stays as it is"
            )
    used: set[str] = set().union(*(names for _, names in found))
    all_used = "params_config" in config or bool(used & _EVERYTHING)
    for name in space:
        place = f"{at}/search_space{pointer_to(name)}" if isinstance(config.get("search_space"), dict) else at
        if not re.fullmatch(_PLACEHOLDER, name):
            yield warning(place, "search-space.name", "not of the form ${name}: it replaces bare words")
        elif name not in used and not all_used:
            yield warning(
                place, "search-space.unused", "no command uses it, and there are no parameter files"
            )


def _tuner(config: JsonObject, at: str) -> Iterator[Finding]:
    at = f"{at}/yml_config"
    name = text(config, "yml_config", "tuner", "name").lower().removesuffix("tuner")
    mode = member(config, "yml_config", "tuner", "class_args", "optimize_mode")
    if name and name not in _TUNERS:
        yield warning(f"{at}/tuner/name", "tuner.unknown", f"PAI documents {', '.join(sorted(_TUNERS))}")
    if name in _NEED_MODE and mode is None:
        yield warning(f"{at}/tuner", "tuner.mode", f"{name} needs optimize_mode")
    elif name and name not in _NO_MODE and mode is None:
        yield warning(f"{at}/tuner", "tuner.mode", "without optimize_mode TPE minimises; say which is meant")
    if mode is not None and mode not in _MODES:
        yield warning(
            f"{at}/tuner/class_args/optimize_mode",
            "optimize-mode",
            "the engine knows maximize and minimize only",
        )
    for argument in obj(config, "yml_config", "tuner", "class_args"):
        if name in _TUNERS and argument not in (*_TUNERS[name], "optimize_mode"):
            place = f"{at}/tuner/class_args{pointer_to(argument)}"
            yield warning(place, "tuner.argument", f"no documented argument of {name}")
    yield from _assessor(config, mode, at)


def _assessor(config: JsonObject, mode: JsonValue, at: str) -> Iterator[Finding]:
    name = text(config, "yml_config", "assessor", "name")
    other = member(config, "yml_config", "assessor", "class_args", "optimize_mode")
    if name and name != "PAIAssessor":
        yield warning(f"{at}/assessor/name", "assessor.unknown", "only PAIAssessor can stop PAI jobs")
    if other is not None and other not in _MODES:
        yield warning(
            f"{at}/assessor/class_args/optimize_mode",
            "optimize-mode",
            "the engine knows maximize and minimize only",
        )
    elif mode in _MODES and other is not None and other != mode:
        place = f"{at}/assessor/class_args/optimize_mode"
        yield warning(place, "optimize-mode", "the tuner optimises the other way")


def _run(config: JsonObject, at: str) -> Iterator[Finding]:
    run = obj(config, "yml_config")
    for name in ("trial_concurrency", "max_trial_number"):
        number = run.get(name)
        if isinstance(number, int) and not isinstance(number, bool) and number <= 0:
            yield warning(
                f"{at}/yml_config/{name}", "run.number", f"{name} must be greater than 0 for the engine"
            )
    if run and not config.get("search_space"):
        yield warning(at, "search-space.absent", "without a search_space the engine has nothing to vary")
    level = run.get("log_level")
    if isinstance(level, str) and level.lower() not in _LOG_LEVELS:
        yield warning(
            f"{at}/yml_config/log_level",
            "run.log-level",
            f"the engine knows {', '.join(sorted(_LOG_LEVELS))}",
        )


def _schedule(config: JsonObject, at: str) -> Iterator[Finding]:
    schedule = obj(config, "schedule_config")
    if isinstance(schedule.get("day"), str) and schedule["day"] not in ("everyday", "weekend"):
        yield warning(f"{at}/schedule_config/day", "schedule", "the engine knows everyday and weekend")
    for name in ("start_time", "end_time"):
        time = schedule.get(name)
        if isinstance(time, str) and not re.fullmatch(_TIME, time):
            yield warning(
                f"{at}/schedule_config/{name}", "schedule", "must be a time of the form HH:MM for the engine"
            )


def _undocumented(config: JsonObject, at: str) -> Iterator[Finding]:
    """Members that only the engine's documentation knows, or that the API says to leave alone."""
    arguments = obj(config, "yml_config", "assessor", "class_args")
    for name in arguments.keys() & {"patience", "platform"}:
        place = f"{at}/yml_config/assessor/class_args/{name}"
        yield warning(place, "engine-member", "documented by the engine only; the API may drop it")
    moving = arguments.get("moving_avg")
    if moving is not None and not isinstance(moving, str):
        place = f"{at}/yml_config/assessor/class_args/moving_avg"
        yield warning(place, "moving-avg.type", 'the API documents text; "true" or "false" is sent')
    if "end_point" in obj(config, "dlc_config"):
        place = f"{at}/dlc_config/end_point"
        yield warning(place, "engine-member", "the API's name is endpoint")
    if config.get("k8s_config"):
        yield warning(f"{at}/k8s_config", "k8s", "documented as needing no configuration; leave it out")
