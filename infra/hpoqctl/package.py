"""`hpoq package`: build the code package for Function Compute, its lock and its bill of materials."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoqctl.files import PathName
from hpoqctl.output import console, count_of, json_option, notes, print_json
from hpoqctl.packaging.contents import (
    File,
    FileConflict,
    compile_files,
    find_interpreter,
    list_own_files,
    list_wheel_files,
    read_version,
    write_archive,
)
from hpoqctl.packaging.platform import ARCHITECTURES, RUNTIMES, Platform
from hpoqctl.packaging.sbom import compose_sbom
from hpoqctl.packaging.wheels import (
    LockMismatch,
    Wheel,
    WheelsUnavailable,
    check_lock,
    download,
    download_locked,
    drop_unused,
    format_lock,
    own_requirements,
)

_EXTRAS = ("redis", "powertools", "otel")
_LAYER_FOLDER = "python/"
# Where FC unpacks code and layers. Bytecode contains the path of its source, which tracebacks show.
_CODE, _LAYER = "/code", "/opt/python"


@dataclass(frozen=True)
class Built:
    """A zip that was written: the packed and the plain size of each distribution in bytes, and the zip's digest."""

    path: Path
    sizes: dict[str, tuple[int, int]]
    files: int
    sha256: str

    @classmethod
    def write(cls, path: Path, files: Sequence[File], prefix: str = "") -> Built:
        """Write `files` to a zip at `path`, below `prefix`. Raises FileConflict."""
        packed = write_archive(path, files, prefix)
        sizes: Counter[str] = Counter()
        plain: Counter[str] = Counter()
        for file in files:
            sizes[file.distribution] += packed[file.path]
            plain[file.distribution] += len(file.data)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(
            path, {name: (size, plain[name]) for name, size in sizes.most_common()}, len(packed), digest
        )

    def as_json(self) -> JsonObject:
        """Return the size report for machines."""
        rows: list[JsonValue] = [
            {"distribution": name, "packed": packed, "plain": plain}
            for name, (packed, plain) in self.sizes.items()
        ]
        size = self.path.stat().st_size
        return {
            "path": str(self.path),
            "size": size,
            "sha256": self.sha256,
            "files": self.files,
            "distributions": rows,
        }


@click.command(name="package")
@click.option(
    "--runtime",
    type=click.Choice(list(RUNTIMES)),
    default="python3.12",
    show_default=True,
    help="The runtime of the function.",
)
@click.option(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    default="x86_64",
    show_default=True,
    help="The architecture of the function.",
)
@click.option(
    "--extra",
    "extras",
    type=click.Choice(_EXTRAS),
    multiple=True,
    help="Include an extra of hpoq. Can be given several times.",
)
@click.option("--layer", "with_layer", is_flag=True, help="Put the dependencies into a separate layer.")
@click.option(
    "--bytecode/--no-bytecode",
    "wants_bytecode",
    default=None,
    help="Include bytecode, so that a cold start does not compile. Default: if the runtime's Python is installed.",
)
@click.option(
    "--lock",
    type=PathName(path_type=Path, dir_okay=False, exists=True),
    help="The lock of an earlier build. Use exactly its wheels, checked by their hashes.",
)
@click.option(
    "--output",
    type=PathName(path_type=Path, file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="The folder to write to.",
)
@json_option
def command(
    runtime: str,
    arch: str,
    extras: Sequence[str],
    with_layer: bool,
    wants_bytecode: bool | None,
    lock: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Build the code package for Function Compute: a zip, its lock and its bill of materials.

    It can be built on any machine. pip downloads the dependencies as wheels for the runtime's system, from the index
    that it is configured to use. The same lock and the same Python produce the same bytes.

    Exit code 1 means that wheels are not available, that two distributions contain different files with one path, or
    that the Python for --bytecode is not installed.
    """
    platform = Platform(runtime, arch)
    python = None if wants_bytecode is False else find_interpreter(platform.python)
    if wants_bytecode and python is None:
        notes().print(
            f"--bytecode needs python{platform.python}, which is not on the PATH. Install it or give --no-bytecode.",
            markup=False,
        )
        raise SystemExit(1)
    name = f"hpoq-{runtime}-{arch}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheels = _fetch_wheels(Path(folder), platform, extras, lock)
            zips = _write_zips(output / name, wheels, with_layer, python)
    except (WheelsUnavailable, FileConflict) as exc:
        notes().print(getattr(exc, "report", str(exc)), markup=False)
        raise SystemExit(1) from None
    lock_path, sbom_path = output / f"{name}.lock", output / f"{name}.cdx.json"
    lock_path.write_text(format_lock(wheels, platform))
    compiler = read_version(python) if python else None
    bill = compose_sbom(wheels, platform, extras, zips[0].sha256, compiler)
    sbom_path.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", "utf-8")
    _print_result(zips, lock_path, sbom_path, compiler, as_json)


def _fetch_wheels(folder: Path, platform: Platform, extras: Sequence[str], lock: Path | None) -> list[Wheel]:
    if lock is not None:
        try:
            check_lock(lock.read_text("utf-8"), platform)
        except LockMismatch as exc:
            raise click.BadParameter(str(exc), param_hint="--lock") from None
        except UnicodeDecodeError:
            raise click.BadParameter(f"{lock} is not a lock: it is not text", param_hint="--lock") from None
        return drop_unused(download_locked(folder, lock, platform))
    return drop_unused(download(folder, sorted(own_requirements(platform, extras).values()), platform))


def _write_zips(base: Path, wheels: Sequence[Wheel], with_layer: bool, python: str | None) -> list[Built]:
    own = list(list_own_files())
    others = [file for wheel in wheels for file in list_wheel_files(wheel)]
    if python is not None:
        own += compile_files(own, python, _CODE)
        others += compile_files(others, python, _LAYER if with_layer else _CODE)
    if not with_layer:
        return [Built.write(base.with_name(f"{base.name}.zip"), [*own, *others])]
    layer = base.with_name(f"{base.name}-layer.zip")
    return [Built.write(base.with_name(f"{base.name}.zip"), own), Built.write(layer, others, _LAYER_FOLDER)]


def _print_result(zips: Sequence[Built], lock: Path, bill: Path, compiler: str | None, as_json: bool) -> None:
    if as_json:
        packages: list[JsonValue] = [built.as_json() for built in zips]
        print_json({"packages": packages, "lock": str(lock), "sbom": str(bill), "bytecode": compiler})
        return
    for built in zips:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("distribution")
        table.add_column("packed, kB", justify="right")
        table.add_column("plain, kB", justify="right")
        for name, (packed, plain) in built.sizes.items():
            table.add_row(name, f"{packed / 1000:,.0f}", f"{plain / 1000:,.0f}")
        console().print(table)
        size = built.path.stat().st_size / 1_000_000
        console().print(
            f"{built.path}: {size:.2f} MB, {count_of(built.files, 'file')}, sha256 {built.sha256}\n"
        )
    if compiler:
        console().print(f"Bytecode of Python {compiler} is included: a cold start does not compile.")
    else:
        console().print(
            "No bytecode is included: every cold start compiles what it imports. Put the interpreter of the runtime "
            "on the PATH and build again (see --bytecode)."
        )
    console().print(f"{lock}: the wheels and their hashes, for --lock")
    console().print(f"{bill}: the bill of materials, in CycloneDX 1.6")
