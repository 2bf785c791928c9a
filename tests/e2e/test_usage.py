"""What all commands of `hpoq` do alike where they are used wrongly, or where they cannot write."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import alilocal
from hpoq.clock import SystemClock
from hpoqctl.app import app
from support.budget import CI_BUDGET
from support.processes import run_program
from support.request import make_document
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
KEY = "00000000-0000-5000-8000-000000000000"


@pytest.mark.parametrize("command", ["check", "replay", "send --endpoint http://127.0.0.1:1"])
def test_an_empty_folder_is_wrong_usage(hpoq, tmp_path, command):
    """A folder without requests or events is reported, not taken for success."""
    (tmp_path / "README.md").write_text("no request")
    done = hpoq(*command.split(), tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} contains no files to read" in done.stderr.decode()


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.yaml"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path, name):
    """A data set in a folder of requests must not fill the memory: no more than one event's size is read."""
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse file, of which nothing is stored
    done = CliRunner().invoke(app, ["check", "--json", str(path)])
    (row,) = json.loads(done.output)["files"]
    assert (done.exit_code, [one["rule"] for one in row["violations"]]) == (1, ["body.too-large"])
    done = CliRunner().invoke(app, ["replay", str(path)])
    assert (done.exit_code, "more than 32 MiB" in done.output) == (2, True)


@pytest.mark.parametrize(
    "command", ["check", "replay", "send --endpoint http://127.0.0.1:1", "try", "status", "stop"]
)
def test_an_empty_name_is_not_the_current_folder(command, tmp_path, monkeypatch):
    """A script whose variable is unset must not check, run or send whatever is in its folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.json").write_text(json.dumps(make_document()))
    done = CliRunner().invoke(app, [*command.split(), ""])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "request.json" not in done.stderr


@pytest.mark.one_of("command", budget=CI_BUDGET)
@pytest.mark.parametrize("command", ["check", "replay", "send --endpoint http://127.0.0.1:1"])
def test_a_closed_standard_input_is_wrong_usage(command):
    code = f"import sys; sys.stdin = None; sys.argv = ['hpoq', *{command.split()!r}, '-']\n"
    done = run_python(code + "import hpoqctl; hpoqctl.main()")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("standard input is closed\n")


def test_init_asks_nobody_if_standard_input_is_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit, match="2"):
        app(["init", "request.yaml"])
    assert "Missing: --platform" in capsys.readouterr().err


def test_a_folder_that_cannot_be_created(hpoq, tmp_path):
    """If nothing can be written, a sentence says so."""
    (tmp_path / "file").write_text("")
    done = hpoq("contract", "--output", tmp_path / "file" / "below")
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: {tmp_path}/file/below cannot be used: Not a directory\n"


@pytest.mark.parametrize("example", ["{bad", "[]"])
def test_an_example_that_is_not_a_request(hpoq, tmp_path, example):
    (tmp_path / "bad.json").write_text(example)
    done = hpoq("contract", "--examples", tmp_path, "--output", tmp_path / "contract")
    assert done.returncode == 2
    assert f"--examples: {tmp_path}/bad.json" in done.stderr.decode()
    assert not (tmp_path / "contract").exists()


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize(
    "words", [("check",), ("check", "--github"), ("check", "--json"), ("replay", "--json")]
)
def test_text_outside_the_locale(hpoq, tmp_path, words):
    """A request in any script can be shown everywhere; machine output is valid JSON everywhere."""
    path = tmp_path / "\u8bad\u7ec3.json"
    path.write_text(json.dumps({**make_document(), "\u8bad\u7ec3": 1}, ensure_ascii=False), "utf-8")
    done = hpoq(*words, path, PYTHONIOENCODING="latin-1")
    assert done.returncode == (0 if words[0] == "replay" else 1)
    assert done.stderr == b""
    if "--json" in words:
        assert "\u8bad\u7ec3" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    else:
        assert b"unknown member" in done.stdout


def run_python(code):
    return run_program([sys.executable, "-c", code])


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this device")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["check", "--help"], ["explain"]])
def test_a_full_disk_ends_a_command_with_a_message(words):
    """What cannot be written is an error in one line, also if it is a help text."""
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "hpoqctl", *words]
        # Unbuffered output hides what Python does with the rest at its end.
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, env=buffered)
    assert (done.returncode, done.stderr) == (
        1,
        b"Error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.one_of("words", "package", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("words", "package"),
    [
        (["--help"], "click"),
        (["check", "x.json"], "rich"),
        (["contract"], "yaml"),
        (["package"], "packaging"),
        (["local"], "alilocal"),
    ],
)
def test_a_missing_extra_is_named(words, package):
    """Without a package of the extra `local`, the error names the package and the extra."""
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv = {['hpoq', *words]!r}\n"
    done = run_python(code + "import hpoqctl; hpoqctl.main()")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the package {package} is not installed" in done.stderr
    assert "pip install 'hpoq[local]'" in done.stderr


@pytest.mark.one_of("module", budget=CI_BUDGET)
@pytest.mark.parametrize("module", ["click", "hpoqctl.app", "hpoqctl.check", "rich"])
def test_ctrl_c_while_a_module_is_loaded_ends_with_130(module):
    """Ctrl-C right after the start of a command shows no traceback either."""
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.argv = ['hpoq', 'check', 'x.json']\n"
        "import hpoqctl; hpoqctl.main()"
    )
    done = run_python(code)
    assert (done.returncode, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr


def test_help_imports_no_command():
    """`hpoq --help` is fast, because it loads neither the function nor what only some commands need."""
    code = (
        "import sys; sys.argv = ['hpoq', '--help']\n"
        "import hpoqctl\n"
        "try:\n    hpoqctl.main()\n"
        "finally:\n"
        "    heavy = {'alilocal', 'fcruntime', 'hpoq', 'pydantic', 'requests', 'rich', 'yaml'}\n"
        "    sys.stderr.write(' '.join(sorted(heavy & sys.modules.keys())))"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


def test_a_command_at_a_local_cloud_loads_none():
    """It needs the local cloud's keys and names only; its services take a third of the start."""
    code = (
        "import sys; sys.argv = ['hpoq', 'dead', 'list', '--endpoint', 'http://127.0.0.1:9']\n"
        "import hpoqctl\n"
        "try:\n    hpoqctl.main()\n"
        "finally:\n"
        "    sys.stdout.write(' '.join({'alilocal.cloud', 'alilocal.fc', 'alilocal.paiautoml'} & sys.modules.keys()))"
    )
    done = run_python(code)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing answers at http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(("word", "meant"), [("chekc", "check"), ("reply", "replay"), ("Send", "send")])
def test_a_misspelt_command_gets_a_suggestion(hpoq, word, meant):
    """A command that does not exist is wrong usage, with the one that is probably meant."""
    done = hpoq(word)
    assert done.returncode == 2
    assert f"There is no command '{word}'. Did you mean hpoq {meant}?" in done.stderr.decode()


@pytest.mark.parametrize("module", ["hpoq", "hpoqctl"])
def test_python_runs_the_command(module):
    """`python -m` works for either package, where the script is not on the PATH."""
    done = run_program([sys.executable, "-m", module, "--version"])
    assert (done.returncode, done.stdout) == (0, f"hpoq, version {version('hpoq')}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(hpoq, shell):
    """The script calls hpoq back with the variable of its completion."""
    done = hpoq("completion", shell)
    assert done.returncode == 0
    assert b"_HPOQ_COMPLETE" in done.stdout


@pytest.mark.one_of("words", "found", budget=CI_BUDGET)
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("hpoq che", "check"),
        ("hpoq check --sam", "--sample"),
        ("hpoq explain guard", "guard.limit"),
    ],
)
def test_words_are_completed(words, found):
    """What the script asks for gets commands and options."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "_HPOQ_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = "import sys; sys.argv = ['hpoq']; import hpoqctl; hpoqctl.main()"
    done = run_program([sys.executable, "-c", code], env=environ)
    assert f"plain,{found}" in done.stdout.splitlines()


def test_the_hook_of_pre_commit_installs_what_the_command_needs():
    """The hook runs `hpoq check` with the packages of the extra `cli`."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    extra = re.search(r"^cli = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)[1]
    assert hook["entry"] == "hpoq check"
    assert hook["additional_dependencies"] == re.findall(r'"([^"]+)"', extra)


@pytest.mark.parametrize("command", ["check", "replay", "try", "status"])
def test_a_missing_file_is_reported_by_its_name(hpoq, command):
    """Some commands call their argument FILE, others PATH; the message has the name that was given."""
    done = hpoq(command, "absent.json")
    assert done.returncode == 2
    assert b"Invalid value: absent.json does not exist" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--key", KEY],
        ["audit"],
        ["resolve", KEY, "--none"],
        ["trials", "e"],
        ["stop", "k"],
        ["dead", "list"],
        ["dead", "show", "x"],
        ["redrive"],
    ],
    ids=" ".join,
)
def test_a_service_that_does_not_answer_is_named(words, monkeypatch):
    """Each command says what was tried and what to do, exits with 1, and gives no result of what it did not see."""
    monkeypatch.setattr(SystemClock, "sleep", lambda *_: None)
    done = CliRunner().invoke(app, [*words, "--endpoint", "localhost:1"])
    assert done.exit_code == 1
    assert "localhost:1" in done.output
    assert "Is `hpoq local` running?" in done.output
    assert not re.search(r"^(0 |No dead letter)", done.output, re.MULTILINE)


def test_a_store_is_named_without_its_password():
    """The message says which store does not answer, and keeps what is secret in its URL."""
    words = ["status", "--key", KEY, "--store", "redis://user:canary@127.0.0.1:1/0"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "redis://127.0.0.1:1/0 does not answer" in done.output) == (1, True)
    assert "canary" not in done.output


@pytest.mark.parametrize("command", ["status --key {}", "audit", "resolve {} --none", "forget {}"])
@pytest.mark.parametrize(
    ("code", "status"), [("OTSNoPermissionAccess", 403), ("OTSObjectNotExist", 404), ("OTSAuthFailed", 403)]
)
def test_a_store_that_refuses_a_call_is_not_reported_as_unreachable(command, code, status):
    """A missing table or permission must not send an operator to look for a fault of the network."""
    with alilocal.serve() as server:
        server.cloud.faults.add("status", service="tablestore", times=None, status=status, code=code)
        words = [*command.format(KEY).split(), "--endpoint", server.url]
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert code in done.output
    assert "refuses the call" in done.output
    assert "hpoq doctor" in done.output
    assert "network" not in done.output
    assert "Is `hpoq local` running?" not in done.output


def test_a_word_like_no_command_gets_no_suggestion(hpoq):
    """To suggest `stop` for `nope` would be worse than to suggest nothing."""
    assert "There is no command 'nope'. See hpoq --help." in hpoq("nope").stderr.decode()


@pytest.mark.one_of("words", budget=CI_BUDGET)
@pytest.mark.parametrize("words", [["check"], ["check", "--json"], ["replay"]])
def test_forced_colours_do_not_make_a_file_a_terminal(hpoq, tmp_path, words):
    """Many CI systems set FORCE_COLOR; a progress bar in their log would be pages of escape sequences."""
    for number in range(30):
        (tmp_path / f"{number}.json").write_text(json.dumps(make_document(f"key-{number}")))
    done = hpoq(*words, tmp_path, FORCE_COLOR="1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"\x1b[" in done.stdout) == ("--json" not in words)


def test_no_request_commands_the_terminal_of_who_looks_at_it(hpoq, tmp_path):
    """Names and values come from others; control characters in them are shown as question marks."""
    document = make_document(Name="a\x1b]0;title\x07b")
    config = document["experiment"]["HpoExperimentConfiguration"]
    config["platform_config"]["cmd"] = ["run ${x} \x9b2J"]
    config["search_space"] = {"${x}": {"_type": "choice", "_value": ["\x1b[31mred", "b\tc"]}}
    path = tmp_path / "request.json"
    path.write_text(json.dumps(document))
    for words in (["check", "--sample", "2"], ["replay"]):
        done = hpoq(*words, path)
        assert done.returncode == 0
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout.decode())
    assert "?[31mred" in hpoq("check", "--sample", "1", path).stdout.decode()


def _is_asleep(pid):
    """Return whether a process waits, or True if the machine has no /proc."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "S"


def test_ctrl_c_at_a_question_ends_with_130(tmp_path):
    """As everywhere else; and nothing is written."""
    terminal, stdin = os.openpty()
    command = [sys.executable, "-m", "hpoqctl", "init", tmp_path / "request.yaml"]
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr.read(8) == b"Platform"
        # A signal just before the read that waits for the answer does not end it.
        wait_until(lambda: _is_asleep(process.pid))
        for _ in range(6):
            process.send_signal(signal.SIGINT)
            # A second signal while the process ends would kill it, however slow the machine is.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
                break
        process.kill()
    assert process.returncode == 130
    os.close(terminal)
    os.close(stdin)
    assert list(tmp_path.iterdir()) == []
