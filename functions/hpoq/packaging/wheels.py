"""The function's dependencies as wheels: resolved and downloaded by pip, or the very ones that a lock names."""

from __future__ import annotations

import email.parser
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from hpoq.packaging.platform import Platform

_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")


class WheelsUnavailable(Exception):
    """pip could not bring the wheels; `report` is what it said."""

    def __init__(self, report: str) -> None:
        self.report = report
        super().__init__(report.strip().splitlines()[-1] if report.strip() else "pip failed")


@dataclass(frozen=True)
class Wheel:
    """A distribution as it was downloaded; `sha256` in hexadecimal."""

    path: Path
    name: str
    version: str
    sha256: str
    metadata: Message

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """The wheel at `path`."""
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
            metadata = email.parser.Parser().parsestr(archive.read(name).decode())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(path, metadata["Name"], metadata["Version"], digest, metadata)

    def needs(self, platform: Platform, extras: Iterable[str] = ()) -> list[str]:
        """The names of the distributions that it depends on there, in the form of PEP 503."""
        return sorted({plain(one.name) for one in self.requirements(platform, extras)})

    def requirements(self, platform: Platform, extras: Iterable[str] = ()) -> list[Requirement]:
        """What it depends on there."""
        given = map(Requirement, self.metadata.get_all("Requires-Dist") or ())
        return [one for one in given if _applies(one, platform, extras)]


def plain(name: str) -> str:
    """A distribution's name in the form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(platform: Platform, extras: Iterable[str]) -> dict[str, str]:
    """What the function itself needs there, extras included: requirements by name, both as pip takes them."""
    given = map(Requirement, requires("hpoq") or ())
    chosen = [one for one in given if _applies(one, platform, extras)]
    return {plain(one.name): f"{one.name}{one.specifier}" for one in chosen}


def download(folder: Path, wanted: Sequence[str], platform: Platform) -> list[Wheel]:
    """The newest wheels that `wanted` allows, and all that they need there. Raises WheelsUnavailable.

    pip takes dependencies by the markers of the Python that runs it (https://github.com/pypa/pip/issues/11664): what
    it leaves out is asked for by name, and what is of no use there is left out.
    """
    asked = list(wanted)
    while True:
        wheels = _pip(folder / str(len(asked)), platform, *asked)
        needed, missing = _needed(wheels, wanted, platform)
        if not missing:
            return [wheel for wheel in wheels if plain(wheel.name) in needed]
        asked += sorted(missing)


def _needed(wheels: Iterable[Wheel], wanted: Iterable[str], platform: Platform) -> tuple[set[str], set[str]]:
    """What `wanted` comes to there: the names of wheels, and requirements that none of them meets."""
    found = {plain(wheel.name): wheel for wheel in wheels}
    pending, seen, missing = [Requirement(one) for one in wanted], set[tuple[str, str]](), set[str]()
    while pending:
        one = pending.pop()
        name = plain(one.name)
        if name not in found:
            missing.add(f"{one.name}{one.specifier}")
            continue
        for extra in ("", *one.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                pending += found[name].requirements(platform, (extra,))
    return {name for name, _ in seen}, missing


def download_locked(folder: Path, lock: Path, platform: Platform) -> list[Wheel]:
    """The wheels that `lock` names, checked by their hashes. Raises WheelsUnavailable."""
    return _pip(folder, platform, "--no-deps", "--require-hashes", "-r", str(lock))


def lock_text(wheels: Iterable[Wheel]) -> str:
    """The wheels in the form of pip's requirements files."""
    lines = (f"{plain(wheel.name)}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in wheels)
    return "".join(f"{line}\n" for line in lines)


def _applies(requirement: Requirement, platform: Platform, extras: Iterable[str]) -> bool:
    if requirement.marker is None:
        return True
    # What is not given is this machine's.
    given = platform.environment
    return any(requirement.marker.evaluate({**given, "extra": extra}) for extra in ("", *extras))


def _pip(folder: Path, platform: Platform, *wanted: str) -> list[Wheel]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "-q",
        "-d",
        str(folder),
    ]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={platform.python}"]
    command += [f"--abi=cp{platform.python.replace('.', '')}", "--abi=abi3", "--abi=none"]
    command += [f"--platform={tag}" for tag in platform.tags]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise WheelsUnavailable(done.stderr)
    return sorted((Wheel.read(path) for path in folder.glob("*.whl")), key=lambda wheel: plain(wheel.name))
