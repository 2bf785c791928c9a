#!/usr/bin/env python3
"""Deploy the function of `s.yaml` with the Serverless Devs CLI, behind its alias, and roll releases back.

The triggers call the alias `live`, so what they call changes only when the alias does: a release is a version, a
canary a second version with a weight, a rollback the version before. Needs nothing but Python and the CLI `s`; only
`remove --data` also needs `hpoq`, to count the messages that would be lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ALIAS = "live"
TRIGGERS = ("requests", "watch")
# The end of every name, so that one account can have several deployments.
SUFFIX = f"-{os.environ['HPOQ_NAME']}" if os.environ.get("HPOQ_NAME") else ""
NAME = f"hpoq{SUFFIX}"
QUEUE, DEAD_LETTER_QUEUE = f"hpo-requests{SUFFIX}", f"hpo-requests-dead{SUFFIX}"
WATCH_QUEUE, TOPIC = f"hpo-watch{SUFFIX}", f"hpo-results{SUFFIX}"
TABLE = "hpoq"
REGION = os.environ.get("ALIBABA_CLOUD_REGION", "cn-hangzhou")  # as in s.yaml
CLI_VERSION = "3.1.10"


class ReleaseError(Exception):
    """A step failed; the text is for the operator."""


@dataclass(frozen=True)
class Alias:
    """What the alias calls: `version`, and `canary` for the share `weight` (0 to 1) of the calls."""

    version: str
    canary: str | None = None
    weight: float = 0.0

    def __str__(self) -> str:
        if self.canary is None:
            return f"Version {self.version} takes all calls."
        return f"Version {self.canary} takes {self.weight:.3g} of the calls, version {self.version} the rest."


def deploy(*, unchecked: bool = False) -> None:
    """Deploy everything, and send all calls to the new version. Also the first deployment."""
    if not unchecked:
        _check_first()
    _run("base", "deploy", "-y")
    _write_log_template()
    _run("log", "deploy", "-y")
    version = _publish()
    if not unchecked:
        _start(version)
    _point(Alias(version))
    # The triggers name the alias, which does not exist before the first deployment.
    for trigger in TRIGGERS:
        _run("function", "deploy", "--trigger", trigger, "-y")
    # Nothing needs the alarms, so a missing contact group must not keep the function from being deployed.
    _run("alarms", "deploy", "-y")


def canary(weight: float, *, unchecked: bool = False) -> None:
    """Publish a new version, and send it the share `weight` of the calls."""
    if not unchecked:
        _check_first()
    present, version = _alias().version, _publish()
    if version == present:
        raise ReleaseError(f"Nothing has changed since version {version}, which takes the calls already.")
    if not unchecked:
        _start(version)
    _point(Alias(present, version, weight))


def promote() -> None:
    """Send all calls to the canary."""
    _refuse_other_place()
    alias = _alias()
    if alias.canary is None:
        raise ReleaseError("there is no canary to promote")
    _point(Alias(alias.canary))


def rollback(version: str | None = None, *, canary_only: bool = False) -> None:
    """Send all calls to `version`. If it is None, drop the canary, or without one go back one version.

    With `canary_only`, nothing changes if there is no canary.
    """
    _refuse_other_place()
    if version is None:
        alias = _alias()
        if canary_only and alias.canary is None:
            sys.stdout.write(f"There is no canary. {alias}\n")
            return
        version = alias.version if alias.canary is not None else _find_version_before(alias.version)
    _point(Alias(version))


def remove(*, data: bool, yes: bool = False, force: bool = False) -> None:
    """Remove the function, its versions and its triggers; with `data` also queues, topic, records, role and log.

    Data is removed only after the operator has typed the deployment's name, or with `yes`; and not while a queue
    holds messages, or while that is not known, except with `force`.
    """
    _find_cli()
    _refuse_other_place()
    if data:
        _survey(force=force)
        if not yes:
            _ask_for_name()
    _run("function", "remove", "-y")
    if data:
        _run("alarms", "remove", "-y")
        _run("base", "remove", "-y")
        _write_log_template()
        _run("log", "remove", "-y")


def check() -> None:
    """Find everything that would make a deployment fail or start slowly, and change nothing. Raises ReleaseError."""
    problems = _find_problems()
    if problems:
        raise ReleaseError("A deployment would fail or start slowly:\n" + "\n".join(problems))
    sys.stdout.write("No problem was found.\n")


def _check_first() -> None:
    """Raise ReleaseError if there is a problem, so that nothing is deployed."""
    problems = _find_problems()
    if problems:
        lines = ("Nothing was deployed.", *problems, "Give --unchecked to deploy anyway.")
        raise ReleaseError("\n".join(lines))


def _refuse_other_place() -> None:
    """Raise ReleaseError if the CLI would change another account or region than those that `hpoq` reads."""
    for problem in (*_check_account(), *_check_region()):
        raise ReleaseError(f"Nothing was changed. {problem}")


def _find_problems() -> list[str]:
    """Return a line for each problem."""
    text = (HERE / "s.yaml").read_text(encoding="utf-8")
    found = [
        *_check_cli(),
        *_check_variables(text),
        *_check_package(text),
        *_check_account(),
        *_check_region(),
    ]
    return [f"- {problem}" for problem in found]


def _check_cli() -> Iterator[str]:
    """Yield a problem if the Serverless Devs CLI is not installed."""
    try:
        _find_cli()
    except ReleaseError as exc:
        yield str(exc)


def _check_variables(text: str) -> Iterator[str]:
    """Yield a problem for each variable of `s.yaml` without a default that is not set, and for an invalid name."""
    for name in sorted(set(re.findall(r"\$\{env\('(\w+)'\)\}", text))):
        if not os.environ.get(name):
            yield f"{name} is not set. Set it: export {name}=..."
    if not re.fullmatch(r"(-[a-z0-9][a-z0-9-]{0,18}[a-z0-9])?", SUFFIX):
        yield f"HPOQ_NAME is {SUFFIX[1:]!r}. It must be 2 to 20 lower-case letters, digits and hyphens."
    instance = os.environ.get("TABLESTORE_INSTANCE", "")
    if instance and not re.fullmatch(r"[a-zA-Z][-a-zA-Z0-9]{1,14}[a-zA-Z0-9]", instance):
        yield f"TABLESTORE_INSTANCE is {instance!r}. It must be 3 to 16 letters, digits and hyphens."


def _check_package(text: str) -> Iterator[str]:
    """Yield the problems of the code package that `s.yaml` names: missing, older than the sources, no bytecode."""
    code, runtime = (
        re.findall(rf"^ +{member}: (\S+)$", text, re.MULTILINE)[0] for member in ("code", "runtime")
    )
    package = (HERE / code).resolve()
    if not package.is_file():
        yield f"The package {package} does not exist. Build it: hpoq package --runtime {runtime}"
        return
    if not zipfile.is_zipfile(package):
        yield f"The package {package} is not a complete zip file. Build it: hpoq package --runtime {runtime}"
        return
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        own = [name for name in names if re.match(r"(hpoq|fcruntime)/.*\.py$", name)]
        changed = [name for name in own if not _is_source(name, archive.read(name))]
    if changed:
        more = len(changed) - 1
        others = f" and {more} more file{'s' if more > 1 else ''}" if more else ""
        yield f"The package {package.name} is older than functions/{changed[0]}{others}. Build it: hpoq package"
    # A custom runtime may bring any Python.
    tag = "." + runtime.replace("python", "cpython-").replace(".", "") + ".pyc"
    if runtime.startswith("python") and not any(re.match(r"hpoq/", name) and tag in name for name in names):
        yield (
            f"The package {package.name} contains no bytecode for {runtime}, so every cold start compiles. "
            f"Put {runtime} on the PATH and build it: hpoq package"
        )


def _is_source(name: str, data: bytes) -> bool:
    source = ROOT / "functions" / name
    return source.is_file() and source.read_bytes() == data


def _check_account() -> Iterator[str]:
    """Yield a problem if the CLI's credentials belong to another account than HPOQ_ACCOUNT_ID, if that is set."""
    wanted, given = os.environ.get("HPOQ_ACCOUNT_ID"), os.environ.get("AccountID")  # noqa: SIM112 - the CLI's name
    if not wanted or shutil.which("s") is None:
        return
    if given is None:
        shown = subprocess.run(
            [_find_cli(), "config", "get", "-a", "default"],
            cwd=HERE,
            check=False,
            capture_output=True,
            text=True,
        ).stdout
        # The CLI shows the first and the last three digits, with asterisks between them.
        found = re.search(r"AccountID:\D*?([0-9]+\*+[0-9]+)", re.sub(r"\x1b\[[0-9;]*m", "", shown))
        given = found[1] if found else None
    if given is not None and not re.fullmatch(given.replace("*", "."), wanted):
        yield f"The CLI works on account {given}, but HPOQ_ACCOUNT_ID is {wanted}. Correct one: s config add"


def _check_region() -> Iterator[str]:
    """Yield a problem if the CLI works in another region than HPOQ_REGION, if that is set."""
    wanted = os.environ.get("HPOQ_REGION", REGION)
    if wanted not in ("", REGION):
        yield f"The CLI works in {REGION}, but HPOQ_REGION is {wanted}. Set ALIBABA_CLOUD_REGION to the right one."


def _survey(*, force: bool) -> None:
    """Show what `remove --data` deletes. Raises ReleaseError if a queue holds messages, unless `force`."""
    counts = _count_messages()
    held = None if None in counts.values() else sum(sum(one.values()) for one in counts.values() if one)
    lines = [f"This deletes for good, in {REGION}:"]
    for queue, numbers in counts.items():
        lines.append(f"  queue {queue}: {_describe_counts(numbers)}")
    instance = os.environ.get("TABLESTORE_INSTANCE", "(not set)")
    lines += [
        f"  topic {TOPIC}, with its subscriptions",
        f"  table {TABLE} of Tablestore instance {instance}: all records, which prevent second experiments",
        f"  log project hpoq-ACCOUNT-{REGION}{SUFFIX}, with its logs, dashboard and alerts",
        "  the alarms of CloudMonitor",
        f"  role {NAME}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    if held != 0 and not force:
        why = (
            "It is not known whether the queues hold messages" if held is None else "The queues hold messages"
        )
        raise ReleaseError(f"{why}, so nothing was removed. Give --force to delete them.")


def _count_messages() -> dict[str, dict[str, int] | None]:
    """Return the numbers of messages in each queue, empty if it does not exist, and None if they are not known."""
    unknown: dict[str, dict[str, int] | None] = dict.fromkeys((QUEUE, DEAD_LETTER_QUEUE, WATCH_QUEUE))
    hpoq = shutil.which("hpoq", path=os.pathsep.join((os.environ.get("PATH", ""), f"{ROOT}/.venv/bin")))
    if hpoq is None:
        sys.stderr.write("hpoq is not on the PATH, so the messages cannot be counted.\n")
        return unknown
    names = {
        "HPOQ_QUEUE": QUEUE,
        "HPOQ_DEAD_LETTER_QUEUE": DEAD_LETTER_QUEUE,
        "HPOQ_WATCH_QUEUE": WATCH_QUEUE,
        "HPOQ_REGION": REGION,
    }
    done = subprocess.run(
        [hpoq, "status", "--json"], env={**os.environ, **names}, check=False, capture_output=True, text=True
    )
    try:
        queues = json.loads(done.stdout)["queues"]
        return unknown | {one["name"]: _read_counts(one) for one in queues}
    except (ValueError, KeyError, TypeError):
        sys.stderr.write(f"hpoq status --json failed: {done.stderr.strip()}\n")
        return unknown


def _read_counts(queue: Mapping[str, object]) -> dict[str, int] | None:
    """Return the numbers of one queue of `hpoq status --json`; see `_count_messages`."""
    if queue["error"] is None:
        numbers = {name: int(str(queue[name])) for name in ("waiting", "inFlight", "delayed")}
        return numbers if queue["counted"] or numbers["waiting"] else None
    if "QueueNotExist" in str(queue["error"]):
        return {}
    sys.stderr.write(f"{queue['name']}: {queue['error']}\n")
    return None


def _describe_counts(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "its messages could not be counted"
    if not counts:
        return "it does not exist"
    return f"{counts['waiting']} waiting, {counts['inFlight']} in flight, {counts['delayed']} delayed"


def _ask_for_name() -> None:
    """Let the operator confirm by typing the deployment's name. Raises ReleaseError for anything else."""
    try:
        typed = input(f"Type the name of the deployment, {NAME}, to delete all of this: ")
    except EOFError:
        typed = ""
    if typed.strip() != NAME:
        raise ReleaseError(
            "That is not its name, so nothing was removed. Give --yes to remove without the question."
        )


def _write_log_template() -> None:
    """Write the template of the log from its index, dashboard and alerts."""
    runpy.run_path(str(HERE / "sls/template.py"), run_name="__main__")


def _publish() -> str:
    """Update the function, and return the number of the version that equals it."""
    _run("function", "deploy", "--function", "-y")
    publish = ("function", "version", "publish")
    try:
        return str(_member(_ask(*publish), "versionId"))
    except ReleaseError:
        # Nothing is published if nothing has changed since the newest version, as after a run that broke off.
        # Only without -o json does the CLI print the reason.
        versions = _list_versions() if "VersionPublishError" in _listen(*publish) else []
        if not versions:
            raise
        return str(max(versions))


def _start(version: str) -> None:
    """Let a version process an event without messages. Raises ReleaseError if it fails, for example to start."""
    words = ("function", "invoke", "--qualifier", version, "--event", "[]")
    answer = str(_member(_ask(*words), "body"))
    try:
        is_report = "summary" in json.loads(answer)
    except (ValueError, TypeError):
        is_report = False
    if not is_report:
        raise ReleaseError(
            f"Version {version} fails, so the alias was not changed:\n{answer[:2000]}\n"
            "Fix it and run the command again, or give --unchecked."
        )


def _alias() -> Alias:
    answer = _ask("function", "alias", "get", "--alias-name", ALIAS)
    version = str(_member(answer, "versionId"))
    weights = answer.get("additionalVersionWeight") if isinstance(answer, Mapping) else None
    for number, weight in (weights or {}).items():
        return Alias(version, str(number), float(weight))
    return Alias(version)


def _find_version_before(version: str) -> str:
    earlier = [number for number in _list_versions() if number < int(version)]
    if not earlier:
        raise ReleaseError(f"there is no version before {version}")
    return str(max(earlier))


def _list_versions() -> list[int]:
    answer = _ask("function", "version", "list")
    return [int(str(_member(row, "versionId"))) for row in answer] if isinstance(answer, list) else []


def _point(alias: Alias) -> None:
    """Change what the alias calls. Empty weights are sent too, because leaving them out may keep the old ones."""
    weights = json.dumps({} if alias.canary is None else {alias.canary: alias.weight})
    name = ("--alias-name", ALIAS)
    _run("function", "alias", "publish", *name, "--version-id", alias.version, "--vw", weights)
    sys.stdout.write(f"{alias}\n")


def _run(*arguments: str) -> None:
    """Run a command of `s` next to `s.yaml` and show its output. Raises ReleaseError if it fails."""
    command = [_find_cli(), *arguments]
    _refuse_failure(arguments, subprocess.run(command, cwd=HERE, env=_environment(), check=False, text=True))


def _listen(*arguments: str) -> str:
    """Run a command of `s` next to `s.yaml`, and return what it prints, which is also shown."""
    command = [_find_cli(), *arguments]
    done = subprocess.run(command, cwd=HERE, env=_environment(), check=False, capture_output=True, text=True)
    sys.stderr.write(done.stdout + done.stderr)
    return done.stdout + done.stderr


def _environment() -> dict[str, str]:
    """Return the environment of the CLI, in which `s.yaml` finds the deployment's name and suffix."""
    return {**os.environ, "DEPLOYMENT_NAME": SUFFIX[1:] or "-", "DEPLOYMENT_SUFFIX": SUFFIX}


def _find_cli() -> str:
    """Return the path of the Serverless Devs CLI. Raises ReleaseError if it is not installed."""
    found = shutil.which("s")
    if found is None:
        raise ReleaseError(
            "The Serverless Devs CLI `s` is not on the PATH. Install it with Node.js:\n"
            f"  npm install -g @serverless-devs/s@{CLI_VERSION}"
        )
    return found


def _ask(*arguments: str) -> object:
    """Return the JSON that a command of `s` prints. Raises ReleaseError if it fails."""
    command = [_find_cli(), *arguments, "-o", "json", "--silent"]
    done = subprocess.run(
        command, cwd=HERE, env=_environment(), check=False, stdout=subprocess.PIPE, text=True
    )
    _refuse_failure(arguments, done)
    try:
        answer: object = json.loads(done.stdout)
    except ValueError:
        # With -o json the CLI exits with 0 even if the command failed, and does not print the reason.
        raise ReleaseError(f"{_line(arguments)} gave no answer; run it by itself to see why") from None
    return answer


def _refuse_failure(arguments: Sequence[str], done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise ReleaseError(
            f"{_line(arguments)} failed with exit code {done.returncode}; the steps after it were not run"
        )


def _line(arguments: Sequence[str]) -> str:
    return shlex.join(["s", *arguments])


def _member(answer: object, name: str) -> object:
    if not isinstance(answer, Mapping) or name not in answer:
        raise ReleaseError(f"the CLI's answer has no {name}")
    member: object = answer[name]
    return member


def _weight(text: str) -> float:
    with contextlib.suppress(ValueError):
        weight = float(text)
        if 0 < weight < 1:
            return weight
    raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1, such as 0.1")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deploy hpoq with Serverless Devs; see README.md.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="find what would make a deployment fail, and change nothing")
    deploy = commands.add_parser(
        "deploy", help="create or update everything; all calls go to the new version"
    )
    canary = commands.add_parser("canary", help="publish a new version for a share of the calls")
    canary.add_argument("weight", type=_weight, help="share of the calls, such as 0.1")
    for one in (deploy, canary):
        one.add_argument(
            "--unchecked",
            action="store_true",
            help="deploy even if the checks find a problem, or the version fails",
        )
    commands.add_parser("promote", help="give the canary all calls")
    rollback = commands.add_parser("rollback", help="drop the canary, or go back to the version before")
    target = rollback.add_mutually_exclusive_group()
    target.add_argument("--to", metavar="VERSION", help="go to this version instead")
    target.add_argument("--canary", action="store_true", help="drop the canary; do nothing if there is none")
    remove = commands.add_parser("remove", help="remove the function and its triggers")
    remove.add_argument("--data", action="store_true", help="also queues, topic, records, role and log")
    remove.add_argument("--yes", action="store_true", help="do not ask for the deployment's name")
    remove.add_argument("--force", action="store_true", help="remove queues even if they hold messages")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    commands: dict[str, Callable[[], None]] = {
        "check": check,
        "deploy": lambda: deploy(unchecked=arguments.unchecked),
        "canary": lambda: canary(arguments.weight, unchecked=arguments.unchecked),
        "promote": promote,
        "rollback": lambda: rollback(arguments.to, canary_only=arguments.canary),
        "remove": lambda: remove(data=arguments.data, yes=arguments.yes, force=arguments.force),
    }
    try:
        commands[arguments.command]()
    except ReleaseError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The steps that had ended are not undone.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
