"""`hpoq try` as a new user runs it: from a request to the best parameters, in one command."""

import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest

from support.budget import CI_BUDGET
from support.processes import HPOQ_COMMAND
from support.trials import local_configuration, processes_of, run_config
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
BRANIN = "events/requests/local-branin.json"
LOGISTIC = "events/requests/local-logistic.json"
PATHS = {"PATH": os.environ["PATH"]}


@pytest.fixture
def request_file(tmp_path):
    """Writes a request of platform LOCAL to a file."""

    def write(*commands, **sections):
        configuration = local_configuration(*commands, **{"yml_config": run_config(3, 2), **sections})
        path = tmp_path / "request.json"
        body = {"experiment": {"Name": "e", "HpoExperimentConfiguration": configuration}}
        path.write_text(json.dumps(body))
        return path

    return write


@pytest.mark.one_of("path", "is_better", budget=CI_BUDGET)
@pytest.mark.parametrize(("path", "is_better"), [(BRANIN, min), (LOGISTIC, max)])
def test_a_sample_ends_with_its_best_parameters(hpoq_json, path, is_better):
    """The samples run with the standard library alone, and the best trial is the best one of the list."""
    code, document = hpoq_json("try", path, "--trials", 6, "--parallel", 3)
    assert (code, document["status"], len(document["trials"])) == (0, "FINISHED", 6)
    metrics = [one["metric"] for one in document["trials"] if one["status"] == "SUCCEEDED"]
    best = document["bestTrial"]
    assert best["metric"] == is_better(metrics)
    (same,) = [one for one in document["trials"] if one["trialId"] == best["trialId"]]
    assert same["hyperparameters"] == best["hyperparameters"]
    assert all(one["seconds"] > 0 for one in document["trials"])
    created, finished = document["events"]
    assert created["type"] == "com.hpoq.experiment.created.v1"
    assert created["data"]["experimentId"] == document["experimentId"]
    assert finished["type"] == "com.hpoq.experiment.finished.v1"
    assert finished["data"]["status"] == "FINISHED"
    # Several trials may share the best metric.
    assert finished["data"]["bestTrial"]["metric"] == best["metric"]


def test_the_readable_output_has_leaderboard_chart_and_best_parameters(hpoq):
    """The output has the event, every trial, a chart of the best metric, and the best parameters."""
    done = hpoq("try", BRANIN, "--trials", "5")
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "com.hpoq.experiment.created.v1" in text
    assert text.count("SUCCEEDED") == 5
    assert "Best metric after each trial" in text
    assert "FINISHED, 5 trials" in text
    assert text.splitlines()[-1].startswith("Best: ")


def test_the_chart_needs_only_ascii(hpoq):
    """A terminal without Unicode gets a chart that it can show."""
    done = hpoq("try", LOGISTIC, "--trials", "2", PYTHONIOENCODING="ascii")
    assert "Best metric after each trial" in done.stdout.decode("ascii")
    assert "\\u" not in done.stdout.decode("ascii")


def test_a_failing_command_is_explained(hpoq, hpoq_json, request_file):
    """Without a successful trial the exit code is 1, and reasons and errors are shown."""
    path = request_file("echo oh no >&2; exit 3")
    done = hpoq("try", path)
    text = done.stdout.decode()
    assert done.returncode == 1
    assert "3 trials failed: cmd1: exit status 3" in text
    assert "oh no" in text
    code, document = hpoq_json("try", path)
    assert (code, document["bestTrial"]) == (1, None)
    assert {one["reason"] for one in document["trials"]} == {"cmd1: exit status 3"}


def test_a_platform_that_cannot_run_here_is_named(hpoq, hpoq_json):
    """Nothing is sent, and the message names only commands and options that help."""
    code, document = hpoq_json("try", "events/requests/maxcompute-table.json")
    assert (code, document["status"], document["trials"], document["violations"]) == (1, None, [], [])
    done = hpoq("try", "events/requests/maxcompute-table.json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert document["error"] in done.stderr.decode()
    assert "The trials of MaxCompute cannot run on this machine" in document["error"]
    assert "--simulate-others" not in document["error"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"stop": {"idempotencyKey": "k"}}, "is a stop message, which has nothing to try."),
        ({"dryRun": True}, "has dryRun: true, and a dry run creates no experiment. Remove dryRun"),
    ],
)
def test_what_creates_no_experiment_is_explained(hpoq, hpoq_json, tmp_path, change, problem):
    """Nothing runs, and the message says what to do."""
    path = tmp_path / "request.json"
    request = json.loads((ROOT / BRANIN).read_text())
    path.write_text(json.dumps(change if "stop" in change else {**request, **change}))
    done = hpoq("try", path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"Error: {path} {problem}" in done.stderr.decode()
    code, document = hpoq_json("try", path)
    assert (code, document["trials"], problem in document["error"]) == (1, [], True)


def test_an_invalid_request_is_refused_as_by_check(hpoq, hpoq_json, tmp_path):
    """Violations are listed with their places, and nothing runs."""
    path = tmp_path / "bad.json"
    path.write_text('{"experiment": {"Nmae": "e"}}')
    done = hpoq("try", path)
    assert done.returncode == 1
    assert "did you mean Name?" in done.stdout.decode()
    code, document = hpoq_json("try", path)
    assert (code, document["valid"], document["trials"]) == (1, False, [])


@pytest.mark.parametrize(
    "words", [("nowhere.json",), (BRANIN, "--trials", "0"), (BRANIN, "--code", "nowhere")]
)
def test_wrong_usage_exits_with_2(hpoq, words):
    assert hpoq("try", *words).returncode == 2


def test_a_file_with_several_requests_is_refused(hpoq, tmp_path):
    path = tmp_path / "two.jsonl"
    path.write_text("{}\n{}\n")
    done = hpoq("try", path)
    assert done.returncode == 2
    assert "contains 2 requests. Give a file with one." in done.stderr.decode()


def test_commands_find_the_code_folder(hpoq_json, request_file, tmp_path):
    """NNI_CODE_DIR is --code, and programs there read the parameters from variables and files."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(
        "import json, os\n"
        "x = json.load(open(os.environ['TRIAL_PARAMETERS_FILE']))['${x}']\n"
        "assert str(x) == os.environ['PARAM_x']\n"
        "print(f'accuracy={x}')\n"
    )
    path = request_file('python "$NNI_CODE_DIR/train.py"')
    code, document = hpoq_json("try", path, "--code", tmp_path / "code")
    assert code == 0, document
    for trial in document["trials"]:
        assert trial["metric"] == pytest.approx(trial["hyperparameters"]["${x}"])


def test_ctrl_c_stops_the_trials_and_shows_those_that_ended(request_file, tmp_path):
    """Exit code 130, the trials that ended, and no process left."""
    marker = tmp_path / "second"
    path = request_file(
        f"[ $NNI_TRIAL_SEQ_ID = 0 ] || {{ touch {marker}; sleep 1007; }}; echo accuracy=1",
        yml_config=run_config(2, 1),
    )
    command = [*HPOQ_COMMAND, "try", str(path), "--json"]
    with subprocess.Popen(command, cwd=ROOT, env=PATHS, stdout=subprocess.PIPE, text=True) as process:
        wait_until(lambda: marker.exists() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        document = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 130
    assert document["status"] == "USER_CANCELED"
    assert [one["status"] for one in document["trials"]] == ["SUCCEEDED", "USER_CANCELED"]
    assert document["bestTrial"]["metric"] == 1
    # What was killed may take a moment to end; what was forgotten would sleep on.
    wait_until(lambda: not processes_of(f"{document['experimentId']}/"))


def read_terminal(handle, until=None):
    """Return what is written to a terminal until it contains `until`, or until its program ends."""
    found = ""
    while (until is None or until not in found) and select.select([handle], [], [], 60)[0]:
        try:
            data = os.read(handle, 65_536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        found += data.decode(errors="replace")
    return found


def test_a_terminal_shows_trials_while_they_run(request_file, tmp_path):
    """On a terminal a table with a progress bar is drawn while trials run, and replaced by the result."""
    path = request_file(
        f"until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo accuracy=1", yml_config=run_config(2, 1)
    )
    ours, theirs = pty.openpty()
    command = [*HPOQ_COMMAND, "try", str(path)]
    environ = {**PATHS, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        early = read_terminal(ours, "RUNNING")
        (tmp_path / "go").touch()
        late = read_terminal(ours)
    os.close(ours)
    assert process.returncode == 0, late
    assert "RUNNING" in early
    assert "Trials" in early + late
    assert "Best: " in late


@pytest.mark.parametrize("name", [None, ""])
def test_a_request_without_a_platform_has_nothing_to_try(hpoq_json, tmp_path, name):
    """No event and no advice for other platforms, but what is missing."""
    document = json.loads((ROOT / "events/requests/local-branin.json").read_text())
    if name is None:
        document["experiment"] = {}
    else:
        document["experiment"]["HpoExperimentConfiguration"]["platform_config"]["name"] = name
    path = tmp_path / "request.json"
    path.write_text(json.dumps(document))
    code, report = hpoq_json("try", path)
    assert (code, report["experimentId"]) == (1, None)
    assert "names no platform in platform_config" in report["error"]
