"""The part of `hpoq demo` that runs real trials, if the command `hpoq try` and its extra are installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fcruntime.jsonvalue import JsonObject
from hpoq.producer.build import Parameter, build_request, choice, uniform

_SECONDS = 60
_SEARCHES: Mapping[str, tuple[str, Mapping[str, Parameter]]] = {
    "parabola": ("(x - 3) ** 2", {"x": uniform(-10, 10)}),
    "hyperbola": ("k + 16 / k", {"k": choice(1, 2, 3, 4, 5, 6, 8)}),
}


def is_available() -> bool:
    """Return whether real trials can be run here."""
    return all(importlib.util.find_spec(name) is not None for name in ("hpoqctl.tryout", "optuna"))


def run_trials(out: Console | None) -> list[JsonObject]:
    """Run two small searches at the same time and return their results; none if real trials cannot be run here.

    Each result and each failure is printed to `out`, unless it is None.
    """
    if not is_available():
        return []
    with tempfile.TemporaryDirectory() as folder:
        running = {name: _start(Path(folder), name) for name in _SEARCHES}
        found = []
        for name, process in running.items():
            result = _read_result(process)
            if out:
                out.print(Text(f"  trials    {name}: {_describe(result)}"))
            found += [result] if result else []
    return found


def _start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    formula, parameters = _SEARCHES[name]
    (parameter,) = parameters
    script = folder / f"{name}.py"
    script.write_text(f"import sys\n{parameter} = float(sys.argv[1])\nprint(f'value={{{formula}}}')\n")
    request = build_request(
        name=name,
        platform="LOCAL",
        commands=[f"{sys.executable} {script} ${{{parameter}}}"],
        metric="value=([0-9.]+)",
        goal="minimize",
        parameters=parameters,
        trials=8,
        parallel=2,
    )
    file = folder / f"{name}.json"
    file.write_text(json.dumps(request.document))
    command = [sys.executable, "-m", "hpoq", "try", str(file), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603


def _read_result(process: subprocess.Popen[bytes]) -> JsonObject | None:
    try:
        shown, _ = process.communicate(timeout=_SECONDS)
        value = json.loads(shown)
    except (subprocess.TimeoutExpired, ValueError):
        process.kill()
        process.wait()
        return None
    return value if isinstance(value, dict) else None


def _describe(result: JsonObject | None) -> str:
    best = result.get("bestTrial") if result else None
    trials = result.get("trials") if result else None
    if not isinstance(best, dict):
        return "the search gave no result"
    count = len(trials) if isinstance(trials, list) else 0
    return f"best of {count} trials: {json.dumps(best.get('hyperparameters'))}, metric {best.get('metric')}"
