"""`--init`, `env`, `--version` and the ways in: what a stranger needs to use the local cloud alone."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

import alilocal
from alilocal.environment import print_environment
from alilocal.fc.handlers import find_handler_problem
from alilocal.initfile import init_from
from alilocal.rostemplate import BadInit
from support.processes import run_program

ROOT = Path(alilocal.__file__).parents[2]
DESCRIBED = """
queues:
  orders: {visibility_timeout: 60, dead_letter: {queue: dead, max_receive_count: 3}}
  dead:
topics:
  results:
    subscriptions:
      copy: {queue: dead, filter_tag: bad, notify_content_format: SIMPLIFIED}
tables:
  rows: {primary_key: {key: STRING, number: INTEGER}, time_to_live: 86400}
roles:
  worker:
    policies:
      - {Version: '1', Statement: [{Effect: Allow, Action: 'mns:*', Resource: '*'}]}
buses:
  own:
    rules:
      all: {queue: orders}
functions:
  echo: {handler: index.handler, code: ./code, environment: {STAGE: local}, stream: {queue: orders}}
"""
ROS = {
    "ROSTemplateFormatVersion": "2015-09-01",
    "Parameters": {"Name": {"Type": "String"}, "Other": {"Type": "String", "Default": "other"}},
    "Resources": {
        "Queue": {
            "Type": "ALIYUN::MNS::Queue",
            "Properties": {"QueueName": {"Ref": "Name"}, "VisibilityTimeout": 90},
        },
        "Copy": {
            "Type": "ALIYUN::MNS::Subscription",
            "Properties": {
                "TopicName": {"Fn::Sub": "${Other}-topic"},
                "SubscriptionName": "copy",
                "Endpoint": {
                    "Fn::Join": [
                        ":",
                        [
                            "acs:mns",
                            {"Ref": "ALIYUN::Region"},
                            {"Ref": "ALIYUN::TenantId"},
                            {"Fn::Sub": "queues/${Name}"},
                        ],
                    ]
                },
            },
        },
        "Project": {"Type": "ALIYUN::SLS::Project", "Properties": {"Name": "p"}},
    },
}


@pytest.fixture
def cloud():
    with alilocal.LocalCloud() as running:
        yield running


def write(folder, name, text):
    file = folder / name
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    return file


def test_everything_that_a_file_describes_is_created(cloud, tmp_path):
    """Resources of every kind are there, with their attributes, and the stream feeds the function."""
    (tmp_path / "code").mkdir()
    write(tmp_path / "code", "index.py", "def handler(event, context):\n    return event\n")
    file = write(tmp_path, "local.yaml", DESCRIBED)
    made = init_from(cloud, file, {})
    assert cloud.queues["orders"].attributes.visibility_timeout == 60
    assert cloud.queues["orders"].dead_letter_policy.queue_name == "dead"
    assert cloud.topics["results"].subscriptions["copy"].attributes.filter_tag == "bad"
    assert cloud.tables.get("rows").options.time_to_live == 86400
    assert cloud.credentials.roles["worker"]
    cloud.buses.put("own", {"id": "1", "source": "s", "type": "t", "specversion": "1.0"})
    [stream] = made.streams
    stream.start()
    assert stream.wait_idle(60)
    assert b'"id' in cloud.functions["echo"].invocations[0].event


def test_a_second_run_leaves_what_exists(cloud, tmp_path):
    """Together with --state, the file is read at each start; messages and rows stay."""
    file = write(
        tmp_path, "local.json", {"queues": ["orders"], "tables": {"t": {"primary_key": {"k": "STRING"}}}}
    )
    init_from(cloud, file, {})
    cloud.queues["orders"].send("kept")
    init_from(cloud, file, {})
    assert len(cloud.queues["orders"].messages) == 1


def test_a_template_of_ros_is_read_with_its_functions(cloud, tmp_path):
    """Ref, Fn::Sub and Fn::Join are resolved; a type that is not here is left out with a note."""
    made = init_from(cloud, write(tmp_path, "template.json", ROS), {"Name": "orders"})
    assert cloud.queues["orders"].attributes.visibility_timeout == 90
    assert cloud.topics["other-topic"].subscriptions["copy"].attributes.queue_name == "orders"
    assert made.notes == ["Project is left out: the local cloud has no ALIYUN::SLS::Project"]


def test_a_python_file_is_called_with_the_cloud(cloud, tmp_path):
    """`init(cloud)` can do what a description cannot."""
    init_from(
        cloud, write(tmp_path, "hook.py", "def init(cloud):\n    cloud.queues.create('q').send('x')\n"), {}
    )
    assert len(cloud.queues["q"].messages) == 1


@pytest.mark.parametrize(
    ("name", "content", "reported"),
    [
        ("a.yaml", "queues: {orders: {colour: red}}", "queues.orders: colour: is unknown."),
        ("a.yaml", "tables: {t: {}}", "tables.t: primary_key: is required."),
        ("a.yaml", "roles: {r: {policy: []}}", "roles.r: policy: is unknown. Use one of policies."),
        ("a.yaml", "buses: {b: {rule: {}}}", "buses.b: rule: is unknown. Use one of description, rules."),
        ("a.yaml", "functions: {f: {}}", "functions.f: handler: is required."),
        ("a.yaml", "functions: {f: {handler: a.b, role: none}}", "functions.f: role: 'none' does not exist."),
        ("a.yaml", "queues: {orders: {visibility_timeout: 0}}", "queues.orders: "),
        ("a.yaml", "queues: {orders: {dead_letter: {queue: none, max_receive_count: 1}}}", "queues.orders: "),
        ("a.yaml", "queue: {}", "queue: is unknown"),
        ("a.yaml", "queues: 7", "queues: must be an object"),
        ("a.yaml", "tables: {t: {primary_key: {k: TEXT}}}", "tables.t: primary_key.k: 'TEXT' is not one of"),
        ("a.yaml", "functions: {f: {handler: a.b, code: ./none}}", "none is not a folder"),
        ("a.yaml", "a: [", "is not valid YAML"),
        ("a.json", "{", "a.json: "),
        ("a.json", "[]", "must be an object"),
        ("a.json", json.dumps(ROS), "Add --parameter Name=VALUE"),
        ("a.py", "x = 1", "has no function init(cloud)"),
    ],
)
def test_a_mistake_is_named_with_its_place(cloud, tmp_path, name, content, reported):
    """The message says where in the file the mistake is."""
    with pytest.raises(BadInit) as caught:
        init_from(cloud, write(tmp_path, name, content), {})
    assert reported in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (
            "queues: {q: {visibility_timeout: many}}",
            'queues.q: visibility_timeout: "many" is not a whole number.',
        ),
        (
            "queues: {q: {visibility_timeout: [1]}}",
            "queues.q: visibility_timeout: [1] is not a whole number.",
        ),
        ("queues: {q: {delay_seconds: true}}", "queues.q: delay_seconds: true is not a whole number."),
        (
            "queues: {q: {delay_seconds: 2026-01-01}}",
            'queues.q: delay_seconds: "2026-01-01" is not a whole number.',
        ),
        ("queues: {q: {logging_enabled: 1}}", "queues.q: logging_enabled: 1 is not true or false."),
        ("queues: {q: {dead_letter: 5}}", "queues.q: dead_letter: 5 is not an object."),
        (
            "queues: {q: {dead_letter: {queue: q, max_receive_count: x}}}",
            'queues.q: dead_letter.max_receive_count: "x" is not a whole number.',
        ),
        ("queues: {q: {dead_letter: {queue: q}}}", "queues.q: dead_letter.max_receive_count: is required."),
        ("queues: {q: {dead_letter: {queue: q, max_receive_count: 1, a: 1}}}", "dead_letter.a: is unknown."),
        ("queues: {5: }", "queues: 5 is not a name. Write the name as a string."),
        ("queues: [{a: 1}]", "queues: {'a': 1} is not a name."),
        (
            "topics: {t: {maximum_message_size: x}}",
            'topics.t: maximum_message_size: "x" is not a whole number.',
        ),
        (
            "topics: {t: {subscriptions: {c: {queue: 5}}}}",
            "topics.t: subscriptions.c.queue: 5 is not a string. Put it in quotes.",
        ),
        (
            "topics: {t: {subscriptions: {c: {endpoint: a, notify_content_format: XLM}}}}",
            'topics.t: subscriptions.c.notify_content_format: "XLM" is not one of XML, JSON, SIMPLIFIED, STREAM.',
        ),
        ("tables: {t: {primary_key: 5}}", "tables.t: primary_key: 5 is not "),
        ("tables: {t: {primary_key: [a]}}", 'tables.t: primary_key[0]: "a" is not an object.'),
        (
            "tables: {t: {primary_key: {a: 5}}}",
            "tables.t: primary_key.a: 5 is not a string. Put it in quotes.",
        ),
        (
            "tables: {t: {primary_key: {a: STRING}, time_to_live: x}}",
            'time_to_live: "x" is not a whole number.',
        ),
        ("roles: {r: {policies: 5}}", "roles.r: policies: 5 is not "),
        ("roles: {r: {policies: [5]}}", "roles.r: policies[0]: 5 is not an object."),
        ("buses: {b: {description: 5}}", "buses.b: description: 5 is not a string."),
        ("buses: {b: {rules: {a: {queue: 5}}}}", "buses.b: rules.a.queue: 5 is not a string."),
        ("buses: {b: {rules: {a: {pattern: 5}}}}", "buses.b: rules.a.pattern: 5 is not an object."),
        ("functions: {f: {handler: 5}}", "functions.f: handler: 5 is not a string."),
        ("functions: {f: {handler: a.b, code: 5}}", "functions.f: code: 5 is not a path."),
        ("functions: {f: {handler: a.b, timeout: long}}", 'functions.f: timeout: "long" is not a number.'),
        (
            "functions: {f: {handler: a.b, environment: [A]}}",
            'functions.f: environment: ["A"] is not an object.',
        ),
        (
            "functions: {f: {handler: a.b, environment: {A: 5}}}",
            "functions.f: environment.A: 5 is not a string.",
        ),
        ("functions: {f: {handler: a.b, stream: q}}", 'functions.f: stream: "q" is not an object.'),
        (
            "functions: {f: {handler: a.b, stream: {queue: 5}}}",
            "functions.f: stream.queue: 5 is not a string.",
        ),
        (
            "functions: {f: {handler: a.b, stream: {queue: q, batch_size: x}}}",
            'functions.f: stream.batch_size: "x" is not a whole number.',
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_named(cloud, tmp_path, content, reported):
    """The message has the member, the value and what it must be, for every member that is read."""
    with pytest.raises(BadInit) as caught:
        init_from(cloud, write(tmp_path, "local.yaml", content), {})
    assert reported in str(caught.value)


@pytest.mark.parametrize("handler", ["index.handler", "package.inner.handler", "package/inner.handler"])
def test_a_handler_that_exists_has_no_problem(tmp_path, handler):
    """A module, a module of a package, and a name that a module gets by an import are found without running them."""
    (tmp_path / "package").mkdir()
    write(tmp_path, "index.py", "from other import *\nraise RuntimeError\n")
    write(tmp_path / "package", "__init__.py", "raise RuntimeError\n")
    write(tmp_path / "package", "inner.py", "from other import work as handler\n")
    assert find_handler_problem(handler, tmp_path) is None


@pytest.mark.parametrize(
    ("handler", "reported"),
    [
        ("handler", "'handler' is not of the form MODULE.FUNCTION, such as index.handler"),
        ("nowhere.handler", "there is no module nowhere in {folder}"),
        ("index.nothing", "the module index has no nothing"),
        ("broken.handler", "the module broken cannot be read: "),
        ("index.inner.handler", "there is no module index.inner in {folder}"),
    ],
)
def test_the_problem_of_a_handler_that_cannot_be_called_is_found(tmp_path, handler, reported):
    """The problem names the module or the member that is missing or cannot be read."""
    write(tmp_path, "index.py", "def handler(event, context):\n    return event\n")
    write(tmp_path, "broken.py", "def handler(event\n")
    assert reported.format(folder=tmp_path) in find_handler_problem(handler, tmp_path)


def test_a_handler_that_cannot_be_called_is_reported_at_the_start(tmp_path):
    """`alilocal --function` warns before the first message comes, and starts: the code may be written later."""
    command = [sys.executable, "-m", "alilocal", "--port", "0", "--from", "orders", "--code", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--function", "index.handler"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        ready = json.loads(process.stdout.readline())
        process.terminate()
        warned = process.stderr.read()
    assert ready["smq"]
    assert f"alilocal: --function: {find_handler_problem('index.handler', tmp_path)}" in warned


@pytest.fixture
def started(tmp_path):
    """Starts `alilocal` with a file; gives its endpoints."""
    file = write(tmp_path, "local.yaml", "queues: [orders]\n")
    command = [sys.executable, "-m", "alilocal", "--port", "0", "--init", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield json.loads(process.stdout.readline())
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_the_command_creates_before_it_is_ready_and_env_finds_it(started):
    """Once the line of JSON is out the queues are there; `env` prints lines that a shell can read."""
    [queue] = requests.get(f"{started['control']}/queues", timeout=60).json()["queues"]
    assert queue["name"] == "orders"
    port = started["smq"].rpartition(":")[2]
    command = [sys.executable, "-m", "alilocal", "env", "--port", port]
    lines = run_program(command, check=True).stdout
    shell = f'{lines}\necho "$ALIBABA_CLOUD_ACCESS_KEY_ID $FC_CLIENT_CUSTOM_ENDPOINT"'
    shown = run_program(["sh", "-c", shell], check=True).stdout
    assert shown.split() == [started["accessKeyId"], started["smq"]]


def test_env_without_a_running_cloud_says_how_to_start_one():
    """Nothing answers on port 1."""
    with pytest.raises(SystemExit, match=r"(?s)127\.0\.0\.1:1\b.*Start it with: alilocal"):
        print_environment(["--port", "1"])


def test_env_asks_no_proxy_and_writes_an_address_of_ipv6_in_brackets(monkeypatch, capsys):
    """A proxy of the environment cannot reach this machine's loopback, and a URL needs the brackets."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    try:
        server = alilocal.serve(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with server:
        for host in ("::1", "[::1]"):
            print_environment(["--host", host, "--port", str(server.port)])
            assert f"export ALILOCAL_URL='http://[::1]:{server.port}'\n" in capsys.readouterr().out, host


@pytest.mark.parametrize("health", ["[]", "{}", "null"])
def test_env_recognizes_another_program(health, monkeypatch):
    """What answers may be another program, whose JSON is not a local cloud's."""
    monkeypatch.setattr(http.client.HTTPConnection, "request", lambda *_: None)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", lambda _: io.StringIO(health))
    with pytest.raises(SystemExit, match="is not a local cloud"):
        print_environment(["--port", "1"])


@pytest.mark.parametrize(
    ("options", "reported"),
    [
        (["--parameter", "x"], "--parameter takes NAME=VALUE, not 'x'"),
        (["--parameter", "=x"], "--parameter takes NAME=VALUE, not '=x'"),
        (["--parameter", "x=1"], "--parameter needs --init FILE"),
        (["--init", "good.yaml", "--parameter", "x=1"], "x is not a parameter of any template"),
        (["--init", "missing.yaml"], "missing.yaml"),
        (["--init", "bad.yaml"], "queue: is unknown"),
        (["--init", "bytes.yaml"], "bytes.yaml: 'utf-8'"),
        (["--init", "bad.yaml", "--parameter", "x"], "--parameter takes NAME=VALUE"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_command(tmp_path, monkeypatch, read_refusal, options, reported):
    """The command ends with one line that names the mistake."""
    write(tmp_path, "bad.yaml", "queue: {}\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    write(tmp_path, "good.yaml", "queues: {}\n")
    monkeypatch.chdir(tmp_path)
    assert reported in read_refusal(["--port", "0", *options])


def test_the_version_is_that_of_the_distribution():
    """`alilocal --version` prints the version that is installed."""
    command = [sys.executable, "-m", "alilocal", "--version"]
    done = run_program(command, check=True)
    assert done.stdout == f"alilocal {version('hpoq')}\n"


def test_the_root_points_to_console_and_health():
    """A program gets the ways in as JSON, and a browser the console; a signed call of a service goes to it."""
    with alilocal.serve() as server:
        ways = requests.get(f"{server.url}/", timeout=60).json()
        assert all(requests.get(server.url + path, timeout=60).ok for path in ways.values())
        page = requests.get(f"{server.url}/", headers={"Accept": "text/html"}, timeout=60)
        assert page.url == f"{server.url}/_console"
        unsigned = requests.get(f"{server.url}/", headers={"x-mns-version": "2015-06-06"}, timeout=60)
        assert unsigned.status_code >= 400


def test_the_control_api_lists_what_is_supported():
    """`operations` has every operation of every service, and what is missing of it."""
    with alilocal.serve() as server:
        found = requests.get(f"{server.url}/_alilocal/operations", timeout=60).json()["services"]
        assert {one["name"] for one in found} == set(server.cloud.services._fields)
        listed = {one["name"]: one for service in found for one in service["operations"]}
        assert listed["CreateFunction"] == {"name": "CreateFunction", "supported": True, "missing": ""}
        assert not listed["CreateAutofeExperiment"]["supported"]
        assert listed["ListInstances"]["missing"]


def test_the_plugin_loads_nothing_that_a_test_does_not_use():
    """pytest loads the plugin at each start. Apart from pytest, it loads two small modules."""
    code = (
        "import sys, pytest; before = set(sys.modules); import alilocal.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = run_program([sys.executable, "-c", code], check=True)
    assert done.stdout.split() == ["alilocal", "alilocal.pytest_plugin"]


NEEDED = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")
BARE = """
import importlib, pkgutil, sys
sys.path = [path for path in sys.path if "site-packages" not in path] + [sys.argv[1]]
import alilocal
for module in pkgutil.walk_packages(alilocal.__path__, "alilocal."):
    if not module.name.endswith(("__main__", "pytest_plugin")):
        importlib.import_module(module.name)
with alilocal.serve() as server:
    import json, pathlib
    from alilocal.initfile import init_from
    file = pathlib.Path(sys.argv[1], "local.json")
    file.write_text(json.dumps({"queues": ["orders"]}))
    init_from(server.cloud, file, {})
    server.cloud.queues["orders"].send("x")
others = {name.partition(".")[0] for name in sys.modules} & {"yaml", "pydantic", "structlog", "click", "hpoq"}
print(sorted(others))
"""


def test_it_needs_requests_alone(tmp_path):
    """Every module loads where only `requests` and what it needs are installed, and YAML is asked for clearly."""
    import importlib.util

    for name in NEEDED:
        place = Path(importlib.util.find_spec(name).origin).parent
        (tmp_path / name).symlink_to(place)
    (tmp_path / "alilocal").symlink_to(Path(alilocal.__file__).parent)
    command = [sys.executable, "-I", "-S", "-c", BARE, str(tmp_path)]
    done = run_program(command, env={"PATH": os.defpath})
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    yaml = "import sys; sys.path.append(sys.argv[1]); from pathlib import Path; import alilocal; "
    yaml += "from alilocal.initfile import init_from; init_from(alilocal.LocalCloud(), Path(sys.argv[2]), {})"
    file = write(tmp_path, "a.yaml", "queues: [q]\n")
    asked = run_program([sys.executable, "-I", "-S", "-c", yaml, str(tmp_path), str(file)])
    assert "YAML needs the package PyYAML" in asked.stderr


def test_the_terminal_shows_why_a_function_of_the_file_fails(tmp_path):
    """A failed call shows its traceback on standard error, as with `--function`."""
    (tmp_path / "index.py").write_text("def handler(event, context):\n    raise ValueError('it broke')\n")
    content = "queues: [orders]\nfunctions:\n  f: {handler: index.handler, stream: {queue: orders}}\n"
    file = write(tmp_path, "local.yaml", content)
    command = [sys.executable, "-m", "alilocal", "--port", "0", "--init", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.terminate)
        watchdog.start()
        try:
            control = json.loads(process.stdout.readline())["control"]
            requests.post(
                f"{control}/queues/orders/messages", json={"body": "x"}, timeout=60
            ).raise_for_status()
            assert any("ValueError: it broke" in line for line in iter(process.stderr.readline, ""))
        finally:
            watchdog.cancel()
            process.terminate()
