"""What holds for every test: only loopback, no settings or credentials of the machine, nothing left behind."""

import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Timings differ between machines; a test is never slow because of what it found.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

_connect = socket.socket.connect


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """A test that would reach another machine fails instead."""

    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert _is_loopback(address[0]), f"a test tried to reach {address}"
        return _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No setting, credential or proxy of the machine reaches a test."""
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("HPOQ_", "ALIBABA_CLOUD_", "FC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """A test ends its threads, and takes back what it set up for logging."""
    before = set(threading.enumerate())
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
        assert thread.daemon or not thread.is_alive(), f"a test left {thread.name} running"


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _answers(port, process):
    """Whether the server on `port` takes connections; fails if its process has ended."""
    assert process.poll() is None, "the server ended"
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """The URL of a redis-server of this session's own, that persists nothing beyond it."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    port = _free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"],
        cwd=tmp_path_factory.mktemp("redis"),
        stdout=subprocess.DEVNULL,
    )
    try:
        while not _answers(port, process):
            time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def count_calls():
    """How many functions are called while something runs: its work, whatever the machine."""

    def run(act):
        calls = 0

        def count(_frame, kind, _argument):
            nonlocal calls
            calls += kind in ("call", "c_call")

        sys.setprofile(count)
        try:
            act()
        finally:
            sys.setprofile(None)
        return calls

    return run
