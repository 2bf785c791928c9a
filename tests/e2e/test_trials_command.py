"""`hpoq trials` shows the trials of an experiment, the best one first."""

import json
import time

import pytest
from click.testing import CliRunner

import alilocal
from alilocal.paiautoml.model import ENDS_AFTER, RUNS_AFTER
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.signing import Credentials
from hpoq.cloud.transport import Transport
from hpoq.testing import FakeClock
from hpoqctl.app import app
from hpoqctl.experimentlog import Experiments, explain_end
from hpoqctl.following import format_finished
from support.ports import reserve_port
from support.request import make_document


@pytest.fixture
def server():
    """A local cloud whose clock stands still, so that an experiment changes only when a test advances it."""
    cloud = alilocal.LocalCloud(seed=1, clock=FakeClock(time.time()))
    with alilocal.serve(cloud=cloud) as server:
        yield server


def create(server, mode="maximize"):
    """Create an experiment of 10 trials, and return its id."""
    cloud = server.cloud
    body = make_document()["experiment"]
    arguments = {} if mode is None else {"optimize_mode": mode}
    body["HpoExperimentConfiguration"]["yml_config"]["tuner"] = {"name": "TPE", "class_args": arguments}
    credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
    with new_session(1) as session:
        client = PaiAutoMl(Transport(session, SystemClock()), server.url, lambda: credentials)
        return client.create_hpo_experiment(body, nonce=f"n{len(cloud.experiments)}").experiment_id


def run(server, *words, **environ):
    """Return the exit code and what the command prints to standard output and standard error."""
    done = CliRunner().invoke(app, ["trials", *words, "--endpoint", server.url], env=environ)
    return done.exit_code, done.stdout, done.stderr


def read(server, *words):
    """Return the exit code and the JSON of the command."""
    code, text, _ = run(server, *words, "--json")
    return code, json.loads(text)


@pytest.mark.parametrize("mode", ["maximize", "minimize"])
def test_the_best_trial_comes_first(server, mode):
    """The metric is sorted in the direction that the experiment states, and the first trial is the best one."""
    experiment = create(server, mode)
    server.cloud.clock.advance(ENDS_AFTER)
    code, board = read(server, experiment)
    metrics = [trial["metric"] for trial in board["trials"]]
    assert (code, board["status"], board["optimizeMode"], len(metrics)) == (0, "FINISHED", mode, 10)
    assert metrics == sorted(metrics, reverse=mode == "maximize")
    assert board["bestTrial"] == board["trials"][0]
    assert set(board["bestTrial"]) == {"trialId", "hyperparameters", "metric", "status", "seconds"}
    assert board["bestTrial"]["seconds"] > 0


def test_an_option_chooses_the_direction(server):
    """--mode overrides the experiment; one that states no direction is shown with a hint at the option."""
    experiment = create(server, None)
    server.cloud.clock.advance(ENDS_AFTER)
    _, board = read(server, experiment)
    assert board["optimizeMode"] is None
    code, text, hint = run(server, experiment)
    assert code == 0
    assert "--mode minimize" in hint
    code, text, hint = run(server, experiment, "--mode", "minimize")
    assert "The lowest metric is the best." in text
    assert hint == ""


def test_trials_that_have_not_ended_have_no_rank(server):
    """A trial that runs, waits or failed comes after all that have ended, whatever it has reported so far."""
    experiment = create(server)
    server.cloud.clock.advance(RUNS_AFTER + 15)
    server.cloud.experiments[0].fail_trial(0)
    code, board = read(server, experiment)
    statuses = [trial["status"] for trial in board["trials"]]
    assert code == 0
    assert statuses == sorted(statuses, key=lambda status: status != "SUCCEEDED")
    running = [trial for trial in board["trials"] if trial["status"] in ("RUNNING", "WAITING")]
    assert running
    assert {trial["seconds"] for trial in running} == {None}


def test_an_experiment_without_trials(server):
    """Before the first trial the table is empty, and there is no best trial."""
    code, board = read(server, create(server))
    assert (code, board["trials"], board["bestTrial"]) == (0, [], None)


def test_the_readable_leaderboard(server):
    """The table shows the best trials up to --top, with hyperparameters as in commands."""
    experiment = create(server)
    server.cloud.clock.advance(ENDS_AFTER)
    code, text, _ = run(server, experiment, "--top", "3")
    assert code == 0
    assert f"{experiment} (kmeans-centres): FINISHED. 10 trials: 10 SUCCEEDED." in text
    assert "centres=" in text
    assert "${" not in text
    assert "and 7 more trials. --top shows more." in text
    assert len([line for line in text.splitlines() if "SUCCEEDED" in line]) == 4


@pytest.fixture
def waits(server, monkeypatch):
    """Waiting moves the clock of the cloud by 7 seconds and takes no time."""
    monkeypatch.setattr(SystemClock, "sleep", lambda *_: server.cloud.clock.advance(7))


@pytest.mark.usefixtures("waits")
def test_following_to_the_end(server):
    """--follow prints a line whenever something changed, ends with the experiment, and then prints the table."""
    code, text, lines = run(server, create(server), "--follow")
    assert code == 0
    assert "FINISHED. 10 trials" in text
    shown = lines.splitlines()
    assert len(shown) == len(set(shown)) > 3
    assert shown[-1] in text


def test_following_an_experiment_that_fails(server):
    """With --follow a failed experiment is exit 1; a single look at it is not."""
    experiment = create(server)
    server.cloud.experiments[0].fail()
    server.cloud.clock.advance(1)
    assert run(server, experiment)[0] == 0
    assert run(server, experiment, "--follow")[0] == 1


@pytest.mark.usefixtures("waits")
def test_following_continues_after_failed_calls(server):
    """A temporary failure of the service does not end --follow; a refusal does."""
    experiment = create(server)
    faults, look = server.cloud.faults, {"service": "paiautoml", "operation": "GetHpoExperiment"}
    fault = faults.add("status", status=503, nth=2, times=5, **look)
    code, text, _ = run(server, experiment, "--follow")
    assert code == 0
    assert "FINISHED" in text
    assert fault.hits == 5
    experiment = create(server)
    faults.add("status", status=403, code="Forbidden.RAM", nth=2, times=None, **look)
    code, _, error = run(server, experiment, "--follow")
    assert code == 1
    assert "Forbidden.RAM" in error


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["absent"], 1, "Experiment absent does not exist"),
        ([".."], 2, "'..' is not an experiment id"),
        (["absent", "--mode", "best"], 2, "--mode"),
        (["absent", "--top", "0"], 2, "--top"),
    ],
)
def test_wrong_usage_and_missing_experiments(server, words, code, problem):
    """Each is reported with a sentence, and with the exit code of its kind."""
    found, text, error = run(server, *words)
    assert (found, text) == (code, "")
    assert problem in error


def test_without_an_endpoint():
    """The error names the option or the variable to set."""
    done = CliRunner().invoke(app, ["trials", "x"], env={"HPOQ_REGION": "", "HPOQ_PAIAUTOML_ENDPOINT": ""})
    assert done.exit_code == 2
    assert (
        "Set HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT; for a running `hpoq local`, give --endpoint"
        in done.stderr
    )


def test_ctrl_c(server, monkeypatch):
    """Ctrl-C ends the command with exit code 130 and no traceback."""
    experiment = create(server)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(SystemClock, "sleep", interrupt)
    code, _, error = run(server, experiment, "--follow")
    assert code == 130
    assert "Traceback" not in error


def test_an_unreachable_endpoint():
    """If nothing listens, the message names the address and the command to start."""
    with reserve_port() as port:
        url = f"http://127.0.0.1:{port}"
        done = CliRunner().invoke(app, ["trials", "s1", "--endpoint", url])
    assert done.exit_code == 1
    assert f"nothing answers at {url}" in done.output
    assert "Is `hpoq local` running?" in done.output


@pytest.fixture
def failed():
    """The client and the id of an experiment on MaxCompute, which cannot run on this machine."""
    with (
        alilocal.LocalCloud(seed=1, run_trials=True) as cloud,
        alilocal.serve(cloud=cloud) as server,
        new_session(1) as session,
    ):
        credentials = Credentials(cloud.access_key_id, cloud.access_key_secret)
        client = Experiments(Transport(session, SystemClock()), server.url, lambda: credentials)
        body = make_document()["experiment"]
        body["HpoExperimentConfiguration"]["platform_config"] = {"name": "MaxCompute", "cmd": ["pai -name x"]}
        made = client.create_hpo_experiment(body, nonce="n").experiment_id
        with cloud.changed:
            assert cloud.changed.wait_for(lambda: cloud.experiments[0].status == "FAILED", 60)
        yield server, client, made


def test_a_failed_experiment_shows_why(failed):
    """The end of the experiment's log is printed, both by `hpoq trials` and after `send --wait finished`."""
    server, client, experiment_id = failed
    reason = "Trials on MaxCompute cannot run on this machine"
    assert reason in run(server, experiment_id)[1]
    result = {"data": {"status": "FAILED", "experimentId": experiment_id, "trials": {}}}
    assert reason in "\n".join(line.plain for line in format_finished(result, client))


def test_an_unreadable_log_is_reported(failed):
    """Without the permission to read the log, the message names the error and where to look instead."""
    server, client, experiment_id = failed
    server.cloud.faults.add(
        service="paiautoml",
        operation="ListHpoExperimentLogs",
        kind="status",
        status=403,
        code="Forbidden.RAM",
    )
    (line,) = explain_end(client, experiment_id)
    assert "could not be read (" in line.plain
    assert "Forbidden.RAM" in line.plain
