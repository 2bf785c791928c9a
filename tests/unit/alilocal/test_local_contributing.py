"""The page for contributors works: a service and an operation are added by following it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import alilocal
from alilocal.scaffold import create_service, insert_lines, read_section

FOLDER = Path(alilocal.__file__).parent
PAGE = (FOLDER / "CONTRIBUTING.md").read_text()


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, for a process that imports it instead of the installed one."""
    shutil.copytree(FOLDER, tmp_path / "alilocal", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "alilocal"


def run(copy, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.in_ci
def test_a_service_and_an_operation_are_added_by_the_page(copy):
    """The scaffold writes the page's files, and the vendor's client calls what the page's examples call."""
    [command] = re.findall(r"(?m)^python -m (alilocal\.scaffold \w+)$", read_section(PAGE, "Add a service"))
    done = run(copy, "-m", *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    calls = re.findall(r"(?ms)^Now any client.*?```python\n(.*?)^```$", PAGE)[0]
    done = run(copy, "-W", "ignore", "-c", calls)
    assert (done.returncode, done.stderr) == (0, "")

    operation = read_section(PAGE, "Add an operation")
    insert_lines(operation, copy)
    [example] = re.findall(r"(?ms)^with alilocal\..*?(?=^```$)", operation)
    definitions = calls.partition("\nwith alilocal")[0]
    done = run(copy, "-W", "ignore", "-c", f"{definitions}\n{example}")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_scaffold_uses_the_given_name(copy):
    """Folder, module names and classes are those of the new service, and the cloud has it."""
    create_service("weather", PAGE, copy)
    assert "greeting" not in (copy / "weather" / "routes.py").read_text().lower().replace("greetings", "")
    done = run(copy, "-c", "import alilocal; print(alilocal.LocalCloud().services.weather.title)")
    assert done.stdout == "Weather 2030-01-01\n", done.stderr


@pytest.mark.parametrize("name", ["sts", "server", "class", "world", "Weather", "../x", ""])
def test_a_name_that_cannot_be_used_is_refused(copy, name):
    """Existing services, modules and classes stay as they are, and a name must be valid for a package."""
    before = (copy / "services.py").read_text()
    with pytest.raises(ValueError):
        create_service(name, PAGE, copy)
    assert (copy / "services.py").read_text() == before


def test_the_page_names_every_file_of_a_service():
    """The table of files and the folders agree."""
    listed = set(re.findall(r"(?m)^\| `(\w+\.py)` \|", PAGE))
    assert listed >= {"routes.py", "calls.py", "model.py", "wire.py", "errors.py", "switches.py"}
    for name in listed:
        assert list(FOLDER.glob(f"*/{name}")), name
