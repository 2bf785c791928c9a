"""The bill of materials against CycloneDX's own schema."""

import json
import os
import sys
from pathlib import Path

import pytest
from installing import packages_in

from support.processes import run_program

CHECKER = [
    "cyclonedx-python-lib==11.12.0",
    "boolean.py==5.0",
    "defusedxml==0.7.1",
    "license-expression==30.4.4",
    "packageurl-python==0.17.6",
    "py-serializable==2.2.0",
    "sortedcontainers==2.4.0",
]
CHECKS = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
for path in sys.argv[1:]:
    print("invalid" if validator.validate_str(open(path).read()) else "valid")
"""


@pytest.mark.in_ci
def test_cyclonedx_accepts_the_bill(installs, built, tmp_path):
    """The CycloneDX library accepts a package's software bill of materials."""
    packages = packages_in(installs, CHECKER)
    path = Path(built("--runtime", "python3.12")["sbom"])
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({**json.loads(path.read_text()), "components": [{"name": "nameless"}]}))
    environ = {**os.environ, "PYTHONPATH": str(packages)}
    done = run_program([sys.executable, "-c", CHECKS, path, broken], env=environ, check=True)
    assert done.stdout.split() == ["valid", "invalid"]
