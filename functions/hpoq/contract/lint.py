"""Warnings: what will probably go wrong, according to the engine's documentation or the numbers of an experiment.

Source of the engine's rules: EasyRec's "PAI-NNI-HPO" documentation (github.com/alibaba/EasyRec, docs/source/automl)
and NNI's (https://nni.readthedocs.io). The service may accept more than they say, so nothing here rejects a request.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Container, Iterator
from functools import lru_cache
from itertools import chain
from typing import TypeGuard

from fcruntime.dataclass import replace
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import (
    Finding,
    Hints,
    absence,
    get_member,
    get_object,
    get_string,
    get_strings,
    warning,
)
from hpoq.contract.jsontext import pointer_to
from hpoq.contract.search_space import find_bare, is_level, names_in

CONFIG = "/experiment/HpoExperimentConfiguration"
"""The pointer to the configuration."""
_PLATFORM, _METRIC = f"{CONFIG}/platform_config", f"{CONFIG}/metric_config"
_RUN, _SPACE = f"{CONFIG}/yml_config", f"{CONFIG}/search_space"
_PLATFORMS = {
    "dlc": "dlc_config",
    "maxcompute": "odps_config",
    "paiflow": "paiflow_config",
    "pai": None,
    "datascience": None,
    "local": None,
}
_FORMER_NAMES = {"odps": "MaxCompute"}
# The members that each platform's configuration needs, each with its alternatives.
_NEEDED = {
    "dlc": (("region", "endpoint", "end_point"),),
    "maxcompute": (("project_name",), ("end_point",)),
    "paiflow": (("region_id",),),
}
# The tuners that PAI documents, with their arguments and the type that the engine requires of each, or None.
_TUNERS: dict[str, dict[str, type | None]] = {
    "TPE": {"seed": int, "tpe_args": dict},
    "GridSearch": {},
    "Random": {"seed": int},
    "Evolution": {"population_size": int},
    "GP": {
        "utility": str,
        "kappa": float,
        "xi": float,
        "nu": float,
        "alpha": float,
        "cold_start_num": int,
        "selection_num_warm_up": int,
        "selection_num_starting_points": int,
    },
    "PBT": {
        "all_checkpoint_dir": str,
        "population_size": int,
        "fraction": float,
        "factor": None,
        "factors": None,
    },
}
_ARGUMENTS = {name.lower(): arguments for name, arguments in _TUNERS.items()}
# Other names that the engine has for these tuners (nni/runtime/default_config/builtin_algorithms.yml).
_ALIASES = {"gptuner": "gp", "pbttuner": "pbt"}
# The smallest value of an argument that the engine can run with, and the largest.
_LIMITS: dict[str, tuple[int, int | None]] = {
    "seed": (0, None),
    "population_size": (1, 99_999),
    "n_ei_candidates": (1, None),
    "cold_start_num": (1, None),
}
_NAMES = {name.lower(): name for name in _TUNERS}
_DOCUMENTED = f"PAI documents {', '.join(sorted(_TUNERS))}"
_TPE_ARGUMENTS: dict[str, tuple[type, ...]] = {
    "constant_liar_type": (str,),
    "n_startup_jobs": (int,),
    "n_ei_candidates": (int,),
    "linear_forgetting": (int,),
    "prior_weight": (int, float),
    "gamma": (int, float),
}
_UTILITIES = ("ei", "ucb", "poi")
_LIARS = ("best", "worst", "mean")
# The population_size of Evolution without one.
_POPULATION = 32
# TPE and GridSearch keep a number for each value of a randint: these many take gigabytes of memory.
_MOST_VALUES = 10**8
_KEEP_VALUES = ("tpe", "gridsearch")
# The trials that TPE draws at random first, without these numbers.
_STARTUP_TRIALS = 20
# What other tools call optimize_mode.
_MODE_NAMES = ("direction", "goal")
_TYPE_NAMES = {
    int: "an integer",
    float: "a number with a decimal point, such as 1.0",
    str: "a string",
    dict: "an object",
}
_NEED_MODE = {"evolution", "pbt"}
_OWN_MODES = {"gp": "GP maximizes", "tpe": "TPE minimizes"}
# What these tuners do not support of a search space (NNI, docs/source/hpo/search_space.rst). The others support all.
_UNSUPPORTED_TYPES: dict[str, tuple[str, ...]] = {
    "gp": ("normal", "qnormal", "lognormal", "qlognormal"),
    "pbt": (),
}
OPTIMIZE_MODES = ("maximize", "minimize")
_LOG_LEVELS = {"trace", "debug", "info", "warning", "error", "fatal"}
# The sections with access to a service, each with the two members of its key pair.
ACCESS_KEYS = {
    "oss_config": ("accessKeyID", "accessKeySecret"),
    "odps_config": ("access_id", "access_key"),
    "dlc_config": ("access_id", "access_key"),
    "ts_config": ("access_key_id", "access_key_secret"),
    "paiflow_config": ("access_key_id", "access_key_secret"),
}
_EVERYTHING = {"${tuner_params_list}", "${tuner_params_dict}", "${tuner_params_json}", "${params}"}
_BUILT_IN = {"${exp_id}", "${trial_id}", "${NNI_OUTPUT_DIR}", *_EVERYTHING}
_OF_MAXCOMPUTE = r"(?i)\s*pai\s+-"
_OF_OTHERS = r"(?i)\s*(dlc|python3?|torchrun|bash|sh)\s"
_ARGUMENT = r"\s*--?[A-Za-z]"
# Words in the names of metrics of which a smaller value is better, or a larger one.
_MINIMIZED = {"loss", "logloss", "error", "err", "rmse", "rmsle", "mse", "mae", "mape", "perplexity"}
_MAXIMIZED = {"accuracy", "acc", "auc", "f1", "precision", "recall", "ndcg"}
# Words that reverse the direction of a metric, as in scikit-learn's neg_log_loss.
_NEGATIONS = {"neg", "negative", "minus", "inverse", "inv"}
_PLACEHOLDER = r"\$\{[^{}\s]+\}"
_ESCAPED = r"\$\$\{[^{}\s]+\}"
_OTHER_FORM = r"(?a)\$(\w{1,60})|(?<!\$)\{(\w{1,60})\}|\$\((\w{1,60})\)|%(\w{1,60})%|\$\{ *(\w{1,60}) *\}"
_ONE_WORD = r"\W*(\w{1,60})\W*"
_COMMAND = r"(?ia)\s*cmd(\d*)\s*(?:,\s*([a-z][\w-]*)\s*)?"
# A group around a number, as people write it.
_GROUP = r"\((?:\?P<\w{1,60}>)?(?:\[[^\]]{0,60}\]|\\[dSw]|\.)[^()]{0,60}[+*]"
_POSIX = r"\[:[a-z]+:\]"
_ATOM = r"(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
_POSSESSIVE = r"(?:[*+?]|\{(?:[0-9]+,?|,)[0-9]*\})\+|\(\?>"
_DELIMITED = r"/.*/[a-z]*"
_RAW = r"""[rR](['"]).*\1"""
_CASELESS = r"\(\?([a-zA-Z]*i[a-zA-Z]*)"
_LONGEST_PATTERN = 1_000
_MOST_PATTERN_TEXT = 2_000
_MOST_DIGITS = 20
# What word processors and input methods write instead of quotes, spaces and the dash of an option.
_TYPOGRAPHIC_QUOTES = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"
_TYPOGRAPHIC_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_TYPOGRAPHIC = (
    rf"[\s=][{_TYPOGRAPHIC_QUOTES}]|\s[{_TYPOGRAPHIC_DASHES}](?=[A-Za-z{_TYPOGRAPHIC_DASHES}-])"
    "|[\u00a0\u2007\u202f\u3000\u200b\u2060\ufeff]"
)
_IN_QUOTES = "'[^']*'|\"[^\"]*\""
_LIST = r"(?s)\s*\[.*\]\s*"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_NEARLY_TIME = r"([0-9]|[01][0-9]|2[0-3]):([0-5][0-9])(?::[0-5][0-9])?"

_filtering_warnings = threading.Lock()


def lint(config: JsonObject, hints: Hints) -> Iterator[Finding]:
    """Yield every warning about a configuration."""
    yield from _check_platform(config, hints)
    yield from _check_commands(config)
    yield from _check_credentials(config)
    yield from _check_storage(config)
    yield from _check_metric(config)
    yield from _check_placeholders(config, hints)
    yield from _check_tuner(config, hints)
    yield from _check_direction(config)
    yield from _check_run(config, hints)
    yield from _check_schedule(config)
    yield from _check_monitor(config)
    yield from _check_undocumented(config)


def _check_platform(config: JsonObject, hints: Hints) -> Iterator[Finding]:
    name = get_string(config, "platform_config", "name")
    place = f"{_PLATFORM}/name"
    if isinstance(get_member(config, "platform_config", "name"), str) and name.lower() not in _PLATFORMS:
        what = "unknown platform; PAI documents DLC, MaxCompute and paiflow"
        meant = _FORMER_NAMES.get(name.lower(), name)
        yield warning(
            place, "platform.unknown", what + hints.suggest(meant, ("DLC", "MaxCompute", "paiflow"))
        )
    wanted = _PLATFORMS.get(name.lower())
    held = config.get(wanted) if wanted else {}
    if held is None:
        yield absence(place, "platform.config", f"platform {name} usually needs {wanted}")
    elif wanted and isinstance(held, dict):
        for needed in _NEEDED[name.lower()]:
            if all(held.get(one) is None for one in needed):
                yield absence(f"{CONFIG}/{wanted}", "platform.config", f"{name} usually needs {needed[0]}")
    if get_member(config, "platform_config", "cmd") == []:
        yield warning(f"{_PLATFORM}/cmd", "platform.command", "no command, so there is nothing to run")
    resume = get_member(config, "platform_config", "resume")
    if isinstance(resume, str) and resume not in ("0", "1"):
        yield warning(f"{_PLATFORM}/resume", "platform.resume", 'must be "0" or "1" (resume)')


def _check_commands(config: JsonObject) -> Iterator[Finding]:
    name = get_string(config, "platform_config", "name")
    if name.lower() not in _PLATFORMS:
        return
    for index, command in get_strings(config, "platform_config", "cmd"):
        place = f"{_PLATFORM}/cmd/{index}"
        if not command.isascii() and (
            odd := re.search(_TYPOGRAPHIC, re.sub(_IN_QUOTES, _keep_code, command))
        ):
            what = f"{_describe_typographic(odd[0][-1])} (U+{ord(odd[0][-1]):04X}), which programs do not understand"
            yield warning(place, "platform.command", f"{what}; write the ordinary one")
        if index and re.match(_ARGUMENT, command):
            what = "an argument, not a command; write each command with its arguments as one string"
            yield warning(place, "platform.command", what)
        elif not command.strip():
            yield warning(place, "platform.command", "an empty command")
        elif name.lower() != "maxcompute" and name.lower() != "pai" and re.match(_OF_MAXCOMPUTE, command):
            what = f"a PAI command, which MaxCompute runs; the platform is {name}"
            yield warning(place, "platform.mismatch", what)
        elif name.lower() == "maxcompute" and (found := re.match(_OF_OTHERS, command)):
            what = f"MaxCompute runs PAI commands and SQL, not {found[1].lower()}"
            yield warning(place, "platform.mismatch", what)


def _keep_code(quoted: re.Match[str]) -> str:
    """Return what is in quotes if it is a command, which has parameters, and the quotes alone of a text."""
    return quoted[0] if "${" in quoted[0] else "''"


def _describe_typographic(character: str) -> str:
    if character in _TYPOGRAPHIC_QUOTES:
        return "a typographic quote"
    is_dash = character in _TYPOGRAPHIC_DASHES
    return "a typographic dash" if is_dash else "a special space or an invisible character"


def _check_credentials(config: JsonObject) -> Iterator[Finding]:
    for name, (key_id, secret) in ACCESS_KEYS.items():
        held = config.get(name)
        if isinstance(held, dict) and (held.get(key_id) is None) != (held.get(secret) is None):
            missing = key_id if held.get(key_id) is None else secret
            yield absence(
                f"{CONFIG}/{name}", "credentials.pair", f"incomplete key pair: {missing} is missing"
            )


def _check_storage(config: JsonObject) -> Iterator[Finding]:
    sources = get_strings(config, "metric_config", "metric_source")
    files = get_strings(config, "params_config", "params_src_dst_filepath")
    outputs = config.get("output_config")
    paths = [
        *(item for _, item in [*sources, *files]),
        *(outputs.values() if isinstance(outputs, dict) else ()),
    ]
    is_used = any(isinstance(path, str) and "oss://" in path for path in paths)
    if is_used and config.get("oss_config") is None:
        yield absence(CONFIG, "storage.oss", "oss:// paths usually need oss_config")


def _check_metric(config: JsonObject) -> Iterator[Finding]:
    kind = get_string(config, "metric_config", "metric_type")
    weights = get_member(config, "metric_config", "metric_dict")
    if weights == {}:
        yield warning(f"{_METRIC}/metric_dict", "metric.empty", "no metric, so there is nothing to optimize")
    elif isinstance(weights, dict) and [*weights.values()].count(0) == len(weights):
        what = "every weight is 0, so all trials are equally good"
        yield warning(f"{_METRIC}/metric_dict", "metric.empty", what)
    if kind == "table" and config.get("odps_config") is None:
        yield absence(
            f"{_METRIC}/metric_type", "metric-type.odps", "metric_type table usually needs odps_config"
        )
    if isinstance(weights, dict) and kind in ("stdout", "summary", "table", "json"):
        yield from _check_patterns(weights) if kind == "stdout" else _check_names(weights)
    if kind != "stdout":
        return
    commands = get_member(config, "platform_config", "cmd")
    for index, source in get_strings(config, "metric_config", "metric_source"):
        named = re.fullmatch(_COMMAND, source)
        number, role = named.groups() if named else ("", None)
        place = f"{_METRIC}/metric_source/{index}"
        if number and commands and isinstance(commands, list) and not 1 <= int(number[:9]) <= len(commands):
            count = "is 1 command" if len(commands) == 1 else f"are {len(commands)} commands"
            yield warning(place, "metric-source.command", f"there {count}, counted from cmd1")
        if role and role.lower() != "worker":
            what = "the only role that the service documents is worker"
            if re.fullmatch(_COMMAND, role):
                what = f"{role} is not a role; write each command as an item of its own"
            yield warning(place, "metric-source.command", what)


def _check_names(weights: JsonObject) -> Iterator[Finding]:
    """Warn about the patterns of `stdout` among the metrics of another type, which match nothing there."""
    for name in weights:
        if not name.strip():
            yield warning(
                f"{_METRIC}/metric_dict{pointer_to(name)}", "metric.empty", "a metric without a name"
            )
        if re.search(_GROUP, name[:_LONGEST_PATTERN]):
            what = "a regular expression, which only metric_type stdout uses; write the name of the metric"
            yield warning(f"{_METRIC}/metric_dict{pointer_to(name)}", "metric.pattern", what)


def _check_patterns(weights: JsonObject) -> Iterator[Finding]:
    room = _MOST_PATTERN_TEXT
    for pattern in weights:
        room -= len(pattern) if len(pattern) <= _LONGEST_PATTERN else 0
        problem = _find_pattern_problem(pattern) if room >= 0 else None
        if problem:
            yield warning(f"{_METRIC}/metric_dict{pointer_to(pattern)}", "metric.pattern", problem)


@lru_cache(maxsize=64)
def _find_pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a metric's pattern, or None if it seems usable.

    The producer's pattern is only compiled, because matching it could take forever, and without the flag to ignore
    case, which makes large character sets slow to compile.
    """
    if len(pattern) > _LONGEST_PATTERN:
        return f"a pattern of {len(pattern)} characters is too long to check"
    if re.search(_POSIX, pattern):
        return "the engine has no classes such as [:digit:]; write [0-9]"
    if re.fullmatch(_DELIMITED, pattern):
        return "the slashes around it are part of the pattern; remove them"
    if re.fullmatch(_RAW, pattern):
        return "the r and the quotes around it are part of the pattern; remove them"
    try:
        # Python's warnings about sets in sets are for its programmers, and would go to standard error. What is
        # ignored is the same for all threads, so only one at a time may change it and change it back.
        with _filtering_warnings, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # An error since Python 3.11: the finding must not depend on the function's runtime.
            warnings.filterwarnings("error", "Flags not at the start", DeprecationWarning)
            groups = re.compile(re.sub(_CASELESS, _drop_caseless, pattern)).groups
        # New in Python 3.11, and an error in older versions: see above.
        if re.search(_POSSESSIVE, re.sub(_ATOM, "x", pattern)):
            raise re.error("possessive")
    except (re.error, OverflowError, RecursionError, DeprecationWarning):
        hint = "; a named group is (?P<name>...)" if "(?<" in pattern else ""
        return f"for stdout a metric must be a regular expression; this one is invalid{hint}"
    if groups > 1:
        return f"{groups} groups; the first one is the metric. Write (?:...) for any other group"
    return (
        None if groups else "for stdout a metric must be a regular expression with a group around the number"
    )


def _drop_caseless(flags: re.Match[str]) -> str:
    """Return the start of a group without the flag to ignore case, or with one that changes nothing instead."""
    return f"(?{flags[1].replace('i', '') or 'u'}"


def _check_placeholders(config: JsonObject, hints: Hints) -> Iterator[Finding]:
    written = get_object(config, "platform_config").get("cmd")
    commands = written if isinstance(written, list) else []
    found = [
        (index, command, set(re.findall(_PLACEHOLDER, command)))
        for index, command in enumerate(commands)
        if isinstance(command, str)
    ]
    space = get_object(config, "search_space")
    defined = set(names_in(space))
    if find_bare(space) or not isinstance(config.get("search_space"), (dict, type(None))):
        return  # reported already
    # Also the names that a finding suggests: to report them as unused would report one mistake twice.
    used: set[str] = set().union(*(names for _, _, names in found))
    for index, command, names in found:
        escaped = re.search(_ESCAPED, command)
        if escaped and escaped[0][1:] in (defined | _BUILT_IN):
            what = f"{escaped[0][:60]} becomes a $ and the value; write {escaped[0][1:60]}"
            yield warning(f"{_PLATFORM}/cmd/{index}", "placeholder.form", what)
        for name in sorted(names - defined - _BUILT_IN):
            place = f"{_PLATFORM}/cmd/{index}"
            what = f"{name[:60]} is not in search_space; it is not replaced"
            known = (
                one[2:-1] for one in chain(names_in(space), _BUILT_IN) if re.fullmatch(_PLACEHOLDER, one)
            )
            # Without what all of them have in common, or short names would seem similar.
            hint = re.sub(r"mean (.+?)\?", r"mean ${\1}?", hints.suggest(name[2:-1], known))
            used.update(re.findall(_PLACEHOLDER, hint))
            finding = warning(place, "placeholder.undefined", what + hint)
            yield replace(finding, is_absence=config.get("search_space") is None)
    for finding in _check_other_forms(config, defined):
        used.update(re.findall(_PLACEHOLDER, finding.violation.message.partition("did you mean ")[2]))
        yield finding
    # Unless every command can be read, nothing is known about the use of names.
    is_read = bool(found) and len(found) == len(commands)
    if config.get("params_config") is not None or used & _EVERYTHING or not is_read:
        used.update(space)
    yield from _check_parameters(space, used)


def _check_parameters(space: JsonObject, used: Container[str]) -> Iterator[Finding]:
    """Warn about parameters whose name replaces nothing that is meant, or is not among those `used`."""
    for name, spec in space.items():
        place = f"{_SPACE}{pointer_to(name)}"
        is_odd = not re.fullmatch(_PLACEHOLDER, name)
        if (is_odd or name not in used) and is_level(spec):
            continue  # it is no parameter, but has some
        if is_odd:
            word = re.fullmatch(_ONE_WORD, name[:_LONGEST_PATTERN])
            hint = f"; did you mean ${{{word[1]}}}?" if word else ""
            what = f"not of the form ${{name}}, so it replaces plain words{hint}"
            yield warning(place, "search-space.name", what)
        elif name in _BUILT_IN:
            yield warning(
                place, "search-space.name", "the engine has a value of this name; choose another name"
            )
        elif name not in used:
            yield absence(
                place, "search-space.unused", "no command uses it, and there are no parameter files"
            )


def _check_other_forms(config: JsonObject, defined: set[str]) -> Iterator[Finding]:
    """Warn about $name, {name}, $(name), %name% and ${ name } in a command that does not have the defined ${name}."""
    for index, command in get_strings(config, "platform_config", "cmd"):
        seen = set(re.findall(_PLACEHOLDER, command))
        if defined <= seen:
            continue
        for found in re.finditer(_OTHER_FORM, command):
            meant = f"${{{next(filter(None, found.groups()))}}}"
            if meant in defined - seen and found[0] not in defined:
                seen.add(meant)
                place = f"{_PLATFORM}/cmd/{index}"
                what = f"{found[0]} is not replaced; did you mean {meant}?"
                yield warning(place, "placeholder.form", what)


def _check_direction(config: JsonObject) -> Iterator[Finding]:
    mode = get_member(config, "yml_config", "tuner", "class_args", "optimize_mode")
    if mode not in OPTIMIZE_MODES:
        return
    for name, weight in get_object(config, "metric_config", "metric_dict").items():
        words = set(re.findall(r"[a-z0-9]+", name[:_LONGEST_PATTERN].lower()))
        if not _is_number(weight) or weight == 0:
            continue
        is_maximized = (weight > 0) == (mode == "maximize")
        if words & _NEGATIONS:
            continue
        wrong = words & (_MINIMIZED if is_maximized else _MAXIMIZED)
        right = words & (_MAXIMIZED if is_maximized else _MINIMIZED)
        if wrong and not right:
            end = "maximized" if is_maximized else "minimized"
            what = f"{min(wrong)} is {end} by {mode} with the weight {str(weight)[:_MOST_DIGITS]}; change one of them"
            yield warning(f"{_METRIC}/metric_dict{pointer_to(name)}", "metric.direction", what)


def _check_tuner(config: JsonObject, hints: Hints) -> Iterator[Finding]:
    tuner = get_member(config, "yml_config", "tuner")
    given = get_string(tuner, "name")
    name = _ALIASES.get(given.lower(), given.lower())
    if name in _UNSUPPORTED_TYPES:
        yield from _check_support(name, config)
    if name in _KEEP_VALUES:
        yield from _check_size(name, config)
    arguments = get_object(tuner, "class_args")
    mode = arguments.get("optimize_mode")
    if not name and get_object(config, "yml_config"):
        yield from _check_absence(tuner)
    elif name and name not in _ARGUMENTS:
        # Most classes of tuners have names that end like this.
        meant = given[: -len("tuner")] if name.endswith("tuner") else given
        what = f"unknown tuner; {_DOCUMENTED}{hints.suggest(meant, _TUNERS)}"
        yield warning(f"{_RUN}/tuner/name", "tuner.unknown", what)
    is_absent = mode is None and isinstance(get_member(tuner, "class_args"), (dict, type(None)))
    if name in _NEED_MODE and is_absent:
        yield absence(f"{_RUN}/tuner", "tuner.mode", f"{_NAMES[name]} needs optimize_mode")
    elif name in _OWN_MODES and is_absent:
        what = f"without optimize_mode {_OWN_MODES[name]}; set it to maximize or minimize"
        yield absence(f"{_RUN}/tuner", "tuner.mode", what)
    if mode is not None and mode not in OPTIMIZE_MODES:
        what = _describe_modes(mode)
        yield warning(f"{_RUN}/tuner/class_args/optimize_mode", "optimize-mode", what)
    if name in _ARGUMENTS:
        yield from _check_arguments(name, arguments, hints)
    yield from _check_population(name, config)
    yield from _check_assessor(config, mode)
    if name == "pbt" and get_member(config, "yml_config", "assessor") is not None:
        what = "the engine allows no assessor together with PBT; remove it"
        yield warning(f"{_RUN}/assessor", "assessor.unknown", what)


def _check_absence(tuner: JsonValue) -> Iterator[Finding]:
    """Warn about a run without a tuner, or with one without a name; the models report one of the wrong type."""
    what = f"no tuner, which the engine requires; {_DOCUMENTED}"
    if tuner is None:
        yield absence(_RUN, "tuner.unknown", what)
    elif isinstance(tuner, dict) and tuner.get("name") in (None, ""):
        yield absence(f"{_RUN}/tuner", "tuner.unknown", what)


def _check_arguments(tuner: str, arguments: JsonObject, hints: Hints) -> Iterator[Finding]:
    known = {**_ARGUMENTS[tuner], "optimize_mode": None}
    for argument, value in arguments.items():
        wanted = known.get(argument)
        if argument not in known:
            inner = tuner == "tpe" and argument in _TPE_ARGUMENTS
            if argument.lower() in _MODE_NAMES:
                hint = "; did you mean optimize_mode?"
            else:
                hint = "; it belongs in tpe_args" if inner else hints.suggest(argument, known)
            what = f"not a documented argument of {_NAMES[tuner]}{hint}"
        elif argument in ("factor", "factors"):
            # PBT's check of the arguments allows factors, and its constructor takes factor.
            what = "the engine takes neither factor nor factors; remove it"
        elif wanted is not None and type(value) is not wanted and value is not None:
            what = f"the engine requires {_TYPE_NAMES[wanted]}"
        elif argument == "utility" and value not in (None, *_UTILITIES):
            what = f"the engine supports only {', '.join(_UTILITIES)}{hints.suggest(value, _UTILITIES)}"
        elif problem := _find_limit(argument, value):
            what = problem
        else:
            if argument == "tpe_args":
                yield from _check_tpe(value, hints)
            continue
        yield warning(f"{_RUN}/tuner/class_args{pointer_to(argument)}", "tuner.argument", what)


def _check_tpe(arguments: JsonValue, hints: Hints) -> Iterator[Finding]:
    for argument, value in get_object(arguments).items():
        wanted = _TPE_ARGUMENTS.get(argument)
        if wanted is None:
            what = f"not a documented member of tpe_args{hints.suggest(argument, _TPE_ARGUMENTS)}"
        elif type(value) not in wanted and value is not None:
            what = f"the engine requires {'a number' if float in wanted else _TYPE_NAMES[wanted[0]]}"
        elif isinstance(value, str) and value.lower() not in _LIARS:  # of constant_liar_type
            what = f"the engine supports only {', '.join(_LIARS)} and null{hints.suggest(value, _LIARS)}"
        elif problem := _find_limit(argument, value):
            what = problem
        else:
            continue
        yield warning(f"{_RUN}/tuner/class_args/tpe_args{pointer_to(argument)}", "tuner.argument", what)


def _find_limit(argument: str, value: JsonValue) -> str | None:
    """Return which values of an `argument` the engine requires if `value` is too small or too large, or None."""
    low, high = _LIMITS.get(argument, (None, None))
    if low is None or not isinstance(value, int) or (low <= value and (high is None or value <= high)):
        return None
    return f"the engine requires {f'at least {low}' if high is None else f'{low} to {high}'}"


def _check_population(tuner: str, config: JsonObject) -> Iterator[Finding]:
    """Warn about more trials at once than Evolution has individuals for."""
    size = get_member(config, "yml_config", "tuner", "class_args", "population_size")
    size = _POPULATION if size is None else size
    run = get_object(config, "yml_config")
    numbers = (run.get("trial_concurrency"), run.get("max_trial_number"))
    most = min((one for one in numbers if _is_number(one)), default=0)
    if tuner == "evolution" and type(size) is int and 0 < size < most:
        what = f"more than the population_size of Evolution, which is {size}"
        yield warning(f"{_RUN}/trial_concurrency", "run.concurrency", what)


def _check_size(tuner: str, config: JsonObject) -> Iterator[Finding]:
    """Warn about a randint of more values than the tuner can keep in memory."""
    trials = get_member(config, "yml_config", "max_trial_number")
    if tuner == "tpe" and _is_number(trials) and trials <= _STARTUP_TRIALS:
        return
    for name, spec in get_object(config, "search_space").items():
        bounds = get_member(spec, "_value")
        if get_string(spec, "_type") != "randint" or not isinstance(bounds, list) or len(bounds) != 2:
            continue
        low, high = bounds
        # Their difference may be one of an integer that is too large and a float, which Python cannot compute.
        if _is_number(low) and _is_number(high) and high > low + _MOST_VALUES:
            what = f"{_NAMES[tuner]} needs memory for each value of a randint; write quniform with a q of 1 instead"
            yield warning(f"{_SPACE}{pointer_to(name)}/_value", "search-space.tuner", what)


def _check_support(tuner: str, config: JsonObject) -> Iterator[Finding]:
    for name, spec in get_object(config, "search_space").items():
        kind = get_string(spec, "_type")
        place = f"{_SPACE}{pointer_to(name)}"
        if kind in _UNSUPPORTED_TYPES[tuner]:
            what = f"{_NAMES[tuner]} does not support {kind}; choose another type, or another tuner"
            yield warning(f"{place}/_type", "search-space.tuner", what)
        elif kind == "choice":
            problem = _find_choice_problem(tuner, get_member(spec, "_value"))
            if problem:
                yield warning(f"{place}/_value", "search-space.tuner", problem)


def _find_choice_problem(tuner: str, items: JsonValue) -> str | None:
    if not isinstance(items, list):
        return None
    if any(isinstance(item, dict) for item in items):
        return f"{_NAMES[tuner]} does not support nested choices; write one choice, or choose another tuner"
    if tuner == "gp" and any(isinstance(item, str) for item in items):
        return "GP supports only numbers in a choice; choose another tuner"
    return None


def _describe_modes(mode: JsonValue) -> str:
    meant = next((one for one in OPTIMIZE_MODES if str(mode)[:3].lower() == one[:3]), None)
    return f"the engine supports only maximize and minimize{f'; did you mean {meant}?' if meant else ''}"


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_assessor(config: JsonObject, mode: JsonValue) -> Iterator[Finding]:
    assessor = get_member(config, "yml_config", "assessor")
    name = get_string(assessor, "name")
    if name and name.lower() != "paiassessor":
        yield warning(f"{_RUN}/assessor/name", "assessor.unknown", "only PAIAssessor can stop trials on PAI")
    elif isinstance(assessor, dict) and assessor.get("name") in (None, ""):
        yield absence(f"{_RUN}/assessor", "assessor.unknown", "the engine requires the name of an assessor")
    arguments = get_object(config, "yml_config", "assessor", "class_args")
    other = arguments.get("optimize_mode")
    proportion, step = arguments.get("proportion"), arguments.get("start_step")
    if isinstance(proportion, (int, float)) and not 0 <= proportion <= 1:
        what = "a proportion lies between 0 and 1; 0.5 is the median of the other trials"
        yield warning(f"{_RUN}/assessor/class_args/proportion", "assessor.argument", what)
    if isinstance(step, (int, float)) and step < 0:
        what = "start_step must not be less than 0"
        yield warning(f"{_RUN}/assessor/class_args/start_step", "assessor.argument", what)
    if isinstance(arguments.get("moving_avg"), str) and arguments["moving_avg"] not in ("true", "false"):
        what = 'moving_avg must be "true" or "false"'
        yield warning(f"{_RUN}/assessor/class_args/moving_avg", "assessor.argument", what)
    place = f"{_RUN}/assessor/class_args/optimize_mode"
    if isinstance(other, str) and other not in OPTIMIZE_MODES:
        yield warning(place, "optimize-mode", _describe_modes(other))
    elif isinstance(other, str) and mode in OPTIMIZE_MODES and other != mode:
        yield warning(place, "optimize-mode", "the tuner optimizes in the other direction")


def _check_run(config: JsonObject, hints: Hints) -> Iterator[Finding]:
    run = get_object(config, "yml_config")
    if not isinstance(config.get("yml_config"), (dict, type(None))):
        return  # reported by the models
    for name in ("trial_concurrency", "max_trial_number"):
        number = run.get(name)
        if isinstance(number, (int, float)) and number <= 0 and number is not False:
            yield warning(f"{_RUN}/{name}", "run.number", f"the engine requires {name} to be greater than 0")
    trials, concurrency = run.get("max_trial_number"), run.get("trial_concurrency")
    if trials is None and not run.get("debug"):
        what = "nothing limits the number of trials; set yml_config.max_trial_number"
        yield absence(_RUN if run else CONFIG, "run.unlimited", what)
    elif _is_number(trials) and _is_number(concurrency) and 0 < trials < concurrency and trials % 1 == 0:
        what = f"more than max_trial_number, which is {trials}"
        yield warning(f"{_RUN}/trial_concurrency", "run.concurrency", what)
    space = config.get("search_space")
    if run and space in (None, {}):
        is_empty = space is not None
        what = f"{'with an empty' if is_empty else 'without'} search_space the engine has nothing to vary"
        yield absence(_SPACE if is_empty else CONFIG, "search-space.absent", what)
    level = run.get("log_level")
    if isinstance(level, str) and level.lower() not in _LOG_LEVELS:
        known = sorted(_LOG_LEVELS)
        what = f"the engine supports {', '.join(known)}{hints.suggest(level.lower(), known)}"
        yield warning(f"{_RUN}/log_level", "run.log-level", what)


def _check_schedule(config: JsonObject) -> Iterator[Finding]:
    schedule = get_object(config, "schedule_config")
    days = ("everyday", "weekend")
    if isinstance(schedule.get("day"), str) and schedule["day"] not in days:
        meant = str(schedule["day"]).lower()
        what = (
            f"the engine supports everyday and weekend{f'; did you mean {meant}?' if meant in days else ''}"
        )
        yield warning(f"{CONFIG}/schedule_config/day", "schedule", what)
    times = []
    for name in ("start_time", "end_time"):
        time = schedule.get(name)
        if isinstance(time, str) and re.fullmatch(_TIME, time):
            times.append(time)
        elif isinstance(time, str):
            nearly = re.fullmatch(_NEARLY_TIME, time)
            hint = f"; did you mean {nearly[1]:0>2}:{nearly[2]}?" if nearly else ""
            what = f"the engine requires a time of the form HH:MM, up to 23:59{hint}"
            yield warning(f"{CONFIG}/schedule_config/{name}", "schedule", what)
    if len(times) == 2 and times[0] >= times[1]:
        what = "not after start_time; whether such times span midnight is not documented, so trials may never start"
        yield warning(f"{CONFIG}/schedule_config/end_time", "schedule", what)


def _check_monitor(config: JsonObject) -> Iterator[Finding]:
    monitor = config.get("monitor_config")
    if not isinstance(monitor, dict) or all(value is None for value in monitor.values()):
        return
    if monitor.get("url") in (None, ""):
        yield absence(f"{CONFIG}/monitor_config", "monitor", "no alert can be sent without a url")
    for name in ("at_mobiles", "at_user_ids"):
        listed = monitor.get(name)
        if isinstance(listed, str) and not re.fullmatch(_LIST, listed):
            what = 'must be an array in a string, as in "[1472583690]"'
            yield warning(f"{CONFIG}/monitor_config/{name}", "monitor", what)
    everyone = monitor.get("is_at_all")
    if isinstance(everyone, str) and everyone.lower() not in ("true", "false"):
        yield warning(f"{CONFIG}/monitor_config/is_at_all", "monitor", 'must be "True" or "False"')


def _check_undocumented(config: JsonObject) -> Iterator[Finding]:
    """Warn about members that only the engine documents, or that the API documents as needing no configuration."""
    arguments = get_object(config, "yml_config", "assessor", "class_args")
    for name in [name for name in ("patience", "platform") if arguments.get(name) is not None]:
        place = f"{_RUN}/assessor/class_args/{name}"
        yield warning(place, "engine-member", "documented by the engine, not by the API, which may drop it")
    moving = arguments.get("moving_avg")
    if moving is not None and not isinstance(moving, str):
        place = f"{_RUN}/assessor/class_args/moving_avg"
        sent = '; "true" or "false" is sent' if isinstance(moving, bool) else ': write "true" or "false"'
        yield warning(place, "moving-avg.type", f"the API documents a string{sent}")
    if get_member(config, "metric_config", "optimize_mode") is not None:
        place = f"{_METRIC}/optimize_mode"
        yield warning(place, "engine-member", "documented by the engine, not by the API, which may drop it")
    if get_member(config, "dlc_config", "end_point") is not None:
        place = f"{CONFIG}/dlc_config/end_point"
        yield warning(place, "engine-member", "the API documents this member as endpoint")
    if any(value is not None for value in get_object(config, "k8s_config").values()):
        yield warning(
            f"{CONFIG}/k8s_config", "k8s", "the API documents that it needs no configuration; remove it"
        )
