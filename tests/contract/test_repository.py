"""The repository keeps its own rules: layout, one-way imports, what a cold start may load."""

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hpoq.cli.app import app

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {"pyproject.toml", "README.md", "functions", "infra", "events", "tests"}
PACKAGES = {"hpoq": ROOT / "functions", "fcruntime": ROOT / "functions", "alilocal": ROOT / "infra"}
LAYERS = {
    # What each part of hpoq may import of hpoq: what stands below it, never what stands above.
    "contract": {"errors"},
    "idempotency": {"clock", "cloud", "errors"},
    "observability": {"clock", "errors"},
    "cloud": {"clock", "contract", "errors", "observability"},
    "publishers": {"cloud", "errors"},
    "processing": {"clock", "cloud", "contract", "errors", "idempotency", "observability", "publishers"},
    "testing": {"clock", "contract", "errors", "idempotency", "processing"},
}


def imports(file):
    """Every module that `file` imports, wherever the import stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(package):
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def loaded_by(statement):
    """The modules that a fresh interpreter holds after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_top_level():
    """The top level holds what it may and nothing else but dotfiles."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found = {name.split("/")[0] for name in listed.split("\0") if name}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("fcruntime", {"hpoq", "alilocal"}), ("alilocal", {"hpoq"}), ("hpoq", {"alilocal"})],
)
def test_packages_import_one_way(package, forbidden):
    """fcruntime and alilocal know nothing of hpoq; only hpoq's command line knows alilocal."""
    for file in modules(package):
        if package == "hpoq" and "cli" in file.parts:
            continue
        assert not {name.split(".")[0] for name in imports(file)} & forbidden, file


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downwards(layer):
    """A layer of hpoq knows those below it and never one above."""
    for file in (PACKAGES["hpoq"] / "hpoq" / layer).rglob("*.py"):
        known = {name.split(".")[1] for name in imports(file) if name.startswith("hpoq.")}
        assert known <= LAYERS[layer] | {layer}, file


def test_fcruntime_needs_the_standard_library_only():
    """fcruntime can be used where nothing else is installed."""
    for file in modules("fcruntime"):
        for name in imports(file):
            assert name.split(".")[0] in sys.stdlib_module_names | {"fcruntime"}, (file, name)


def test_a_cold_start_loads_no_vendor_sdk():
    """Neither boto3 nor a vendor's SDK nor the command line is loaded by the function.

    structlog looks for rich and loads it where it is installed, which it is not where the function runs.
    """
    forbidden = {
        "boto3",
        "botocore",
        "mns",
        "alibabacloud_paiautoml20220828",
        "Tea",
        "click",
        "alilocal",
    }
    assert not loaded_by("import hpoq.handler") & forbidden


def test_the_contract_needs_pydantic_only():
    """Producers can import the contract without the function's other dependencies."""
    modules = "request, events, keys, schema, asyncapi".replace(", ", ", hpoq.contract.")
    loaded = loaded_by(f"import hpoq.contract.{modules}")
    heavy = {"requests", "urllib3", "structlog", "click", "rich", "yaml", "alilocal"}
    assert not {name.split(".")[0] for name in loaded} & heavy


def test_no_file_is_too_long():
    """No module of the function or the local cloud grows past 400 lines."""
    for package in PACKAGES:
        for file in modules(package):
            assert len(file.read_text().splitlines()) <= 400, file


def test_every_threat_has_its_test():
    """The page on security names tests that exist."""
    page = (ROOT / "functions" / "hpoq" / "SECURITY.md").read_text()
    named = re.findall(r"`((?:unit|reliability|contract)/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 15
    for path, test in named:
        assert f"def {test or 'test_'}" in (ROOT / "tests" / path).read_text(), (path, test)


def test_the_change_log_tells_of_this_version():
    """And of every command; the licence goes along with a build."""
    told = (ROOT / ".CHANGELOG.md").read_text()
    assert f"## {version('hpoq')}\n" in told
    assert {name for name in app.list_commands(None) if f"`{name}`" not in told} == set()
    assert "Apache License" in (ROOT / ".LICENSE").read_text()[:200]
