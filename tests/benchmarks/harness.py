"""What all benchmarks share: rows of the table, sides measured in turns, peers in venvs of their own."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUEST = (ROOT / "events/requests/dlc-stdout.json").read_text()
# As filled in by its producer: a placeholder would be a warning.
REQUEST = REQUEST.replace("EXAMPLE-ACCESS-KEY-", "FILLED-IN-")
# FC's built-in runtimes, the newest one first.
RUNTIMES = ("3.12", "3.10")
# The function's environment where nothing is reached.
ENVIRONMENT = {
    "HPOQ_REGION": "cn-hangzhou",
    "HPOQ_ACCOUNT_ID": "1",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
}
TABLESTORE = "tablestore://i.cn-hangzhou.ots.aliyuncs.com/hpoq"
# What the usual function is made of: the vendor's SDKs, and Powertools for logger and batch.
USUAL = (
    "alibabacloud-paiautoml20220828==1.4.0",
    "aliyun-mns-sdk==1.3.0",
    "tablestore==6.4.8",
    "aws-lambda-powertools==3.37.0",
    "pydantic",
    "setuptools<81",
)


@dataclass(frozen=True)
class Row:
    """A line of the table: a ratio with its quartiles, or a number that is held against a target."""

    part: str
    what: str
    value: float
    low: float | None = None
    high: float | None = None
    target: float | None = None
    note: str = ""

    def line(self) -> str:
        """Return the row as a line for the terminal."""
        spread = "" if self.low is None or self.high is None else f"{self.low:.2f}-{self.high:.2f}"
        held = "" if self.target is None else ("ok" if self.value <= self.target else "MISSED")
        aim = "" if self.target is None else f"<= {self.target:g}"
        return f"{self.part:4} {self.what:58} {self.value:9.2f} {spread:12} {aim:9} {held:7} {self.note}"


def ratio(part: str, what: str, ours: Sequence[float], theirs: Sequence[float], **options: object) -> Row:
    """Return the median of the ratios of each round; `ours` and `theirs` in milliseconds, measured in turns."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (*ratios * 3,)
    note = f"{statistics.median(ours):.1f} ms : {statistics.median(theirs):.1f} ms"
    return Row(part, what, middle, low, high, note=note, **options)  # type: ignore[arg-type]


def in_turns(rounds: int, *sides: Callable[[], float]) -> Iterator[list[float]]:
    """Each side's numbers, the sides measured one after the other in every round; a first round is left out.

    Every round begins with another one, for what ran before leaves the machine's caches to the next.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds + 1):
        for place in range(turn, turn + len(sides)):
            number = sides[place % len(sides)]()
            if turn:
                taken[place % len(sides)].append(number)
    return iter(taken)


class Peers:
    """The interpreters and folders that comparisons need, made once in `folder`."""

    def __init__(self, folder: Path, versions: Sequence[str] = RUNTIMES) -> None:
        self.folder = folder
        self.python = _interpreter(versions)

    @property
    def version(self) -> str:
        """The version of the interpreter that cold starts are measured with, such as `3.12`."""
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        return subprocess.run(
            [self.python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()

    def packages(self, name: str, *wanted: str) -> Path:
        """Return a folder with these packages, compiled."""
        target = self.folder / f"{name}-{self.version}"
        if not (target / ".made").exists():
            shutil.rmtree(target, ignore_errors=True)
            python = self.venv("tools-" + self.version, base=self.python)
            command = [python, "-m", "pip", "install", "-q", "--no-compile", "--target", target, *wanted]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            subprocess.run([python, "-m", "compileall", "-q", target], check=False, capture_output=True)
            (target / ".made").touch()
        return target

    def venv(self, name: str, *wanted: str, base: str = sys.executable) -> Path:
        """Return the interpreter of a venv with these packages."""
        folder = self.folder / name
        python = folder / "bin/python"
        if not (folder / ".made").exists():
            subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
            if wanted:
                subprocess.run(
                    [python, "-m", "pip", "install", "-q", *wanted], check=True, stderr=subprocess.DEVNULL
                )
            (folder / ".made").touch()
        return python

    def deployed(self) -> Path:
        """Return the folder with the unpacked code package of this checkout, for the interpreter's runtime."""
        out, code = self.folder / "dist", self.folder / f"deployed-{self.version}"
        command = [sys.executable, "-c", "from hpoqctl import main; main()", "package", "--json"]
        command += ["--runtime", f"python{self.version}", "--bytecode", "--output", str(out)]
        lock = out / f"hpoq-python{self.version}-x86_64.lock"
        if lock.exists():
            command += ["--lock", str(lock)]
        path = os.pathsep.join([str(Path(self.python).parent), os.environ["PATH"]])
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
        )
        shutil.rmtree(code, ignore_errors=True)
        shutil.unpack_archive(json.loads(done.stdout)["packages"][0]["path"], code)
        return code

    @property
    def zip_size(self) -> int:
        """Return the size of the code package in bytes."""
        return (self.folder / "dist" / f"hpoq-python{self.version}-x86_64.zip").stat().st_size


def child(python: str | Path, script: str, *arguments: str, **environ: str) -> dict[str, float]:
    """Return the JSON that `script` prints when `python` runs it."""
    command = [str(python), "-I", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ})
    if done.returncode:
        raise RuntimeError(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON, for a later comparison."""
    return json.dumps({f"{row.part} {row.what}": asdict(row) for row in rows}, indent=1)


def _interpreter(versions: Sequence[str]) -> str:
    """Return the first of `versions` that is installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in versions:
        kept = [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
        for found in [*kept, shutil.which(f"python{version}")]:
            if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
                return found
    raise SystemExit(f"Python {' or '.join(versions)} is not on this machine")


__all__ = ["Peers", "Row", "as_json", "child", "in_turns", "ratio", "venv"]
