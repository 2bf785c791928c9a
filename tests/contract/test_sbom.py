"""The bill of materials against CycloneDX's own schema."""

import json
import subprocess
from pathlib import Path

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


def test_cyclonedx_accepts_the_bill(installs, built, tmp_path):
    """The CycloneDX library accepts a package's software bill of materials."""
    python = python_with(installs, [CHECKER])
    path = Path(built("--runtime", "python3.12")["sbom"])
    assert judged(python, path) == "valid"
    broken = {**json.loads(path.read_text()), "components": [{"name": "nameless"}]}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    assert judged(python, tmp_path / "broken.json") != "valid"
