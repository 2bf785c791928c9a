"""fcruntime, the contract's pure parts and the data-class helper run on CPython 3.14, built for WebAssembly."""

from pathlib import Path

import pytest

from support.processes import run_program
from support.tools import NODE_MODULES, need_node

ROOT = Path(__file__).parents[2]
TESTS = [
    "tests/unit/test_pure_parts.py",
    "tests/unit/fcruntime/test_dataclass.py",
    "tests/unit/fcruntime/test_context.py",
    "tests/unit/fcruntime/test_batch_policies.py",
]


@pytest.mark.in_ci
def test_pure_parts_run_on_python_3_14():
    """Tests that pass on this interpreter pass there as well."""
    need_node("pyodide")
    packages = Path(pytest.__file__).parents[1]
    done = run_program(
        ["node", Path(__file__).with_name("pyodide_run.mjs"), NODE_MODULES, ROOT, packages, *TESTS],
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    version, *_, summary = done.stdout.splitlines()
    assert version.startswith("3.14.")
    assert "passed" in summary
