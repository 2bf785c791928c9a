"""The bill of materials against CycloneDX's own schema."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from installing import python_with

CHECKER = "cyclonedx-python-lib[json-validation]==11.12.0"
CHECKS = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
print(found if found else "valid")
"""


def judged(python, path):
    done = subprocess.run([python, "-c", CHECKS, path], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_cyclonedx_takes_it(installs, tmp_path):
    python = python_with(installs / "cyclonedx", [CHECKER])
    build = [
        sys.executable,
        "-c",
        "from hpoq.cli import main; main()",
        "package",
        "--json",
        "--output",
        tmp_path,
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the package index has no wheels")
    path = Path(json.loads(done.stdout)["sbom"])
    assert judged(python, path) == "valid"
    broken = {**json.loads(path.read_text()), "components": [{"name": "nameless"}]}
    path.write_text(json.dumps(broken))
    assert judged(python, path) != "valid"
