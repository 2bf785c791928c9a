#!/usr/bin/env python3
"""Deploy the function of `s.yaml` with the Serverless Devs CLI, behind its alias, and take releases back.

The trigger calls the alias `live`, so what it calls changes only when the alias does: a release is a version, a
canary a second version with a weight, a rollback the version before. Needs nothing but Python and the CLI `s`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALIAS = "live"
TRIGGER = "requests"


class ReleaseError(Exception):
    """A step that cannot be taken; the text is for the operator."""


@dataclass(frozen=True)
class Alias:
    """What the alias calls: `version`, and `canary` for the share `weight` (0 to 1) of the calls."""

    version: str
    canary: str | None = None
    weight: float = 0.0


def _run(*arguments: str) -> None:
    """Run a command of `s` beside `s.yaml`, in the operator's sight. Raises ReleaseError if it fails."""
    _check(arguments, subprocess.run(["s", *arguments], cwd=HERE, check=False, text=True))


def _ask(*arguments: str) -> object:
    """The JSON that a command of `s` answers with. Raises ReleaseError if it fails."""
    command = ["s", *arguments, "-o", "json", "--silent"]
    done = subprocess.run(command, cwd=HERE, check=False, stdout=subprocess.PIPE, text=True)
    _check(arguments, done)
    try:
        answer: object = json.loads(done.stdout)
    except ValueError:
        # With -o json the CLI ends with 0 even if the command failed, and says nothing of why.
        raise ReleaseError(f"{_line(arguments)} gave no answer; run it by itself to see why") from None
    return answer


def _check(arguments: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise ReleaseError(f"{_line(arguments)} ended with {done.returncode}; nothing after it was done")


def _line(arguments: Sequence[str]) -> str:
    return shlex.join(["s", *arguments])


def _member(answer: object, name: str) -> object:
    if not isinstance(answer, Mapping) or name not in answer:
        raise ReleaseError(f"the CLI's answer has no {name}")
    member: object = answer[name]
    return member


def deploy() -> None:
    """Everything, with the new version called by the alias alone: a first deployment, or an update at once."""
    _run("base", "deploy", "-y")
    _run("log", "deploy", "-y")
    _point(Alias(_publish()))
    # The trigger comes last: it names the alias, which the first time does not exist before.
    _run("function", "deploy", "--trigger", TRIGGER, "-y")


def canary(weight: float) -> None:
    """The new version beside the present one, for the share `weight` of the calls."""
    present = _alias().version
    _point(Alias(present, _publish(), weight))


def promote() -> None:
    """The canary alone."""
    alias = _alias()
    if alias.canary is None:
        raise ReleaseError("there is no canary to promote")
    _point(Alias(alias.canary))


def rollback(version: str | None) -> None:
    """The present version without its canary, or without one the version before; or the version named."""
    if version is None:
        alias = _alias()
        version = alias.version if alias.canary is not None else _before(alias.version)
    _point(Alias(version))


def remove(*, data: bool) -> None:
    """The function, its versions and its trigger; with `data` also queues, topic, records, role and log."""
    _run("function", "remove", "-y")
    if data:
        _run("base", "remove", "-y")
        _run("log", "remove", "-y")


def _publish() -> str:
    _run("function", "deploy", "--function", "-y")
    return str(_member(_ask("function", "version", "publish"), "versionId"))


def _alias() -> Alias:
    answer = _ask("function", "alias", "get", "--alias-name", ALIAS)
    version = str(_member(answer, "versionId"))
    weights = answer.get("additionalVersionWeight") if isinstance(answer, Mapping) else None
    for number, weight in (weights or {}).items():
        return Alias(version, str(number), float(weight))
    return Alias(version)


def _before(version: str) -> str:
    answer = _ask("function", "version", "list")
    numbers = [int(str(_member(row, "versionId"))) for row in answer] if isinstance(answer, list) else []
    earlier = [number for number in numbers if number < int(version)]
    if not earlier:
        raise ReleaseError(f"there is no version before {version}")
    return str(max(earlier))


def _point(alias: Alias) -> None:
    """Empty weights are sent too: leaving them out may keep those that stand."""
    weights = json.dumps({} if alias.canary is None else {alias.canary: alias.weight})
    name = ("--alias-name", ALIAS)
    _run("function", "alias", "publish", *name, "--version-id", alias.version, "--vw", weights)


def _weight(text: str) -> float:
    weight = float(text)
    if not 0 < weight < 1:
        raise argparse.ArgumentTypeError("must be more than 0 and less than 1")
    return weight


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deploy hpoq with Serverless Devs; see README.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("deploy", help="create or update everything; all calls go to the new version")
    canary = commands.add_parser("canary", help="publish a new version for a share of the calls")
    canary.add_argument("weight", type=_weight, help="share of the calls, such as 0.1")
    commands.add_parser("promote", help="give the canary all calls")
    rollback = commands.add_parser("rollback", help="drop the canary, or go back to the version before")
    rollback.add_argument("--to", metavar="VERSION", help="go to this version instead")
    remove = commands.add_parser("remove", help="remove the function and its trigger")
    remove.add_argument("--data", action="store_true", help="also queues, topic, records, role and log")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    commands: dict[str, Callable[[], None]] = {
        "deploy": deploy,
        "canary": lambda: canary(arguments.weight),
        "promote": promote,
        "rollback": lambda: rollback(arguments.to),
        "remove": lambda: remove(data=arguments.data),
    }
    try:
        commands[arguments.command]()
    except (ReleaseError, FileNotFoundError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
