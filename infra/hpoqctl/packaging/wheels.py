"""The function's dependencies as wheels, which pip resolves and downloads, or which a lock names exactly."""

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
from packaging.version import Version

from hpoqctl.packaging.platform import Platform

_LOCK_FOR = "# hpoq package"
_WITHOUT_DETECTION = Version("2.32")
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")


class WheelsUnavailable(Exception):
    """pip could not download the wheels. `report` is its error output."""

    def __init__(self, report: str) -> None:
        self.report = report
        super().__init__(report.strip().splitlines()[-1] if report.strip() else "pip failed")


class LockMismatch(Exception):
    """A lock is for the platform `stated`, not for the `wanted` one. Both are options of `hpoq package`."""

    def __init__(self, stated: str, wanted: str) -> None:
        self.stated, self.wanted = stated, wanted
        super().__init__(
            f"the lock was made with {stated}, not with {wanted}. Give {stated}, or another lock."
        )


@dataclass(frozen=True)
class Wheel:
    """A downloaded wheel. `sha256` is in hexadecimal."""

    path: Path
    name: str
    version: str
    sha256: str
    metadata: Message

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """Read the wheel at `path`."""
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
            metadata = email.parser.Parser().parsestr(archive.read(name).decode())
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(path, metadata["Name"], metadata["Version"], digest, metadata)

    def needs(self, platform: Platform, extras: Iterable[str] = ()) -> list[str]:
        """Return the normalized names of the distributions that it depends on there."""
        return sorted({normalize_name(one.name) for one in self.requirements(platform, extras)})

    def requirements(self, platform: Platform, extras: Iterable[str] = ()) -> list[Requirement]:
        """Return its requirements whose markers apply there."""
        given = map(Requirement, self.metadata.get_all("Requires-Dist") or ())
        return [one for one in given if _applies(one, platform, extras)]


def normalize_name(name: str) -> str:
    """Return a distribution's name in the normalized form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def own_requirements(platform: Platform, extras: Iterable[str]) -> dict[str, str]:
    """Return the function's own requirements there, with those of `extras`, by normalized name."""
    given = map(Requirement, requires("hpoq") or ())
    chosen = [one for one in given if _applies(one, platform, extras)]
    return {normalize_name(one.name): f"{one.name}{one.specifier}" for one in chosen}


def download(folder: Path, wanted: Sequence[str], platform: Platform) -> list[Wheel]:
    """Download the newest wheels that meet `wanted`, and all their dependencies. Raises WheelsUnavailable.

    pip evaluates markers for the Python that runs it, not for the platform that it downloads for
    (https://github.com/pypa/pip/issues/11664). So what it omits is requested by name, and what the platform does not
    need is dropped.
    """
    requested = list(wanted)
    while True:
        wheels = _download_with_pip(folder / str(len(requested)), platform, *requested)
        needed, missing = _resolve(wheels, wanted, platform)
        if not missing:
            return [wheel for wheel in wheels if normalize_name(wheel.name) in needed]
        requested += sorted(missing)


def drop_unused(wheels: Iterable[Wheel]) -> list[Wheel]:
    """Return `wheels` without charset-normalizer, which requests declares as a dependency and hpoq never uses.

    With it requests guesses the encoding of a text; hpoq reads bytes, whose encoding it knows. Loading it takes a
    tenth of a cold start. It is kept for a requests before version 2.32, which cannot be imported without it.
    """
    found = list(wheels)
    versions = [Version(wheel.version) for wheel in found if normalize_name(wheel.name) == "requests"]
    if not versions or min(versions) < _WITHOUT_DETECTION:
        return found
    return [wheel for wheel in found if normalize_name(wheel.name) != "charset-normalizer"]


def _resolve(wheels: Iterable[Wheel], wanted: Iterable[str], platform: Platform) -> tuple[set[str], set[str]]:
    """Return the names of the wheels that `wanted` needs there, and the requirements that no wheel meets."""
    found = {normalize_name(wheel.name): wheel for wheel in wheels}
    pending, seen, missing = [Requirement(one) for one in wanted], set[tuple[str, str]](), set[str]()
    while pending:
        one = pending.pop()
        name = normalize_name(one.name)
        if name not in found:
            missing.add(f"{one.name}{one.specifier}")
            continue
        for extra in ("", *one.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                pending += found[name].requirements(platform, (extra,))
    return {name for name, _ in seen}, missing


def download_locked(folder: Path, lock: Path, platform: Platform) -> list[Wheel]:
    """Download exactly the wheels that `lock` names and check their hashes. Raises WheelsUnavailable."""
    return _download_with_pip(folder, platform, "--no-deps", "--require-hashes", "-r", str(lock))


def format_lock(wheels: Iterable[Wheel], platform: Platform) -> str:
    """Return a lock of the wheels for `platform`, in the format of pip's requirements files."""
    lines = (
        f"{normalize_name(wheel.name)}=={wheel.version} --hash=sha256:{wheel.sha256}" for wheel in wheels
    )
    return "".join(f"{line}\n" for line in (f"{_LOCK_FOR} {platform}", *lines))


def check_lock(text: str, platform: Platform) -> None:
    """Check that a lock is for `platform`. Raises LockMismatch. A lock that does not state its platform passes."""
    stated = re.search(rf"^{_LOCK_FOR} (.+)$", text, re.MULTILINE)
    if stated is not None and stated[1] != str(platform):
        raise LockMismatch(stated[1], str(platform))


def _applies(requirement: Requirement, platform: Platform, extras: Iterable[str]) -> bool:
    if requirement.marker is None:
        return True
    # Variables that the platform does not define keep this machine's values.
    variables = platform.environment
    return any(requirement.marker.evaluate({**variables, "extra": extra}) for extra in ("", *extras))


def _download_with_pip(folder: Path, platform: Platform, *wanted: str) -> list[Wheel]:
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
    return sorted(
        (Wheel.read(path) for path in folder.glob("*.whl")), key=lambda wheel: normalize_name(wheel.name)
    )
