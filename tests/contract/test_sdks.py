"""Clients of others, unmodified, with the calls of an application: the table of alilocal's README.

Those for Python run in the tests' own environment, or with packages beside it; those for Node.js once
`npm install --prefix tests/contract/sdks` has installed them; TEST_NODE_MODULES names another folder. For Go and PHP,
the bytes that they send are written by hand.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from installing import packages_in
from sdks.wire_forms import FORMS, Peer
from test_sdk_eventbridge import SECOND

import alilocal
from support.tools import NODE_MODULES, need_node, skip_without

HERE = Path(__file__).parent / "sdks"
README = HERE.parents[2] / "infra/alilocal/README.md"
NPM = json.loads((HERE / "package.json").read_text())["dependencies"]
PINS = "\n".join([*SECOND, (HERE.parents[2] / "pyproject.toml").read_text()])
NODE = {
    "pop_core.cjs": "@alicloud/pop-core",
    "openapi_client.cjs": "@alicloud/openapi-client",
    "eventbridge.cjs": "@alicloud/eventbridge",
    "mns.cjs": "@alicloud/mns",
    "ali_mns.cjs": "ali-mns",
    "tablestore.cjs": "tablestore",
}


@pytest.fixture
def server():
    with alilocal.serve() as running:
        running.cloud.credentials.role("worker")
        running.cloud.queues.create("copies")
        yield running


def run(server, *command, **environ):
    """Run a script, and return its reports."""
    cloud = server.cloud
    settings = {
        "url": server.url,
        "id": cloud.access_key_id,
        "secret": cloud.access_key_secret,
        "token": cloud.security_token,
    }
    environ |= {
        "PATH": os.environ["PATH"],
        "NODE_PATH": str(NODE_MODULES),
        "NODE_NO_WARNINGS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": cloud.access_key_secret,
    }
    done = subprocess.run(
        [*map(str, command), json.dumps(settings)], capture_output=True, text=True, env=environ, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def table():
    """Return the rows of the README: the version and the number of calls, by language and client."""
    text = README.read_text(encoding="utf-8").partition("## Clients that were tried")[2].partition("\n## ")[0]
    rows = [
        [cell.strip().strip("`") for cell in row.split("|")] for row in re.findall(r"(?m)^\|(.+)\|$", text)
    ]
    return {tuple(row[:2]): row[2:] for row in rows[2:]}


def check(language, reports):
    """Every check passes, and the table of the README says how many there are, with the version that was tried."""
    for report in reports:
        failed = {name: error for name, error in report["checks"].items() if error}
        assert failed == {}, f"{report['client']}:\n" + "\n".join(failed.values())
        count = str(len(report["checks"]))
        version, listed = table()[language, report["client"]]
        assert listed == count, report["client"]
        # A client that is not pinned may be a newer one.
        if f"{report['client']}=={version}" in PINS or report["client"] in NPM:
            assert version == report["version"]


def test_clients_of_the_test_environment(server):
    """The SDKs for SMQ, Tablestore and PAI AutoML, and the chain of credentials."""
    check("Python", run(server, sys.executable, "-W", "ignore", HERE / "python_clients.py"))


def test_the_older_core_for_python(server, installs):
    """aliyun-python-sdk-core signs with version 1 and sends the headers of version 3 beside it."""
    packages = packages_in(installs, SECOND)
    check(
        "Python",
        run(server, sys.executable, "-W", "ignore", HERE / "core_python.py", PYTHONPATH=str(packages)),
    )


def test_object_storage(server):
    """oss2 gets errors that name the service, where it is installed; it is built from source elsewhere."""
    if importlib.util.find_spec("oss2") is None:
        skip_without("oss2")
    check("Python", run(server, sys.executable, "-W", "ignore", HERE / "objects_python.py"))


@pytest.mark.parametrize("script", NODE)
def test_clients_for_node(server, script):
    """Each SDK for Node.js, with the calls that its README shows and some that must fail."""
    need_node(NODE[script])
    check("Node.js", run(server, "node", HERE / script))


def outcome(call):
    try:
        call()
    except Exception:  # noqa: BLE001
        return traceback.format_exc()
    return None


@pytest.mark.parametrize("form", FORMS)
def test_wire_forms_of_other_languages(server, form):
    """The requests of SDKs for Go and PHP, byte by byte, are answered as they need it."""
    checks = {name: outcome(call) for name, call in FORMS[form](Peer(server)).items()}
    check("PHP" if "php" in form[0] else "Go", [{"client": form[0], "version": form[1], "checks": checks}])


def test_every_client_of_the_table_has_a_script():
    """The table names no client that the tests above do not try."""
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in HERE.iterdir() if file.is_file())
    for _, client in table():
        assert f"'{client}'" in scripts or f'"{client}"' in scripts, client
