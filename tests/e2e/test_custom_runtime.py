"""hpoq as a custom runtime: its start command, driven as Function Compute drives it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import alilocal
from hpoq.testing import smq_event
from hpoqctl.pipeline import TOPIC, create_pipeline, make_environment
from support.deployment import tablestore_url
from support.ports import is_answering, reserve_port
from support.request import REQUEST
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
COMMAND = [
    sys.executable,
    *("-m", "fcruntime", "hpoq.handler.handler"),
    *(
        "--initializer",
        "hpoq.handler.initialize",
        "--pre-stop",
        "hpoq.handler.pre_stop",
        "--host",
        "127.0.0.1",
    ),
]


@pytest.fixture
def deployed():
    """The cloud, and the URL and process of the function."""
    with alilocal.serve() as server, reserve_port() as port:
        create_pipeline(server.cloud)
        store = tablestore_url(server)
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **make_environment(server.cloud, server.url, store),
            "FC_CUSTOM_LISTEN_PORT": str(port),
            "FC_FUNC_CODE_PATH": str(ROOT / "functions"),
        }
        with subprocess.Popen(COMMAND, env=environ, stdout=subprocess.PIPE, text=True) as process:
            wait_until(lambda: is_answering(port, process))
            yield server.cloud, f"http://127.0.0.1:{port}", process
            process.kill()


def test_a_message_becomes_one_experiment(deployed):
    cloud, url, process = deployed
    headers = {"x-fc-request-id": "1-a", "x-fc-function-timeout": "60", "x-fc-function-name": "hpoq"}
    assert requests.post(f"{url}/initialize", headers=headers, timeout=120).headers["x-fc-status"] == "200"
    for expected in ("created", "duplicate"):
        answer = requests.post(f"{url}/invoke", smq_event("M1", REQUEST), headers=headers, timeout=120)
        assert answer.headers["x-fc-status"] == "200"
        assert [row["outcome"] for row in answer.json()["messages"]] == [expected]
    assert len(cloud.experiments) == 1
    (event,) = cloud.topics[TOPIC].published
    assert json.loads(event.body)["data"]["messageId"] == "M1"
    assert requests.get(f"{url}/pre-stop", headers=headers, timeout=120).headers["x-fc-status"] == "200"
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert "FC Invoke Start RequestId: 1-a" in process.stdout.read()


def test_a_message_to_be_retried_fails_the_call(deployed):
    """A custom runtime that only returned 500 would lose it."""
    cloud, url, _ = deployed
    cloud.faults.add("status", service="paiautoml", status=403, code="Forbidden.RAM", times=None)
    answer = requests.post(f"{url}/invoke", smq_event("M1", REQUEST), timeout=120)
    assert (answer.status_code, answer.headers["x-fc-status"]) == (404, "404")
    assert answer.json()["errorType"] == "EventFailed"


def test_a_request_of_an_http_trigger_becomes_one_experiment(deployed):
    cloud, url, _ = deployed
    headers = {"x-fc-request-id": "1-b", "x-fc-control-path": "/http-invoke"}
    answer = requests.post(f"{url}/experiments", REQUEST, headers=headers, timeout=120)
    assert (answer.status_code, answer.headers["x-fc-status"]) == (200, "200")
    assert [(row["messageId"], row["outcome"]) for row in answer.json()["messages"]] == [("1-b", "created")]
    assert len(cloud.experiments) == 1
