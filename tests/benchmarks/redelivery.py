"""B4: round trips for a batch of a hundred messages that were done before."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator

from harness import REQUEST, Peers, Row

import alilocal
from fcruntime import Fc3Context, FunctionInfo
from hpoq.function import Function
from hpoq.observability import logs
from hpoq.testing import smq_stream_event
from hpoqctl.pipeline import create_pipeline, make_environment

_MESSAGES = 100
_CONTEXT = Fc3Context("r", FunctionInfo(timeout=300))


def measure(_: Peers, rounds: int) -> Iterator[Row]:
    """Count the calls to the store, of which one batched read is the ideal. Nothing is timed."""
    logs.configure("ERROR", sys.stderr)
    event = smq_stream_event({f"m-{number}": REQUEST for number in range(_MESSAGES)})
    with alilocal.LocalCloud() as cloud:
        create_pipeline(cloud)
        store = "tablestore://localhost/hpoq?instance=local&scheme=http"
        function = Function(make_environment(cloud, cloud.endpoint, store), session=cloud.session())
        function.handle(event, _CONTEXT)
        before = len(cloud.requests)
        report = function.handle(event, _CONTEXT)
        assert report["summary"]["duplicate"] == _MESSAGES
        trips = len(cloud.requests) - before
        function.close()
    yield Row("B4", f"round trips for {_MESSAGES} duplicates, Tablestore", trips, target=3, note="ideal 1")
    yield from _redis(event)


def _redis(event: bytes) -> Iterator[Row]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        return
    from redis import Redis

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [program, "--port", str(port), "--save", ""], cwd=folder, stdout=subprocess.DEVNULL
        ) as server,
        alilocal.LocalCloud() as cloud,
    ):
        url = f"redis://127.0.0.1:{port}/0"
        client = Redis.from_url(url)
        while not _answers(client):
            time.sleep(0.01)
        create_pipeline(cloud)
        environ = make_environment(cloud, cloud.endpoint, f"{url}?prefix={uuid.uuid4()}:")
        function = Function(environ, session=cloud.session())
        function.handle(event, _CONTEXT)
        before = client.info("stats")["total_commands_processed"]
        function.handle(event, _CONTEXT)
        trips = client.info("stats")["total_commands_processed"] - before - 1
        function.close()
        server.terminate()
    yield Row("B4", f"commands for {_MESSAGES} duplicates, Redis", trips, target=3, note="ideal 1")


def _answers(client: object) -> bool:
    try:
        return bool(client.ping())  # type: ignore[attr-defined]
    except OSError:
        return False
    except Exception:  # noqa: BLE001 - the client's own kind of refusal
        return False
