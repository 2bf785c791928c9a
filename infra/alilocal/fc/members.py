"""The settings of a function in the form of the API: names, defaults and limits.

Source: the model CreateFunctionInput of alibabacloud-fc20230330 4.8.3, and
https://www.alibabacloud.com/help/en/functioncompute/fc/product-overview/limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from alilocal.core.jsonvalue import JsonObject, JsonValue
from alilocal.fc.errors import InvalidArgument
from alilocal.fc.model import check_environment

RUNTIMES = ("python3", "python3.9", "python3.10", "python3.12")
"""The runtimes whose functions run here. Contexts up to Python 3.10 have one form, later ones another."""
_HIDDEN_KEYS = {
    "None": frozenset[str](),
    "Env": frozenset({"env"}),
    "Request": frozenset({"request"}),
    "All": frozenset({"env", "request"}),
}
"""For each value of `disableInjectCredentials` the places that do not contain a function's temporary keys."""
_DEFAULTS: JsonObject = {
    "cpu": 0.35,
    "memorySize": 512,
    "diskSize": 512,
    "timeout": 3,
    "instanceConcurrency": 1,
    "description": "",
    "environmentVariables": {},
    "internetAccess": True,
    "role": "",
}
_MEMBERS = frozenset(
    {
        *_DEFAULTS,
        *("customContainerConfig", "customDNS", "customRuntimeConfig", "disableInjectCredentials"),
        *("disableOndemand", "enableLongLiving", "gpuConfig", "handler", "idleTimeout"),
        *("instanceIsolationMode", "instanceLifecycleConfig", "instanceType", "juiceFsConfig", "layers"),
        "logConfig",
        *("microSandboxConfig", "nasConfig", "ossMountConfig", "polarFsConfig", "resourceGroupId"),
        *("runtime", "sessionAffinity", "sessionAffinityConfig", "tags", "tracingConfig", "vpcConfig"),
    }
)
_NAME = re.compile(r"[A-Za-z_][\w-]{0,63}|[A-Za-z_][\w-]{0,127}\$[A-Za-z_][\w-]{0,127}", re.ASCII)
"""The name of a function, or of one of 2.0 with its service."""
_ROLE = re.compile(r"acs:ram::\d+:role/(?P<name>[A-Za-z0-9.@_/-]{1,128})")
_RANGES: Mapping[str, tuple[float, float]] = {
    "cpu": (0.05, 16),
    "memorySize": (128, 32_768),
    "timeout": (1, 86_400),
    "instanceConcurrency": (1, 200),
}
_HOOK_SECONDS = (1, 300)
_DISK_SIZES = (512, 10_240)
_ROUNDING = 1e-6


def check_name(name: JsonValue) -> str:
    """Return the name of a function; raises InvalidArgument."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidArgument(f"functionName: {name!r} is not a valid name.")
    return name


def new_members(given: JsonObject) -> JsonObject:
    """Return the settings of a new function with all defaults; raises InvalidArgument."""
    found = {**_DEFAULTS, **_known(given)}
    check(found)
    if given.get("cpu") is not None:
        _check_cpu(found)
    return found


def changed_members(members: JsonObject, given: JsonObject) -> JsonObject:
    """Return `members` with the changes in `given`; raises InvalidArgument.

    An object replaces the earlier one, except the hooks of instances: a hook that is left out stays.
    """
    found = {**members, **_known(given)}
    hooks, new_hooks = members.get("instanceLifecycleConfig"), given.get("instanceLifecycleConfig")
    if isinstance(hooks, dict) and isinstance(new_hooks, dict):
        found["instanceLifecycleConfig"] = {**hooks, **_known(new_hooks, frozenset(new_hooks))}
    check(found)
    if given.get("cpu") is not None:
        _check_cpu(found)
    return found


def role_name(members: JsonObject) -> str | None:
    """Return the name of the role in `members`, or None if there is none."""
    found = _ROLE.fullmatch(str(members.get("role") or ""))
    return found["name"] if found else None


def hook(members: JsonObject, name: str) -> tuple[str | None, float]:
    """Return the handler of a hook, None if there is none, and its time-out in seconds."""
    config = members.get("instanceLifecycleConfig")
    found = config.get(name) if isinstance(config, dict) else None
    if not isinstance(found, dict) or not found.get("handler"):
        return None, 3.0
    timeout = found.get("timeout")
    return str(found["handler"]), float(timeout) if isinstance(timeout, (int, float)) else 3.0


def hidden_keys(members: JsonObject) -> frozenset[str]:
    """Return the places that do not contain the function's temporary keys: `env`, `request`."""
    return _HIDDEN_KEYS[_hiding(members)]


def _hiding(members: JsonObject) -> str:
    return str(members.get("disableInjectCredentials") or "None")


def environment(members: JsonObject) -> dict[str, str]:
    """Return the environment variables."""
    found = members.get("environmentVariables")
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _known(given: JsonObject, names: frozenset[str] = _MEMBERS) -> JsonObject:
    return {name: value for name, value in given.items() if name in names and value is not None}


def _check_cpu(members: JsonObject) -> None:
    """Raise InvalidArgument unless the CPUs that a request names fit the memory: 1 to 4 GB for each."""
    cpu, memory = float(str(members["cpu"])), float(str(members["memorySize"]))
    if abs(cpu * 20 - round(cpu * 20)) > _ROUNDING:
        raise InvalidArgument("cpu: must be a multiple of 0.05.")
    if not 1 - _ROUNDING <= memory / 1024 / cpu <= 4 + _ROUNDING:
        raise InvalidArgument("cpu: the ratio of cpu to memorySize (in GB) must be between 1:1 and 1:4.")


def _is_within(value: JsonValue, ends: tuple[float, float]) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and ends[0] <= value <= ends[1]


def _check_hooks(members: JsonObject) -> None:
    hooks = members.get("instanceLifecycleConfig")
    for name, one in hooks.items() if isinstance(hooks, dict) else ():
        timeout = one.get("timeout") if isinstance(one, dict) else None
        if timeout is not None and not _is_within(timeout, _HOOK_SECONDS):
            raise InvalidArgument(
                f"instanceLifecycleConfig.{name}.timeout: must be a number between 1 and 300."
            )


def _check_sizes(members: JsonObject) -> None:
    for name, (least, most) in _RANGES.items():
        if not _is_within(members.get(name), (least, most)):
            raise InvalidArgument(f"{name}: must be a number between {least:g} and {most:g}.")
    if float(str(members["memorySize"])) % 64:
        raise InvalidArgument("memorySize: must be a multiple of 64.")
    if members.get("diskSize") not in _DISK_SIZES:
        raise InvalidArgument(f"diskSize: must be {' or '.join(map(str, _DISK_SIZES))}.")


def check(members: JsonObject) -> None:
    """Raise InvalidArgument for settings that no function can have."""
    for name in ("runtime", "handler"):
        if not members.get(name):
            raise InvalidArgument(f"{name}: is required.")
    _check_sizes(members)
    if members["runtime"] not in RUNTIMES:
        raise InvalidArgument(
            f"runtime: the local cloud runs {', '.join(RUNTIMES)}, and not {members['runtime']!r}."
        )
    if members.get("role") and role_name(members) is None:
        raise InvalidArgument(f"role: {members['role']!r} is not of the form acs:ram::<account>:role/<name>.")
    if _hiding(members) not in _HIDDEN_KEYS:
        raise InvalidArgument(f"disableInjectCredentials: must be one of {', '.join(_HIDDEN_KEYS)}.")
    _check_hooks(members)
    variables = members.get("environmentVariables")
    if not isinstance(variables, dict) or not all(isinstance(one, str) for one in variables.values()):
        raise InvalidArgument("environmentVariables: must be an object whose values are strings.")
    try:
        check_environment(environment(members))
    except ValueError as exc:
        raise InvalidArgument(str(exc)) from None
