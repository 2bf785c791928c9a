"""The oldest releases that pyproject.toml allows of what the function needs do what it asks of them."""

import json
import os
import subprocess
from importlib.metadata import requires
from pathlib import Path

from installing import python_with
from packaging.requirements import Requirement

import alilocal
from hpoq.testing import smq_event
from hpoqctl.pipeline import create_pipeline, make_environment
from support.deployment import tablestore_url
from support.request import REQUEST

ROOT = Path(__file__).parents[2]
HANDLES = """
import json, sys
from fcruntime import Fc3Context, invoke
result = invoke("hpoq.handler.handler", sys.stdin.buffer.read(), Fc3Context("r-1"))
print(json.dumps(json.loads(result.body)))
"""


def oldest():
    """Each requirement that holds here without an extra, at its least release."""
    given = [one for one in map(Requirement, requires("hpoq")) if not one.marker or one.marker.evaluate()]
    least = [next(part.version for part in one.specifier if part.operator == ">=") for one in given]
    return [f"{one.name}=={version}" for one, version in zip(given, least, strict=True)]


def test_a_message_becomes_an_experiment_and_a_wrong_one_a_rejection(installs):
    packages = oldest()
    python = python_with(installs, packages)
    with alilocal.serve() as server:
        create_pipeline(server.cloud)
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **make_environment(server.cloud, server.url, tablestore_url(server)),
            "PYTHONPATH": str(ROOT / "functions"),
        }
        for body, outcome in ((REQUEST, "created"), (REQUEST.replace("Name", "Nmae", 1), "rejected")):
            done = subprocess.run(
                [python, "-c", HANDLES], input=smq_event(outcome, body), capture_output=True, env=environ
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout.splitlines()[-1])["summary"][outcome] == 1


def test_the_guide_states_the_oldest_pydantic_of_each_python():
    """What pyproject.toml allows is in the deployment guide, also for Pythons that are not here."""
    text = " ".join((ROOT / "infra/serverless/README.md").read_text().split())
    least = {
        str(one.marker).partition("python_version ")[2]: next(
            part.version for part in one.specifier if part.operator == ">="
        )
        for one in map(Requirement, requires("hpoq"))
        if one.name == "pydantic"
    }
    earlier, later = least['< "3.14"'], least['>= "3.14"']
    assert f"pydantic {earlier} or later, and with Python 3.14 pydantic {later} or later" in text
