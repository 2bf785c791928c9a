"""The tools that `pip install -e '.[dev]'` does not bring. A test without its tool is skipped and names it."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

INSTALLS = {
    "redis-server": "apt-get install redis-server",
    "Chromium": "apt-get install chromium",
    "openssl": "apt-get install openssl",
    "Node.js": "apt-get install nodejs npm",
    "playwright": "pip install -e '.[browser]'",
    "oss2": "pip install oss2",
    "the npm package": "npm install --prefix tests/contract/sdks",
    "Python 3": "install {tool} (pyenv install {version})",
    "terraform": "install terraform (https://developer.hashicorp.com/terraform/install)",
    "a package index": "connect to a package index",
    "the source of fc3": "set TEST_FC3_TREE to a clone of https://github.com/devsapp/fc3",
    "the source of Powertools": (
        "set TEST_POWERTOOLS_TREE to a clone of https://github.com/aws-powertools/powertools-lambda-python"
    ),
}
"""How each tool is installed, by the beginning of its name."""

NEEDED_IN_CI = ("redis-server", "Chromium", "playwright", "a package index")
"""With CI set, a test without one of these fails. CI cannot always have the others."""

NODE_MODULES = Path(
    os.environ.get("TEST_NODE_MODULES")
    or Path(__file__).parents[1].joinpath("contract", "sdks", "node_modules")
)
"""Where the packages of `tests/contract/sdks/package.json` are installed."""

_REASON = re.compile(r"(?:Skipped: )?(.+?) is not (?:available|installed)\b")


def skip_without(tool) -> NoReturn:
    """End the running test because `tool`, which INSTALLS explains, is not on this machine."""
    reason = f"{tool} is not available"
    if os.environ.get("CI") and tool in NEEDED_IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


def need_node(*packages):
    """Skip the running test if Node.js or one of the npm packages is missing."""
    if shutil.which("node") is None:
        skip_without("Node.js")
    for package in packages:
        if not (NODE_MODULES / package).is_dir():
            skip_without(f"the npm package {package}")


def _find_command(reason):
    """Return the command that installs what the tests skipped for `reason` need, or None if no tool is missing."""
    found = _REASON.match(reason)
    for name, command in INSTALLS.items() if found else ():
        if found[1].startswith(name):
            return command.format(tool=found[1], version=found[1].rpartition(" ")[2])
    return None


def summarize_skips(reasons):
    """Return the line that says what to install to run the tests that were skipped for `reasons`, or None."""
    commands, others = [], Counter()
    for reason in reasons:
        command = _find_command(reason)
        if command is None:
            others[reason.removeprefix("Skipped: ")] += 1
        elif command not in commands:
            commands.append(command)
    missing = len(reasons) - others.total()
    parts = []
    if missing:
        parts.append(
            f"{_count(missing)} skipped. To run {'it' if missing == 1 else 'them'}: {_merge(commands)}."
        )
    parts += [f"{_count(count)} skipped: {reason}." for reason, count in others.items()]
    return " ".join(parts) or None


def _count(number):
    return "1 test was" if number == 1 else f"{number} tests were"


def _merge(commands):
    """Return the commands as one text; those of one package manager become one command."""
    merged = {}
    for command in commands:
        manager = next((one for one in ("apt-get install ", "pip install ") if command.startswith(one)), None)
        merged.setdefault(manager or command, []).append(command.removeprefix(manager or ""))
    return "; ".join(
        manager + " ".join(parts) if manager != parts[0] else manager for manager, parts in merged.items()
    )
