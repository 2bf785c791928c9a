"""`hpoq package`: the code package for Function Compute, its lock and its bill of materials."""

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
from hpoq.cli.output import console, notes, print_json
from hpoq.packaging.archive import FileTwice, write_archive
from hpoq.packaging.bytecode import bytecode, interpreter, release
from hpoq.packaging.contents import File, files_of, own_files
from hpoq.packaging.platform import ARCHITECTURES, RUNTIMES, Platform
from hpoq.packaging.sbom import sbom
from hpoq.packaging.wheels import (
    Wheel,
    WheelsUnavailable,
    download,
    download_locked,
    lock_text,
    requirements,
)

_EXTRAS = ("redis", "powertools", "otel")
_LAYER_FOLDER = "python/"
# Where FC unpacks code and layers, for what bytecode says of its source.
_CODE, _LAYER = "/code", "/opt/python"


@dataclass(frozen=True)
class Built:
    """A zip that was written, the size of each distribution in it in bytes, packed and plain, and its digest."""

    path: Path
    sizes: dict[str, tuple[int, int]]
    files: int
    sha256: str

    @classmethod
    def of(cls, path: Path, files: Sequence[File], prefix: str = "") -> Built:
        """Write `files` to `path`."""
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
        """The size report."""
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
    default="python3.10",
    show_default=True,
    help="The function's runtime.",
)
@click.option(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    default="x86_64",
    show_default=True,
    help="The architecture that it runs on.",
)
@click.option(
    "--extra",
    "extras",
    type=click.Choice(_EXTRAS),
    multiple=True,
    help="With an extra of hpoq; may be repeated.",
)
@click.option("--layer", "with_layer", is_flag=True, help="Dependencies in a layer of their own.")
@click.option(
    "--bytecode/--no-bytecode",
    "wants_bytecode",
    default=None,
    help="With bytecode, so that no cold start compiles. By default where the runtime's Python is here to make it.",
)
@click.option(
    "--lock",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Take the wheels that this file names, an earlier build's, by their hashes.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("dist"),
    show_default=True,
    help="Where the files go.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
    """Build the code package for FC, on any machine: a zip, its lock and its bill of materials.

    Dependencies come as wheels for the runtime's own system through pip, from wherever it is set to look. The same
    lock makes the same bytes, and so does the same Python the bytecode. Exit code 1 means that wheels, or the Python
    for the bytecode, could not be had.
    """
    platform = Platform(runtime, arch)
    python = None if wants_bytecode is False else interpreter(platform.python)
    if wants_bytecode and python is None:
        notes().print(f"--bytecode: there is no python{platform.python} on the path", markup=False)
        raise SystemExit(1)
    name = f"hpoq-{runtime}-{arch}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheels = _wheels(Path(folder), platform, extras, lock)
            zips = _zips(output / name, wheels, with_layer, python)
    except (WheelsUnavailable, FileTwice) as exc:
        notes().print(getattr(exc, "report", str(exc)), markup=False)
        raise SystemExit(1) from None
    lock_path, sbom_path = output / f"{name}.lock", output / f"{name}.cdx.json"
    lock_path.write_text(lock_text(wheels))
    compiler = release(python) if python else None
    bill = sbom(wheels, platform, extras, zips[0].sha256, compiler)
    sbom_path.write_text(json.dumps(bill, indent=2, ensure_ascii=False) + "\n", "utf-8")
    _show(zips, lock_path, sbom_path, compiler, as_json)


def _wheels(folder: Path, platform: Platform, extras: Sequence[str], lock: Path | None) -> list[Wheel]:
    if lock is not None:
        return download_locked(folder, lock, platform)
    return download(folder, sorted(requirements(platform, extras).values()), platform)


def _zips(base: Path, wheels: Sequence[Wheel], with_layer: bool, python: str | None) -> list[Built]:
    own = list(own_files())
    others = [file for wheel in wheels for file in files_of(wheel)]
    if python is not None:
        own += bytecode(own, python, _CODE)
        others += bytecode(others, python, _LAYER if with_layer else _CODE)
    if not with_layer:
        return [Built.of(base.with_name(f"{base.name}.zip"), [*own, *others])]
    layer = base.with_name(f"{base.name}-layer.zip")
    return [Built.of(base.with_name(f"{base.name}.zip"), own), Built.of(layer, others, _LAYER_FOLDER)]


def _show(zips: Sequence[Built], lock: Path, bill: Path, compiler: str | None, as_json: bool) -> None:
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
        console().print(f"{built.path}: {size:.2f} MB, {built.files} files, sha256 {built.sha256}\n")
    if compiler:
        console().print(f"bytecode of Python {compiler}: no cold start compiles")
    else:
        console().print("no bytecode: every cold start compiles what it imports (see --bytecode)")
    console().print(f"{lock}: the wheels and their hashes; --lock builds the same again")
    console().print(f"{bill}: bill of materials, CycloneDX 1.6")
