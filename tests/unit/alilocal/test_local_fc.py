"""Functions as Function Compute runs them: processes, contexts, errors, time-outs, reuse."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

import alilocal
import alilocal.fc.function as fc_function
import alilocal.fc.instance as fc_instance
from alilocal.eventstream import EventStream
from alilocal.fc.model import PayloadTooLarge
from alilocal.fc.switches import FunctionComputeSwitches
from alilocal.fc.triggerconfig import change_config, read_source
from support.waiting import wait_until

CODE = '''
import datetime, decimal, json, logging, os, signal, sys, time

STARTED = time.time()
calls = 0


def initialize(context):
    os.environ["INITIALIZED"] = context.request_id


def asking_pre_stop(context):
    import urllib.request
    urllib.request.urlopen(os.environ["ASK"]).read()
    pre_stop(context)


def pre_stop(context):
    open(os.environ["MARK"], "a").write("stopped\\n")


async def initialize_later(context):
    pass


def broken_initialize(context):
    raise RuntimeError("not today")


def handler(event, context):
    """Does what the event says, and tells what it sees."""
    global calls
    calls += 1
    asked = json.loads(event)
    what = asked.get("do")
    if what == "raise":
        raise KeyError("something is wrong")
    if what == "exit":
        os._exit(3)
    if what == "hang":
        open(os.environ["MARK"], "w").write(str(os.getpid()))
        time.sleep(60)
    if what == "grow":
        kept = bytearray(200 * 2**20)
        time.sleep(60)
    if what == "junk":
        os.write(1, bytes(range(256)) * 1000)
        os.close(1)
        os.close(0)
    if what == "child":
        import subprocess
        subprocess.Popen(["sleep", "60"])
    if what == "log":
        print("\u00e4" * asked.get("pad", 0) + "printed" + asked.get("end", ""))
        logging.getLogger("own").info("logged")
        logging.getLogger("own").debug("hidden")
    if what == "peak":
        bytearray(60 * 2**20)
    if what == "bytes":
        return b"\\xff\\x00"
    if what == "text":
        return "text"
    if what == "json":
        return {"b": decimal.Decimal("1.5"), "a": datetime.date(2026, 1, 2)}
    if what == "unserializable":
        return object()
    if what == "slow":
        while not os.path.exists(os.environ["MARK"]):
            time.sleep(0.01)
    return {
        "calls": calls,
        "now": time.time(),
        "environ": dict(os.environ),
        "path": sys.path[0],
        "modules": [name for name in ("alilocal", "fcruntime", "hpoq") if name in sys.modules],
        "context": {name: str(value) for name, value in vars(context).items() if name != "credentials"},
        "key": getattr(getattr(context, "credentials", None), "access_key_id", None),
    }
'''


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "index.py").write_text(CODE)
    (folder / "broken.py").write_text("def handler(:")
    (folder / "failing.py").write_text("raise ValueError('at import')")
    return folder


@pytest.fixture
def cloud():
    """A cloud that ends all its processes and threads, and closes all its files."""
    threads, files = set(threading.enumerate()), open_files()
    with alilocal.LocalCloud() as running:
        yield running
    for thread in set(threading.enumerate()) - threads:
        if thread.name.startswith("alilocal"):
            thread.join(60)
            assert not thread.is_alive(), thread.name
    assert open_files() <= files


def open_files():
    """Return the open files of this process by name. A pipe or a socket has a number that no later one has.

    Not their count: what an earlier test left to the garbage collector may be closed at any moment.
    """
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        # The folder that is being read is closed already.
        with contextlib.suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


@pytest.fixture
def create(cloud, code, tmp_path):
    def make(handler="index.handler", name="f", environment=None, **settings):
        environ = {"MARK": str(tmp_path / "mark"), **(environment or {})}
        return cloud.functions.create(name, handler=handler, code=code, environment=environ, **settings)

    return make


def ask(function, **event):
    return function.invoke(json.dumps(event).encode())


def seen(function, **event):
    result = ask(function, **event)
    assert result.ok, result.body
    return json.loads(result.body)


def test_an_instance_is_reused(create):
    """The second call is not a cold start."""
    function = create()
    first, second = ask(function), ask(function)
    assert (first.cold, second.cold) == (True, False)
    assert first.instance_id == second.instance_id
    assert [json.loads(one.body)["calls"] for one in (first, second)] == [1, 2]
    assert first.max_memory_mb > 5
    assert first.request_id != second.request_id
    function.recycle()
    third = ask(function)
    assert third.cold
    assert third.instance_id != first.instance_id
    assert [one.result.cold for one in function.invocations] == [True, False, True]


def test_what_the_function_sees_is_fcs(create, cloud, code, monkeypatch):
    """Environment, path and context follow Function Compute."""
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "x")
    found = seen(create(environment={"OWN": "set"}, memory=256, timeout=7, runtime="python3.10"))
    environ = found["environ"]
    assert "SECRET_OF_THE_DEVELOPER" not in environ
    assert (environ["OWN"], environ["TZ"], environ["FC_FUNCTION_MEMORY_SIZE"]) == ("set", "UTC", "256")
    assert environ["FC_REGION"] == cloud.region
    assert environ["FC_FUNC_CODE_PATH"] == found["path"] == str(code)
    assert "FC_VER_ID" in environ
    assert found["modules"] == []
    assert found["key"] == environ["ALIBABA_CLOUD_ACCESS_KEY_ID"]
    assert found["key"].startswith("STS.")
    assert found["context"]["region"] == cloud.region
    assert "timeout=7" in found["context"]["function"]
    assert "span_baggages" in found["context"]["tracing"]


def test_the_newer_context_has_no_credentials(create):
    found = seen(create(runtime="python3.12"))
    assert found["key"] is None
    assert "service" not in found["context"]
    assert "qualifier='LATEST'" in found["context"]["function"]
    assert "FC_FUNCTION_VERSION" in found["environ"]


def test_every_instance_has_keys_of_its_own(create, cloud):
    function = create()
    key = seen(function)["environ"]["ALIBABA_CLOUD_ACCESS_KEY_ID"]
    assert cloud.credentials.get(key).user_id == cloud.account_id
    function.recycle()
    assert cloud.credentials.get(key) is None
    assert seen(function)["environ"]["ALIBABA_CLOUD_ACCESS_KEY_ID"] != key


@pytest.mark.parametrize(
    ("what", "body"),
    [("bytes", b"\xff\x00"), ("text", b"text"), ("json", b'{\n    "a": "2026-01-02",\n    "b": 1.5\n}')],
)
def test_results_are_rendered_as_fc_does(create, what, body):
    """Results become bytes as in FC's runtime."""
    assert ask(create(), do=what).body == body


def test_an_exception_is_fcs_error(create):
    """An exception becomes FC's error JSON."""
    function = create()
    result = ask(function, do="raise")
    reported = json.loads(result.body)
    assert (result.error_type, reported["errorType"]) == ("UnhandledInvocationError", "KeyError")
    assert reported["errorMessage"] == "'something is wrong'"
    ((file, _, where, _),) = reported["stackTrace"]
    assert file.endswith('index.py"')
    assert where == "in handler"
    assert json.loads(ask(function, do="unserializable").body)["errorType"] == "TypeError"
    assert not ask(function).cold


@pytest.mark.parametrize(
    ("handler", "kind", "logged"),
    [
        ("nothing.handler", "ImportModuleError", "No module named 'nothing'"),
        ("broken.handler", "UserCodeSyntaxError", "def handler(:"),
        ("failing.handler", "UserCodeError", "ValueError: at import"),
        ("index.missing", "HandlerNotFound", "'missing' is missing"),
        ("handler", "InvalidHandleName", "Invalid handler 'handler'"),
    ],
)
def test_code_that_cannot_be_loaded(create, handler, kind, logged):
    """The log says why code could not be loaded."""
    result = ask(create(handler))
    assert not result.ok
    assert json.loads(result.body)["errorType"] == kind
    assert logged in result.log


def test_log_lines_are_fcs(create):
    """Log lines have FC's form."""
    result = ask(create(), do="log")
    lines = result.log.splitlines()
    assert lines[0] == "FunctionCompute python3 runtime inited."
    assert lines[1] == f"FC Invoke Start RequestId: {result.request_id}"
    assert lines[2] == "printed"
    assert lines[3].endswith(f"Z {result.request_id} [INFO] logged")
    assert lines[4] == f"FC Invoke End RequestId: {result.request_id}"


def test_the_tail_of_a_log_has_4_kb(create):
    """A character that is cut, as in one of two lengths, does not become another one, which would need more bytes."""
    function = create()
    tails = [ask(function, do="log", pad=4000, end=end).log for end in ("", ".")]
    assert [log[0] for log in tails] == ["\u00e4"] * 2
    assert sorted(len(log.encode()) for log in tails) == [4095, 4096]


def test_the_header_of_a_large_answer_is_read_once(monkeypatch):
    """An answer of 32 MB comes in hundreds of parts, and reading all of it for each took seconds."""
    source, sink = os.pipe()
    reads = []
    monkeypatch.setattr(
        fc_instance, "json", SimpleNamespace(loads=lambda text: reads.append(text) or {"size": 90})
    )
    reader = fc_instance._Reader(source)
    for part in (b'{"si', b'ze": 90}', b"\n", b"x" * 60, b"x" * 29):
        os.write(sink, part)
        assert reader.read() is None
    os.write(sink, b"y")
    assert reader.read()
    assert (len(reads), reader.answer) == (1, ({"size": 90}, b"x" * 89 + b"y"))
    os.close(source)
    os.close(sink)


def test_the_log_is_whole_however_late_it_is_read(create):
    """A thread collects the log. If it is late, the call waits for the last line."""
    delays = iter([1.5])
    function = create(on_output=lambda _: time.sleep(next(delays, 0)))
    log = ask(function, do="log").log
    assert "printed" in log
    assert "FC Invoke End RequestId: " in log


def test_a_closed_function_has_delivered_its_output(create):
    """`on_output` gets all of it: closing waits for a thread that is late, which the fixture `cloud` checks."""
    written = []

    def write(text):
        time.sleep(1.5 * ("FC Invoke End" in text))
        written.append(text)

    function = create(on_output=write)
    ask(function, do="log")
    function.close()
    assert re.search("printed.*FC Invoke End", "".join(written), re.DOTALL)


def test_a_process_that_leaves_its_group_keeps_no_instance_open(cloud, tmp_path):
    """The output of an instance is closed once all processes have ended that may write to it."""
    (tmp_path / "own.py").write_text(
        "import subprocess\n\ndef handler(event, context):\n"
        "    return str(subprocess.Popen(['sleep', '60'], start_new_session=True).pid)\n"
    )
    function = cloud.functions.create("own", handler="own.handler", code=tmp_path)
    left = int(function.invoke(b"").body)
    function.close()
    os.kill(left, signal.SIGKILL)
    for thread in threading.enumerate():
        if thread.name == "alilocal-fc-log":
            thread.join(60)


def test_junk_on_its_output_breaks_nothing(create):
    """Output that is not text does not break a call."""
    function = create()
    assert ask(function, do="junk").ok
    assert seen(function)["calls"] == 2


def test_what_a_function_started_ends_with_it(create):
    """Processes that a function started end with its instance."""
    function = create()
    assert ask(function, do="child").ok
    function.close()


def test_a_process_that_ends_is_replaced(create):
    function = create()
    result = ask(function, do="exit")
    assert (
        "Process exited unexpectedly before completing request (duration: "
        in json.loads(result.body)["errorMessage"]
    )
    end = f"FC Invoke End RequestId: {result.request_id}, Error: {json.loads(result.body)['errorMessage']}"
    assert result.log.splitlines()[-1] == end
    after = ask(function)
    assert after.ok
    assert after.cold


def has_begun(mark):
    """Return whether a call that hangs has written the id of its process."""
    return mark.exists() and mark.read_text() != ""


def test_a_call_that_takes_too_long_is_killed(create, tmp_path, monkeypatch):
    """Its process has ended, the log says where it stood, and the next call gets another one."""
    mark = tmp_path / "mark"
    # No time passes until the call hangs, and then all of it.
    with monkeypatch.context() as patch:
        patch.setattr(fc_instance, "monotonic", lambda: 1000.0 if has_begun(mark) else 0.0)
        patch.setattr(fc_instance, "_GRACE_SECONDS", 60)
        function = create(timeout=5)
        result = ask(function, do="hang")
    assert result.error_type == "FunctionTimeoutError"
    assert not Path(f"/proc/{(tmp_path / 'mark').read_text()}").exists()
    assert re.search(r"index.py.* in handler", result.log), "where it stood is told"
    assert ask(function).cold


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of another process's memory")
def test_a_call_that_needs_too_much_memory_is_killed(create):
    result = ask(create(memory=120), do="grow")
    assert result.error_type == "FunctionOOMError"
    assert result.max_memory_mb > 120


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of another process's memory")
def test_memory_that_was_given_back_counts_too(create):
    function = create(memory=50)
    assert ask(function).ok
    assert ask(function, do="peak").error_type == "FunctionOOMError"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the figure begins with that of the caller")
def test_the_memory_of_the_caller_is_not_the_functions(create):
    held = bytearray(200 * 2**20)
    assert ask(create()).max_memory_mb < 100
    del held


def test_hooks_run_around_the_life_of_an_instance(create, tmp_path):
    """Initializer and pre-stop run once per instance."""
    function = create(initializer="index.initialize", pre_stop="index.pre_stop")
    first = seen(function)["environ"]["INITIALIZED"]
    assert seen(function)["environ"]["INITIALIZED"] == first
    function.close()
    assert (tmp_path / "mark").read_text() == "stopped\n"


def test_an_initializer_that_fails_fails_the_call(create):
    """The next call gets another instance. A coroutine function fails, as nothing would run it."""
    function = create(initializer="index.broken_initialize")
    for _ in range(2):
        result = ask(function)
        assert (result.error_type, result.cold) == ("InitializationError", True)
        assert json.loads(result.body)["errorMessage"] == "not today"
    waiting = create(name="g", initializer="index.initialize_later")
    assert "coroutine" in json.loads(ask(waiting).body)["errorMessage"]


def test_the_log_of_a_failed_initializer_shows_its_error_only(create):
    """The log has the initializer's traceback, and no stacks of an instance that was killed."""
    written = []
    function = create(initializer="index.broken_initialize", on_output=written.append)
    result = ask(function)
    assert "RuntimeError: not today" in result.log
    assert not re.search("Thread 0x|Current thread", result.log + "".join(written))


def test_the_clock_of_an_instance_follows_the_clouds(create, cloud):
    """A clock that was advanced is ahead in the function too, so that what it wrote before has aged."""
    function = create()
    before = seen(function)["now"]
    cloud.clock.advance(200)
    assert 200 <= seen(function)["now"] - before < 260


def test_instances_up_to_the_limit(create, tmp_path):
    """An instance answers one request at a time: a third caller waits for one of two instances."""
    function, results = create(max_instances=2), []
    threads = [threading.Thread(target=lambda: results.append(ask(function, do="slow"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: function.instances == 2)
    (tmp_path / "mark").touch()
    for thread in threads:
        thread.join()
    assert function.instances == 2
    assert len({result.instance_id for result in results}) == 2
    assert sorted(result.cold for result in results) == [False, True, True]


def test_an_idle_instance_is_not_kept_for_ever(create, cloud):
    function = create()
    ask(function)
    cloud.clock.advance(299)
    assert not ask(function).cold
    cloud.clock.advance(301)
    assert ask(function).cold


def test_changed_code_is_taken_up(create, code):
    """With `reload`, changed code starts a new instance."""
    function = create(reload=True)
    assert ask(function).cold
    assert not ask(function).cold
    (code / "index.py").write_text("def handler(event, context):\n    return 'changed'\n")
    changed = ask(function)
    assert (changed.cold, changed.body) == (True, b"changed")


def test_what_is_not_the_functions_own_code_is_not_watched(create, code):
    """Virtual environments and hidden folders are ignored by `reload`."""
    for folder in ("venv", ".tool"):
        (code / folder / "lib").mkdir(parents=True)
    (code / "venv" / "pyvenv.cfg").touch()
    function = create(reload=True)
    assert ask(function).cold
    for folder in ("venv", ".tool"):
        (code / folder / "lib" / "new.py").touch()
    assert not ask(function).cold
    (code / "own").mkdir()
    (code / "own" / "new.py").touch()
    assert ask(function).cold


@pytest.mark.parametrize(
    "settings",
    [
        {"timeout": 0},
        {"max_instances": 0},
        {"environment": {"1X": "a"}},
        {"max_async_retry_attempts": 9},
        {"environment": {"FC_OWN": "x"}},
        {"environment": {"LARGE": "x" * 4096}},
    ],
)
def test_invalid_settings_are_refused(create, settings):
    """Invalid settings are refused with the name of the setting."""
    with pytest.raises(ValueError):
        create(**settings)


def test_payloads_have_limits(create):
    """An asynchronous event of more than 128 KiB is refused; a synchronous one of 1 MiB is not."""
    function = create()
    with pytest.raises(PayloadTooLarge):
        function.invoke_async(b"x" * (128 * 1024 + 1))
    large = json.dumps({"pad": "x" * 2**20}).encode()
    assert function.invoke(large).ok


def test_a_reset_ends_instances_whose_keys_are_gone(create, cloud):
    function = create()
    ask(function)
    cloud.reset()
    assert ask(function).cold


def test_an_instance_may_call_the_cloud_while_a_reset_ends_it(create, cloud, tmp_path):
    """A reset does not hold the lock that a call of the ending instance needs."""
    with alilocal.serve(cloud=cloud) as server:
        url = f"{server.url}/_alilocal"
        ask(create(pre_stop="index.asking_pre_stop", environment={"ASK": f"{url}/queues"}))
        assert requests.post(f"{url}/reset", json={}, timeout=30).status_code == 200
    assert (tmp_path / "mark").read_text() == "stopped\n"


def test_asynchronous_calls_are_repeated_and_reported(create, cloud):
    """Failed asynchronous calls are repeated, and the result goes to the destination."""
    cloud.queues.create("failures")
    cloud.topics.create("successes")
    failing = create(name="a", max_async_retry_attempts=2, on_failure="queue:failures")
    request_id = failing.invoke_async(b'{"do": "raise"}')
    while len(failing.invocations) < 3:
        with cloud.changed:
            cloud.clock.pause(0.05)
        cloud.clock.advance(1)
    assert failing.drain(60)
    (message,) = cloud.queues["failures"].messages
    reported = json.loads(message.body)
    assert reported["requestContext"]["requestId"] == request_id
    assert reported["requestContext"]["approximateInvokeCount"] == 3
    assert reported["requestPayload"] == '{"do": "raise"}'
    assert reported["responseContext"]["functionError"] == "UnhandledInvocationError"
    assert {one.result.request_id for one in failing.invocations} == {request_id}
    arn = f"acs:mns:{cloud.region}:{cloud.account_id}:/topics/successes/messages"
    well = create(name="b", on_success=arn)
    well.invoke_async(b'{"do": "text"}')
    assert well.drain(60)
    assert json.loads(cloud.topics["successes"].published[0].body)["responsePayload"] == "text"


def test_a_stream_calls_a_function(create, cloud):
    queue = cloud.queues.create("orders")
    function = create()
    stream = EventStream(cloud, queue="orders", invoke=function, mode="event", event_schema="RawData")
    queue.send('{"do": "text"}')
    assert stream.step()
    (delivery,) = stream.deliveries
    assert (delivery.succeeded, delivery.cold) == (True, True)
    assert delivery.request_id == function.invocations[0].result.request_id
    assert queue.messages == []


def test_a_rule_of_a_bus_calls_a_function(create, cloud):
    function = create(name="seen")
    rule = cloud.buses.rule("call", {"do": ["text"]}, function="seen")
    for number, what in enumerate(("text", "raise")):
        cloud.buses.put("default", {"id": str(number), "do": what})
    assert function.drain(60)
    (call,) = function.invocations
    assert (json.loads(call.event)["aliyuneventbusname"], call.result.body) == ("default", b"text")
    cloud.functions.delete("seen")
    cloud.buses.put("default", {"id": "3", "do": "text"})
    assert rule.undelivered == 1


def test_a_stream_repeats_what_fails(create, cloud):
    queue = cloud.queues.create("orders")
    stream = EventStream(cloud, queue="orders", invoke=create("index.missing"))
    queue.send("body")
    assert stream.step()
    (delivery,) = stream.deliveries
    assert (delivery.succeeded, delivery.error) == (False, "UnhandledInvocationError")
    assert delivery.retry_at > cloud.clock.now()
    assert len(queue.messages) == 1


def test_a_stream_calls_asynchronously(create, cloud):
    """An asynchronous delivery succeeds even if the call fails later."""
    queue = cloud.queues.create("orders")
    function = create("index.missing", max_async_retry_attempts=0)
    stream = EventStream(cloud, queue="orders", invoke=function, asynchronous=True)
    queue.send("body")
    assert stream.step()
    assert stream.deliveries[0].succeeded
    assert queue.messages == []
    assert function.drain(60)
    assert not function.invocations[0].result.ok
    with pytest.raises(ValueError):
        EventStream(cloud, queue="orders", invoke=lambda _: True, asynchronous=True)


def test_no_instance_outlives_a_cloud_that_is_killed(code, tmp_path):
    """Busy instances end too when the cloud's process is killed."""
    script = (
        "import alilocal, json, sys;"
        "cloud = alilocal.LocalCloud();"
        f"f = cloud.functions.create('f', handler='index.handler', code={str(code)!r},"
        f" environment={{'MARK': {str(tmp_path / 'mark')!r}}});"
        "f.invoke(json.dumps({'do': 'hang'}).encode())"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        wait_until(lambda: has_begun(tmp_path / "mark"))
        process.kill()
    instance = Path("/proc") / (tmp_path / "mark").read_text()

    def has_ended():
        try:
            return "zombie" in (instance / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(has_ended)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_closing_ends_calls_under_way(create, tmp_path, kind):
    """Closing a cloud does not wait for a running call."""
    function, event = create(timeout=60), json.dumps({"do": "hang"}).encode()
    caller = threading.Thread(
        target=function.invoke if kind == "sync" else function.invoke_async, args=(event,)
    )
    caller.start()
    wait_until(lambda: has_begun(tmp_path / "mark"))
    function.close()
    caller.join()
    (made,) = function.invocations
    assert "Process exited unexpectedly" in made.result.body.decode()
    assert function.instances == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_trigger_does_not_wait_for_ever(create, cloud, code, monkeypatch, asynchronous):
    """A trigger's call ends after the trigger's limit, even if the function's time-out is longer."""
    assert fc_function.TRIGGER_SECONDS == 300
    monkeypatch.setattr(fc_function, "TRIGGER_SECONDS", 0.5)
    (code / "hanging.py").write_text("import time\n\ndef handler(event, context):\n    time.sleep(60)\n")
    function = create("hanging.handler", timeout=20, max_async_retry_attempts=0)
    cloud.queues.create("q").send("a")
    stream = EventStream(cloud, queue="q", invoke=function, asynchronous=asynchronous)
    assert stream.step()
    assert function.drain(60)
    (made,) = function.invocations
    assert json.loads(made.result.body) == {"errorMessage": "Function time out after 0.5 seconds"}


QUEUE_TRIGGER = {
    "triggerEnable": True,
    "asyncInvocationType": False,
    "eventRuleFilterPattern": "{}",
    "eventSourceConfig": {
        "eventSourceType": "MNS",
        "eventSourceParameters": {"sourceMNSParameters": {"QueueName": "orders", "IsBase64Decode": True}},
    },
}


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        # The SDK for Go writes null for what is not set.
        (dict.fromkeys(QUEUE_TRIGGER) | {"asyncInvocationType": True}, {"asyncInvocationType": True}),
        ({"triggerEnable": False}, {"triggerEnable": False}),
        ({"eventSourceConfig": {"eventSourceType": "Default", "eventSourceParameters": None}}, {}),
    ],
)
def test_an_update_of_a_trigger_keeps_what_it_does_not_name(given, changed):
    """A trigger from EventBridge keeps its source and its pattern."""
    assert change_config("eventbridge", QUEUE_TRIGGER, given) == {**QUEUE_TRIGGER, **changed}


def test_a_null_member_of_a_trigger_counts_as_missing():
    """A trigger without a switch is enabled."""
    switches = FunctionComputeSwitches()
    source = read_source("eventbridge", {**QUEUE_TRIGGER, "triggerEnable": None}, "", switches)
    assert source == read_source("eventbridge", QUEUE_TRIGGER, "", switches) is not None
