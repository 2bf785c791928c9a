"""Rules for every test: only loopback, no settings or credentials of the machine, nothing left behind."""

import contextlib
import cProfile
import functools
import gc
import importlib
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog
from _pytest.runner import runtestprotocol

from support.budget import LONG, examples, find_left_out
from support.building import build_once
from support.once import find_shared_folder
from support.ports import is_answering, reserve_port
from support.tools import skip_without, summarize_skips
from support.waiting import wait_until

_connect = socket.socket.connect


def pytest_configure():
    """Make programs that tests start react to Ctrl-C, and let them, workers and the next run share bytecode."""
    # A shell has what it runs in the background ignore Ctrl-C, and whatever that starts would ignore it too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Even where Python is not to write bytecode: it saves each worker several seconds, and each start of `hpoq` one.
    # It is in the usual `__pycache__` folders, which Git ignores and packages leave out, because pip has put that of
    # the dependencies there. In another place all of them would be compiled again, for 8 s of each worker.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    load_hypothesis_profile()


def load_hypothesis_profile():
    """Set the number of random examples. Hypothesis is imported late, so that its bytecode is kept as well."""
    from hypothesis import HealthCheck, settings

    # Timings differ between machines; a test is never slow because of what it found.
    settings.register_profile(
        "default", max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("default")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect the tests without a search for garbage; it would find none, and takes as long as the rest."""
    gc.disable()
    try:
        import_share(session.config)
        return (yield)
    finally:
        gc.freeze()  # what was collected stays until the end
        gc.enable()


def import_share(config):
    """Let each worker import other test modules first, because every worker needs all of them compiled.

    Compiling takes longer than all else of a collection, and is kept: each finds what the others have compiled.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    places = [Path(argument.partition("::")[0]) for argument in config.args]
    modules = sorted(module for place in places for module in place.rglob("test_*.py"))
    for module in modules[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        if str(module.parent) not in sys.path:
            sys.path.insert(0, str(module.parent))
        # Whatever is wrong with a module is reported by its collection.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(module.stem)


def pytest_collection_modifyitems(config, items):
    """Leave out the tests for which the budget is too small, and put the long ones first.

    A worker that begins a long test at the end of the run would go on alone.
    """
    left_out = find_left_out(items)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = sorted(
        (item for item in items if item not in left_out), key=lambda item: item.path.name not in LONG
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Let a worker send one report of a test that passed quickly, where xdist sends three and two notes.

    To write and read them takes as long as a small test.
    """
    if not hasattr(item.config, "workerinput"):
        return None
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    is_quick = all(report.passed and report.duration <= 0.1 for report in reports)
    for report in reports:
        if report.when == "call" or not is_quick:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Run one worker more than there are cores, because many tests wait for a process or an installation."""
    return min(8, (os.cpu_count() or 1) + 1)


def pytest_terminal_summary(terminalreporter):
    """Print in one line what to install to run the tests that were skipped."""
    line = summarize_skips([report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())])
    if line:
        terminalreporter.write_line(line)


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect_to_loopback(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        assert _is_loopback(address[0]), f"a test tried to reach {address}"
    return _connect(self, address)


# It stays in place for all tests, because a fixture that does it anew for each of them takes its time too.
socket.socket.connect = _connect_to_loopback


def _is_of_the_machine(name):
    return name.startswith(("HPOQ_", "ALIBABA_CLOUD_", "FC_")) or name.upper().endswith("_PROXY")


# Without colours and columns, which take a tenth of the time of a test of many deliveries. It stays the same list:
# loggers that modules keep hold on to it.
_LOG_PROCESSORS = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(["level", "event"]),
]
structlog.configure(_LOG_PROCESSORS)


@pytest.fixture(autouse=True)
def isolated():
    """Hide the settings, credentials and proxies of the machine from the test, and undo what the test leaves.

    Fail a test that leaves a thread running. One fixture does all this, because each costs as much as a small test.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if _is_of_the_machine(name)}
    os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    before = set(threading.enumerate())
    yield
    os.environ.pop("ALIBABA_CLOUD_ECS_METADATA_DISABLED", None)
    os.environ.update(hidden)
    structlog.reset_defaults()
    structlog.configure(_LOG_PROCESSORS)
    structlog.contextvars.clear_contextvars()
    for thread in set(threading.enumerate()) - before:
        # A server of several tests keeps a daemon for each connection, for as long as that is open.
        if not thread.daemon:
            thread.join(timeout=60)
            assert not thread.is_alive(), f"a test left {thread.name} running"


@contextlib.contextmanager
def _running_redis(folder):
    """Run a redis-server that persists nothing outside `folder`; yield its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        skip_without("redis-server")
    with reserve_port() as port:
        process = subprocess.Popen(
            [
                *(program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"),
                # Replicas are served at once, without waiting for others to ask as well.
                *("--repl-diskless-sync-delay", "0"),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: is_answering(port, process))
            yield port
        finally:
            # After SIGTERM, a server would wait for replicas that are behind.
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return a function that builds the code package, once for each set of options in all workers."""
    folder = find_shared_folder(tmp_path_factory) / "packages"
    return functools.cache(lambda *options: build_once(folder, *options))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    """Start a redis-server for this session; return its URL."""
    with _running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def start_redis(tmp_path_factory):
    """Return a function that starts another redis-server for this test and returns its port."""
    with contextlib.ExitStack() as running:
        yield lambda: running.enter_context(_running_redis(tmp_path_factory.mktemp("redis")))


@pytest.fixture
def count_calls():
    """Return a function that counts the function calls of an action: its work, on any machine."""

    def run(act):
        # The function that it calls for each call is in C, which takes a tenth of the time of one in Python.
        with cProfile.Profile() as profile:
            act()
        return sum(entry.callcount for entry in profile.getstats())

    return run
