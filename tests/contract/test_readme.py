"""The README and every other document of the repository: commands, links, examples and tables are true."""

import base64
import binascii
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import sys
from dataclasses import fields
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner
from mns.account import Account
from mns.queue import QueueMeta
from mns.subscription import SubscriptionMeta
from mns.topic import TopicMessage

import alilocal
from alilocal.smq.message import Outgoing
from hpoq.contract.request import parse_request
from hpoq.settings import PREFIX, Settings
from hpoqctl.app import app
from hpoqctl.schema.events import OUTCOMES
from support.budget import CI_BUDGET
from support.deployment import TOPIC, create_resources
from support.processes import run_program
from support.request import REQUEST
from support.tools import NODE_MODULES, need_node

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EVENTS = (ROOT / "events" / "README.md").read_text()
HPOQ = ROOT / "functions" / "hpoq"
LISTED = run_program(["git", "ls-files", "-z", "*.md"], cwd=ROOT, check=True).stdout
DOCUMENTS = {name: (ROOT / name).read_text() for name in LISTED.split("\0") if name}

# Commands of other programs, by their first words, and where they are checked.
CHECKED_ELSEWHERE = {
    ("alilocal",): "test_alilocal_commands_exist_as_written",
    ("bash", ".ci/run"): "the file exists",
    ("check-jsonschema",): "the program is not hpoq's",
    ("cp",): "the shell",
    ("export",): "the shell",
    ("npm", "install"): "test_deployment_guide.py",
    ("mypy",): ".ci/run",
    ("npx",): "the program is not hpoq's",
    ("pip", "install"): "test_extras_exist",
    ("python", "-m", "alilocal.scaffold"): "the test of the page that shows it",
    ("python", "-m", "fcruntime"): "test_fcruntime_readme.py",
    ("python", "tests/benchmarks"): "test_scripts_exist_as_written",
    ("python", "tests/e2e/daytwo.py"): "test_scripts_exist_as_written",
    ("python", "tests/mutation"): "test_scripts_exist_as_written",
    ("python", "tests/reliability/events.py"): "test_scripts_exist_as_written",
    ("python", "tests/reliability/schedules.py"): "test_scripts_exist_as_written",
    ("python", "tests/reliability/soak.py"): "test_scripts_exist_as_written",
    ("python3", "-m", "venv"): ".ci/run",
    ("python3", "infra/serverless/release.py"): "test_deployment_guide.py",
    ("ruff",): ".ci/run",
    ("s",): "test_deployment_guide.py",
    ("TEST_BUDGET=10", "pytest"): ".ci/run",
    ("pytest",): ".ci/run",
    ("terraform",): "test_deployment_guide.py",
}


def format_default(name):
    """Return the default of the setting `name` as the tables show it."""
    default = getattr(Settings(), name)
    if default in (None, ""):
        return ""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def settings_table():
    """Return the README's table of settings, as the code has it."""
    lines = ["| variable | default | |", "|---|---|---|"]
    for setting in fields(Settings):
        variable, about = PREFIX + setting.name.upper(), setting.metadata["description"]
        lines.append(f"| `{variable}` | {format_default(setting.name)} | {about} |")
    return "\n".join(lines)


def test_settings_table():
    """The README lists every setting, with its default and its meaning."""
    listed = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert listed is not None
    assert listed.group(1) == settings_table()


def slug(heading):
    """Return the anchor that a heading has on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def without_code(text):
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", text)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    """Every relative link leads to a file or folder of the repository, and to a heading of it if it names one."""
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", without_code(DOCUMENTS[name])):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", without_code(target.read_text()))
            assert anchor in map(slug, headings), (path, anchor)


def test_every_reader_is_sent_to_a_guide():
    """The README links the guides of producers, of engineers at a laptop, of operators and of maintainers."""
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert {
        "events/README.md",
        "infra/alilocal/README.md",
        "infra/serverless/README.md",
        "functions/hpoq/RUNBOOK.md",
        "functions/hpoq/README.md",
        ".LICENSE",
        ".CHANGELOG.md",
    } <= set(targets)


def test_the_readme_is_short():
    """What comes before the table of settings fits on a few screens."""
    assert README.partition("<!-- settings -->")[0].count("\n") <= 90


def commands():
    """Yield each command in a shell block of a document, as its words; `.venv/bin/` is left out."""
    for name, text in DOCUMENTS.items():
        for block in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", text):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                command = []
                for word in [*words, "&&"]:
                    if word == "&&":
                        if command:
                            yield pytest.param(tuple(command), id=f"{name}: {' '.join(command)}")
                        command = []
                    else:
                        command.append(word.removeprefix(".venv/bin/"))


COMMANDS = list(commands())


def commands_of(*beginning):
    return [one for one in COMMANDS if one.values[0][: len(beginning)] == beginning]


def test_every_command_is_checked():
    """A command is either hpoq's, and checked below, or it is known where it is checked."""
    known = [("hpoq",), *CHECKED_ELSEWHERE]
    assert [
        one.id for one in COMMANDS if not any(one.values[0][: len(first)] == first for first in known)
    ] == []


def find_command(words):
    """Return the command that `words` name, with its group's name left out, and the words after it."""
    command = app
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.get_command(click.Context(command), words[0]), words[1:]
    return command, words


def find_mistake(words):
    """Return what is wrong with an `hpoq` command, or None if the program accepts it."""
    command, rest = find_command(words[1:])
    if command is None:
        return "no such command"
    try:
        command.make_context(words[1], list(rest))
    except click.ClickException as exc:
        return exc.format_message()
    return None


def test_hpoq_commands_parse_as_written():
    """Each `hpoq` command is one that the program accepts, option for option and value for value."""
    every = commands_of("hpoq")
    assert len(every) > 50
    assert [(one.id, mistake) for one in every if (mistake := find_mistake(one.values[0]))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_inline_commands_exist(name):
    """An `hpoq` command in running text names a command and options that the program has."""
    for text in re.findall(r"`hpoq ([a-z][^`]*)`", without_code(DOCUMENTS[name])):
        words = text.split()
        # `hpoq dead list|show` names several commands of a group.
        command, _ = find_command([word.partition("|")[0] for word in words])
        assert command is not None, text
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, text


def is_offline(words):
    """Return whether a command needs no cloud, and only files that the repository has."""
    files = [word for word in words[2:] if "/" in word or word.endswith(".json")]
    return words[1] in ("check", "replay") and files and all((ROOT / file).exists() for file in files)


@pytest.mark.parametrize("words", [one for one in commands_of("hpoq") if is_offline(one.values[0])])
def test_offline_commands_run_as_written(words, monkeypatch):
    """Commands that need no cloud do what the document says; exit code 1 is for requests that are invalid."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert done.exit_code == (1 if words[1:] == ("check", "events/requests") else 0), done.stdout[-500:]
    assert done.stderr == ""


def run_in_this_process(path, monkeypatch):
    """Return what a program prints with `--help`, without a process, whose imports take longer than all else.

    The modules of its folder are forgotten afterwards, because their names are those of scripts as well.
    """
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [str(path if path.is_dir() else path.parent), *sys.path])
    before, printed = set(sys.modules), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(f"{ROOT}/tests/"):
                del sys.modules[name]
    assert not ended.value.code
    return printed.getvalue()


@pytest.mark.parametrize("words", commands_of("alilocal"))
def test_alilocal_commands_exist_as_written(words, monkeypatch):
    """Each `alilocal` command is one that the program has, option for option."""
    text = run_in_this_process(Path(alilocal.__file__).with_name("__main__.py"), monkeypatch)
    assert all(word in text for word in words if word.startswith("-"))


@pytest.mark.parametrize(
    "script", sorted({one.values[0][1] for one in commands_of("python") if one.values[0][1] != "-m"})
)
def test_scripts_exist_as_written(script, monkeypatch):
    """Each script of the repository has the options that are shown; modules have tests of their own."""
    text = run_in_this_process(ROOT / script, monkeypatch)
    shown = [word for one in commands_of("python", script) for word in one.values[0] if word.startswith("-")]
    assert all(word in text for word in shown)


def test_extras_exist():
    """Every extra that a document installs is one of the project, and so are those with a public name."""
    project = (ROOT / "pyproject.toml").read_text()
    extras = set(
        re.findall(r"^(\w+) = \[$", project.partition("[project.optional-dependencies]")[2], re.MULTILINE)
    )
    assert set(re.findall(r"(?:hpoq|\.)\[(\w+)\]'", "".join(DOCUMENTS.values()))) <= extras
    assert {"cli", "local", "trials", "redis", "otel", "powertools", "dev"} <= extras


def test_ci_runs_the_first_command():
    """The first command of the README is what CI runs first, in a fresh environment."""
    first = next(line for line in README.splitlines() if line.startswith("python3 -m venv"))
    script = (ROOT / ".ci" / "run").read_text()
    for command in first.split(" && ")[1:]:
        program, *words = command.removeprefix(".venv/bin/").split()
        assert f'bin/{program}" {" ".join(words)}\n' in script


def test_every_part_is_explained():
    """The maintainers' guide has a row for every module and package of the function, and no other row."""
    guide = (HPOQ / "README.md").read_text().partition("## The parts")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE)
    parts = {path.stem for path in HPOQ.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(listed) == sorted(parts - {"__init__"})


def test_the_example_of_a_test_passes(tmp_path):
    """The example in the maintainers' guide is a file that pytest runs: both of its tests pass."""
    (code,) = re.findall(r"```python\n(.*?)```", (HPOQ / "README.md").read_text(), re.DOTALL)
    (tmp_path / "test_example.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"]
    # What is installed beside pytest would take longer to load than the example to run.
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = run_program(command, cwd=tmp_path, env=environ)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_shell_keeps_the_placeholder_of_init():
    """In the example of `hpoq init`, a shell leaves the parameter in the command as it is."""
    line = next(line for line in EVENTS.splitlines() if line.startswith("hpoq init"))
    command = ["bash", "-c", f'hpoq() {{ printf "%s\\n" "$@"; }}; {line}']
    assert "--lr=${lr}'" in run_program(command, check=True).stdout


def test_the_example_of_a_request_is_valid():
    """The request that producers are shown breaks no rule and raises no warning."""
    document = example("json", '"schemaVersion"')
    assert parse_request(document.encode()).warnings == ()


def test_the_examples_of_guards_and_stops_are_valid():
    """The example of a guard fits into the example of a request, and each example of a stop is a message."""
    request = json.loads(example("json", '"schemaVersion"'))
    guarded = {**request, **json.loads("{" + example("json", '"guard"') + "}")}
    stops = [code for code in re.findall(r"```json\n(.*?)```", EVENTS, re.DOTALL) if '"stop"' in code]
    assert len(stops) == 2
    for document in (json.dumps(guarded), *stops):
        assert parse_request(document.encode()).warnings == ()


def test_the_example_of_an_event_is_valid():
    """The event that consumers are shown matches its schema, and every member of `data` is explained."""
    event = json.loads(example("json", '"specversion"'))
    schema = json.loads((ROOT / "events" / "contract" / "created.schema.json").read_text())
    jsonschema.validate(event, schema)
    table = EVENTS.partition("| member of `data` |")[2].partition("\n\n")[0]
    explained = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1:2][0])
    }
    described = set()
    for outcome in OUTCOMES:
        schema = json.loads((ROOT / "events" / "contract" / f"{outcome}.schema.json").read_text())
        described |= set(schema["$defs"]["Data"]["properties"])
    assert explained == described


PRODUCERS = {"python": [sys.executable, "-"], "bash": ["bash", "-euo", "pipefail", "-s"], "js": ["node", "-"]}


def example(language, containing=""):
    """Return the first example of `language` in the guide that has the text `containing`."""
    return next(
        code for code in re.findall(rf"```{language}\n(.*?)```", EVENTS, re.DOTALL) if containing in code
    )


def environment(server):
    return {
        "PATH": os.environ["PATH"],
        "NODE_PATH": str(NODE_MODULES),
        "SMQ_ENDPOINT": server.url,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": server.cloud.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": server.cloud.access_key_secret,
    }


COPIED = (ROOT / "events" / "requests" / "maxcompute-table.json").read_text()
"""The request that the README copies, which has a key of its own."""


@pytest.mark.one_of("request_text", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("language", "request_text"), [(one, text) for one in PRODUCERS for text in (REQUEST, COPIED)]
)
def test_producers_in_every_language(language, request_text, tmp_path):
    """Each example, unchanged, puts the request into the queue, signed, and prints its message id."""
    if language == "js":
        need_node("@alicloud/mns")
    code = example(language)
    (tmp_path / "request.json").write_text(request_text)
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("hpo-requests")
        done = run_program(PRODUCERS[language], input=code, cwd=tmp_path, env=environment(server))
        assert done.returncode == 0, done.stderr
        (message,) = queue.messages
    assert message.message_id in done.stdout
    sent = json.loads(base64.b64decode(message.body))
    assert sent["experiment"] == json.loads(request_text)["experiment"]


def test_the_example_of_a_built_request():
    """The builder's example makes a request without warnings, and prints the commands of its draws."""
    done = run_program([sys.executable, "-"], input=example("python", "build_request"))
    warnings, *draws = done.stdout.splitlines()
    assert (done.returncode, warnings, len(draws)) == (0, "[]", 3), done.stderr
    assert all("--lr=0.0" in line and "${" not in line for line in draws)


CONSUMERS = {
    "python": ("receive_message(5)", "receive_message(1)"),
    "js": ("'my-events', 5", "'my-events', 1"),
}
"""The waiting call of each example for consumers, and the same call with a shorter wait."""


@pytest.mark.parametrize("language", CONSUMERS)
def test_consumers_in_every_language(language):
    """Each example, waiting a shorter time, prints every event that a subscribed queue holds, and deletes it."""
    if language == "js":
        need_node("@alicloud/mns")
    waits, shorter = CONSUMERS[language]
    with alilocal.serve() as server:
        cloud = server.cloud
        create_resources(cloud)
        account = Account(server.url, cloud.access_key_id, cloud.access_key_secret)
        account.get_queue("my-events").create(QueueMeta())
        arn = f"acs:mns:{cloud.region}:{cloud.account_id}:queues/my-events"
        account.get_subscription(TOPIC, "to-my-events").subscribe(
            SubscriptionMeta(arn, notify_content_format="SIMPLIFIED")
        )
        event = json.loads(example("json", '"specversion"'))
        for name in ("测试", "second"):
            event["data"]["name"] = name
            account.get_topic(TOPIC).publish_message(TopicMessage(json.dumps(event)))
        done = run_program(
            PRODUCERS[language],
            input=example(language, waits).replace(waits, shorter),
            env=environment(server),
        )
        account.get_client().close_connection()
        assert done.returncode == 0, done.stderr
        line = " ".join([event["type"], event["data"]["idempotencyKey"], event["subject"]])
        assert done.stdout.splitlines() == [line, line]
        assert cloud.queues["my-events"].messages == []


def test_the_python_sdk_must_not_decode_base64():
    """With its default encoding the SDK never returns the event; by its length, it raises no error either."""
    events = [json.dumps({"type": "com.hpoq.experiment.created.v1", "id": "x" * size}) for size in range(4)]
    garbage = 0
    with alilocal.serve() as server:
        cloud = server.cloud
        account = Account(server.url, cloud.access_key_id, cloud.access_key_secret)
        for number, event in enumerate(events):
            cloud.queues.create(f"events-{number}").put(Outgoing(event))
            with contextlib.suppress(binascii.Error):
                body = account.get_queue(f"events-{number}").receive_message(1).message_body
                assert b"hpoq" not in body
                garbage += 1
        account.get_client().close_connection()
    assert garbage == 1
