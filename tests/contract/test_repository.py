"""The repository keeps its own rules: layout, one-way imports, what a cold start may load."""

import ast
import functools
import inspect
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hpoqctl.app import app
from support.processes import run_program

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {"pyproject.toml", "README.md", "functions", "infra", "events", "tests"}
PACKAGES = {
    "hpoq": ROOT / "functions",
    "fcruntime": ROOT / "functions",
    "alilocal": ROOT / "infra",
    "hpoqctl": ROOT / "infra",
}
LAYERS = {
    # What each part of hpoq may import of hpoq: what is below it, never what is above.
    "contract": {"errors", "observability"},
    "idempotency": {"clock", "cloud", "errors"},
    "observability": {"clock", "errors"},
    "cloud": {"clock", "contract", "errors", "observability"},
    "publishers": {"clock", "cloud", "contract", "errors"},
    "processing": {
        "clock",
        "cloud",
        "contract",
        "errors",
        "idempotency",
        "loading",
        "observability",
        "publishers",
    },
    "testing": {"clock", "contract", "errors", "idempotency", "processing"},
}


@functools.cache
def statements(file):
    """Return the imports and the functions of `file`, at any place, as nodes of its syntax tree."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)
    found, waiting = [], [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        found += [node] * isinstance(node, kinds)
        # What is in an expression is no statement. Most nodes are.
        waiting += [
            one
            for name in ("body", "orelse", "finalbody", "handlers", "cases")
            for one in getattr(node, name, ())
        ]
    return found


def imports(file):
    """Return every module that `file` imports, at any place."""
    for node in statements(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(package):
    return sorted((PACKAGES[package] / package).rglob("*.py"))


def loaded_by(statement):
    """Return the modules that a fresh interpreter holds after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = run_program([sys.executable, "-c", code], check=True)
    return set(json.loads(done.stdout))


def test_top_level():
    """The top level holds what it may and nothing else but dotfiles."""
    listed = run_program(["git", "ls-files", "-z"], cwd=ROOT, check=True).stdout
    found = {name.split("/")[0] for name in listed.split("\0") if name}
    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("fcruntime", {"hpoq", "alilocal", "hpoqctl"}),
        ("alilocal", {"hpoq", "hpoqctl"}),
        ("hpoq", {"alilocal", "hpoqctl"}),
    ],
)
def test_packages_import_one_way(package, forbidden):
    """fcruntime and alilocal know nothing about hpoq, and only the command line knows all of them."""
    for file in modules(package):
        assert not {name.split(".")[0] for name in imports(file)} & forbidden, file


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downwards(layer):
    """A layer of hpoq knows those below it and never one above."""
    root = PACKAGES["hpoq"] / "hpoq"
    files = [*(root / layer).rglob("*.py"), *root.glob(f"{layer}.py")]
    assert files
    for file in files:
        known = {name.split(".")[1] for name in imports(file) if name.startswith("hpoq.")}
        assert known <= LAYERS[layer] | {layer}, file


def test_fcruntime_needs_the_standard_library_only():
    """fcruntime can be used where nothing else is installed."""
    for file in modules("fcruntime"):
        for name in imports(file):
            # annotationlib is part of the standard library from Python 3.14 on.
            known = sys.stdlib_module_names | {"annotationlib", "fcruntime"}
            assert name.split(".")[0] in known, (file, name)


def test_a_cold_start_loads_no_vendor_sdk():
    """The function loads no boto3, no SDK of the vendor, and no part of the command line.

    structlog looks for rich and loads it where it is installed, which it is not where the function runs.
    """
    forbidden = {"boto3", "botocore", "mns", "alibabacloud_paiautoml20220828", "Tea", "click", "alilocal"}
    assert not loaded_by("import hpoq.handler") & forbidden


def test_the_contract_needs_pydantic_only():
    """Producers can import the contract without the function's other dependencies."""
    modules = "request, events, identity".replace(", ", ", hpoq.contract.")
    loaded = loaded_by(f"import hpoq.contract.{modules}")
    heavy = {"requests", "urllib3", "structlog", "click", "rich", "yaml", "alilocal"}
    assert not {name.split(".")[0] for name in loaded} & heavy


def find_imports(package):
    """Map each module of `package` to those of the repository that it imports, lazily or for types as well."""
    names = {}
    for root in PACKAGES:
        for file in modules(root):
            parts = file.relative_to(PACKAGES[root]).with_suffix("").parts
            names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found = {}
    for name, file in names.items():
        if name.split(".")[0] != package:
            continue
        found[name] = set()
        for node in statements(file):
            if isinstance(node, ast.Import):
                candidates = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                members = [f"{node.module}.{alias.name}" for alias in node.names]
                candidates = [one for one in members if one in names] or [node.module]
            else:
                continue
            found[name] |= {one for one in candidates if one in names and one != name}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_circle(package):
    """No module imports itself through others, type-checking and lazy imports included."""
    waiting = {
        name: {one for one in found if one.split(".")[0] == package}
        for name, found in find_imports(package).items()
    }
    while waiting:
        free = {name for name, needed in waiting.items() if not needed & waiting.keys()}
        assert free, f"import circle among {sorted(waiting)}"
        waiting = {name: needed for name, needed in waiting.items() if name not in free}


SMALL_MODULES = {
    "hpoq.testing.clock": "public, and each a concept of its own",
    "hpoq.testing.events": "public, and each a concept of its own",
    "hpoq.testing.store": "public, and each a concept of its own",
}
"""Modules of fewer than 60 lines that exactly one other imports, with the reason why they stay apart."""


def test_small_modules_belong_to_their_importer():
    """A module under 60 lines that exactly one other imports is part of that one, with reasoned exceptions."""
    importers = {}
    for package in PACKAGES:
        for name, found in find_imports(package).items():
            for one in found:
                importers.setdefault(one, set()).add(name)
    small = set()
    for package, root in PACKAGES.items():
        for file in modules(package):
            name = ".".join(file.relative_to(root).with_suffix("").parts)
            lines = len(file.read_text().splitlines())
            if not file.name.startswith("__") and lines < 60 and len(importers.get(name, ())) == 1:
                small.add(name)
    assert small == SMALL_MODULES.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_describe_modules_that_exist(package):
    """The docstring of a package names no module that was renamed or merged."""
    for file in (PACKAGES[package] / package).rglob("__init__.py"):
        for name in re.findall(r"[\w/]+\.py", ast.get_docstring(ast.parse(file.read_text())) or ""):
            assert any((place / name).exists() for place in (file.parent, file.parents[1])), (file, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package):
    """No function has more than 50 lines."""
    for file in modules(package):
        for node in statements(file):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, (file, node.name)


def test_every_threat_has_its_test():
    """The page on security names tests that exist."""
    page = (ROOT / "functions" / "hpoq" / "SECURITY.md").read_text()
    named = re.findall(r"`((?:unit|reliability|contract)/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 15
    for path, test in named:
        assert f"def {test or 'test_'}" in (ROOT / "tests" / path).read_text(), (path, test)


def test_the_change_log_has_this_version():
    """The change log has this version and every command; the licence is the Apache License."""
    changes = (ROOT / ".CHANGELOG.md").read_text()
    assert f"## {version('hpoq')}\n" in changes
    assert {name for name in app.list_commands(None) if f"`{name}`" not in changes} == set()
    assert "Apache License" in (ROOT / ".LICENSE").read_text()[:200]


def states_rule(test):
    """Return whether a test has a docstring that can be read alone, or else four words in its name."""
    text = inspect.getdoc(test)
    if text is None:
        return test.__name__.removeprefix("test_").count("_") >= 3
    return not re.match(r"(And|Nor|So|Neither|The same)\b", text)


def test_every_test_states_its_rule(request):
    """Each test of this run has a docstring that can be read alone, or else a name of four words after `test`."""
    every = {item.function for item in request.session.items}
    assert [f"{test.__module__}.{test.__name__}" for test in every if not states_rule(test)] == []
