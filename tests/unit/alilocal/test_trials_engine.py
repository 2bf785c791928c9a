"""Trials that run as processes: results, hostile commands, stops, and what is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import alilocal
from alilocal.paiautoml.model import Update
from alilocal.paiautoml.triallogs import experiment_log, read_commands, trial_log
from alilocal.statedir import StateDir
from alilocal.trials.engine import TrialOptions
from alilocal.trials.record import TERMINAL
from alilocal.trials.runner import Site
from alilocal.trials.trial import Limits
from support.trials import PYTHON, local_configuration, processes_of, run, run_config, start, wait_for
from support.waiting import wait_until

SMALL = Limits(kept_bytes=2000, most_bytes=200_000)
PREPARE = Site.prepare_processes


@pytest.fixture(autouse=True)
def without_spare(monkeypatch):
    """Start no processes for the next experiment, which most tests do not have."""
    monkeypatch.setattr(Site, "prepare_processes", lambda _: None)


@pytest.fixture
def cloud(tmp_path):
    options = TrialOptions(code=tmp_path, limits=SMALL)
    with alilocal.LocalCloud(run_trials=options) as running:
        yield running


def only_trial(experiment):
    (trial,) = experiment.trials
    return trial


def log_of(experiment, name="stdout"):
    return trial_log(experiment, name, experiment.trials[0])


def manager_log(experiment):
    return "\n".join(experiment_log(experiment, "nnimanager.log"))


def test_trials_are_simulated_unless_they_are_asked_to_run(tmp_path):
    """Without run_trials no process starts."""
    with alilocal.LocalCloud() as cloud:
        experiment = start(cloud, local_configuration(f"touch {tmp_path}/ran", yml_config=run_config()))
        assert not cloud.runs_trials
        assert experiment.run is None
        cloud.clock.advance(100)
        assert (experiment.status, len(experiment.trials)) == ("FINISHED", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_trial_ends_in_the_metric_that_it_printed(cloud):
    """The metric of a successful trial is the number in its output, and the experiment has finished."""
    experiment = run(cloud, "echo accuracy=0.5; echo accuracy=0.9")
    trial = only_trial(experiment)
    assert (experiment.status, trial.status, trial.final) == ("FINISHED", "SUCCEEDED", 0.9)
    assert [row["type"] for row in trial.metrics] == ["PERIODICAL", "PERIODICAL", "FINAL"]
    assert experiment.run.best is trial


def test_the_processes_of_the_next_experiment_are_started_ahead(monkeypatch):
    """A cloud has processes ready at its start and after each experiment, and ends those that were not used."""
    monkeypatch.setattr(Site, "prepare_processes", PREPARE)
    with alilocal.LocalCloud(run_trials=True) as cloud:
        site = cloud._engine._site
        first = site.spare
        run(cloud, "echo accuracy=1")
        wait_until(lambda: site.spare is not None and site.spare._process is not None)
        assert site.spare is not first
        process = site.spare._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_command_has_its_parameters_everywhere(cloud, tmp_path):
    """In its text, in its environment, in a JSON file, and in parameter files; its folder is its own."""
    (tmp_path / "in.cfg").write_text("lr: ${x} id: ${trial_id}")
    experiment = run(
        cloud,
        "echo ${x} $PARAM_x $(cat out/o.cfg); cat parameters.json; ls $NNI_OUTPUT_DIR; echo accuracy=1",
        search_space={"${x}": {"_type": "choice", "_value": [True]}},
        params_config={"params_src_dst_filepath": ["in.cfg,out/o.cfg"]},
    )
    lines = log_of(experiment)
    trial = only_trial(experiment)
    assert lines[1] == f"True True lr: True id: {trial.trial_id.lower()}"
    assert json.loads("".join(lines[2:5])) == {"${x}": True}
    assert lines[5:7] == ["out", "parameters.json"]


def test_commands_run_in_order_until_one_fails(cloud):
    """cmd2 sees the files of cmd1; cmd3 does not run after cmd2 has failed, as the logs say."""
    experiment = run(cloud, "echo 1 > f; echo accuracy=1", "cat f; exit 3", "touch g")
    trial = only_trial(experiment)
    assert (trial.status, trial.reason) == ("FAILED", "cmd2: exit status 3")
    assert [one.code for one in trial.commands] == [0, 3]
    assert trial.final is None
    assert log_of(experiment, "trial.log")[-1].endswith("status FAILED: cmd2: exit status 3")
    assert f"Trial job {trial.trial_id} status: FAILED: cmd2: exit status 3" in manager_log(experiment)


def test_no_secret_of_the_environment_reaches_a_trial(monkeypatch):
    """Variables with a secret's name are not inherited; secrets of the configuration are masked in the logs."""
    monkeypatch.setenv("MY_PASSWORD", "from-the-environment")
    monkeypatch.setenv("MY_SETTING", "inherited")
    with alilocal.LocalCloud(run_trials=True) as cloud:
        experiment = run(
            cloud,
            "env; seq 1500; echo key-in-''clear; echo accuracy=1",
            dlc_config={"access_id": "i", "access_key": "key-in-clear"},
        )
        (command,) = read_commands(experiment, only_trial(experiment))
        assert command.output.endswith("\naccuracy=1\n"), "the end of a long output is shown"
        text = "\n".join(log_of(experiment) + log_of(experiment, "trial.log") + [command.output])
        assert "MY_SETTING=inherited" in text
        assert "from-the-environment" not in text
        assert "key-in-clear" not in text
        assert "key-in-clear" not in json.dumps(cloud.snapshot())


_ON_STDERR = (
    "It ended, but reported no number for accuracy=([-0-9.e]+) on standard output, which alone is read; "
    "standard error has one."
)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("exit 7", "cmd1: exit status 7"),
        ("kill -SEGV $$", "cmd1: ended by SIGSEGV"),
        ("true", "It ended, but reported no number for accuracy=([-0-9.e]+)."),
        ("echo accuracy=nan", "It ended, but reported no number for accuracy=([-0-9.e]+)."),
        ("echo accuracy=1 >&2", _ON_STDERR),
        ("head -c 1000000000 /dev/zero", "cmd1 printed more than 0.190735 MB, so it was killed"),
        ("yes accuracy=1 >&2", "cmd1 printed more than 0.190735 MB, so it was killed"),
        ("no-such-program", "cmd1: exit status 127"),
    ],
)
def test_a_hostile_command_fails_with_a_clear_reason(cloud, command, reason):
    """Exit statuses, signals, missing metrics and floods of output each have their reason."""
    experiment = run(cloud, command)
    trial = only_trial(experiment)
    assert (experiment.status, trial.status, trial.reason.partition(", as")[0]) == (
        "FINISHED",
        "FAILED",
        reason.partition(", as")[0],
    )


@pytest.mark.parametrize(
    ("metrics", "command", "is_there"),
    [
        (["a=([0-9]+)", "b=([0-9]+)"], "echo a=1 >&2; echo a=1", False),
        (["a=([0-9]+)", "b=([0-9]+)"], "echo a=1; echo b=1 >&2", True),
        (["a=([0-9]*)"], "echo a= >&2", False),
        (["([0-9]*)"], "echo >&2", False),
        (["([0-9]*)"], "printf 'a 1' >&2", True),
    ],
)
def test_a_metric_is_found_on_standard_error_only_if_it_is_there(cloud, metrics, command, is_there):
    """Another metric does not count, nor a match of an empty text."""
    experiment = run(cloud, command, metric_config={"metric_dict": dict.fromkeys(metrics, 1)})
    assert only_trial(experiment).status == "FAILED"
    assert ("standard error has one" in only_trial(experiment).reason) is is_there


@pytest.mark.parametrize(
    ("printed", "is_cut"), [("2.5e-05", True), ("2.5E4", True), ("2.5", False), ("2.5 e1", False)]
)
def test_a_number_without_its_exponent_is_noted(cloud, printed, is_cut):
    """A pattern that matches only a part of a number chooses the wrong trial, which nothing else would show."""
    pattern = "accuracy=([0-9.]+)"
    command = f"echo accuracy={printed}; echo accuracy={printed}"
    experiment = run(cloud, command, metric_config={"metric_dict": {pattern: 1}})
    assert only_trial(experiment).metrics[-1]["default"] == 2.5
    note = f"{pattern} reads 2.5 where a command printed {printed}. To read exponents and signs, write ([-+.0-9eE]+)."
    assert manager_log(experiment).count(note) == is_cut
    assert manager_log(experiment).count("exponents") == is_cut


def test_output_is_kept_up_to_its_limit(cloud):
    """Of a long output the beginning is kept, the log says how much is missing, and the metric at its end counts."""
    experiment = run(cloud, "head -c 50000 /dev/zero | tr '\\0' x; echo; echo accuracy=0.7")
    trial = only_trial(experiment)
    lines = log_of(experiment)
    assert (trial.status, trial.final) == ("SUCCEEDED", 0.7)
    assert len("".join(lines)) < 2300
    assert lines[-1] == f"... {50000 + len('.accuracy=0.7.') - 2000} more bytes of output were not kept"


def test_output_that_is_not_text_is_shown_as_far_as_it_is(cloud):
    """Invalid UTF-8 is replaced, in logs and in snapshots, and metrics beside it are found."""
    experiment = run(cloud, r"printf '\377\376 accuracy=0.25 \300\n\0'")
    assert only_trial(experiment).final == 0.25
    assert "�" in log_of(experiment)[1]
    json.dumps(cloud.snapshot())


def test_a_command_that_never_ends_is_ended(cloud):
    """After the time limit a trial fails, also if it ignores SIGTERM."""
    began = time.monotonic()
    experiment = run(
        cloud, "trap '' TERM; sleep 1000 & sleep 1000", yml_config=run_config(max_trial_duration="0.2s")
    )
    trial = only_trial(experiment)
    assert (trial.status, trial.reason) == ("FAILED", "It did not end within 0.2 s.")
    assert time.monotonic() - began < 300


@pytest.mark.parametrize(
    "command",
    [
        "sleep 1001 & echo accuracy=1",
        "for i in $(seq 100); do sleep 1001 & done; echo accuracy=1",
        "setsid sleep 1001 & echo accuracy=1",
        "(setsid sh -c 'sleep 1001 & sleep 1001' &) ; echo accuracy=1",
    ],
)
def test_what_a_command_leaves_behind_ends_with_it(cloud, command):
    """Background processes end with their trial, also if they left its session or lost their parents."""
    experiment = run(cloud, command)
    trial = only_trial(experiment)
    assert (trial.status, trial.final) == ("SUCCEEDED", 1)
    mark = f"ALILOCAL_TRIAL={experiment.experiment_id}/{trial.trial_id}"
    wait_for_end(mark)


def wait_for_end(mark):
    """Wait until no process has the mark."""
    wait_until(lambda: not processes_of(mark))


def test_a_regular_expression_that_never_ends_fails_its_trial_only(cloud, monkeypatch):
    """An endless regular expression blocks nothing but its trial, which fails at the time limit."""
    monkeypatch.setattr("alilocal.trials.runner._ANSWER_SECONDS", 0.3)
    stuck = start(
        cloud,
        local_configuration(
            "echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab; sleep 1002",
            metric_config={"metric_dict": {"(a+)+c": 1}},
            yml_config=run_config(max_trial_duration="0.3s"),
        ),
    )
    assert only_trial(run(cloud, "echo accuracy=1")).status == "SUCCEEDED"
    wait_for(cloud, lambda: stuck.status in TERMINAL)
    assert only_trial(stuck).status == "FAILED"
    wait_for_end(f"ALILOCAL_TRIAL={stuck.experiment_id}/")


def test_patterns_and_output_may_be_in_any_script(cloud):
    """A regular expression with Chinese words finds its number, also with an escape for one of them."""
    for pattern in ("\u51c6\u786e\u7387=([0-9.]+)", "\\u51c6\\w+=([0-9.]+)"):
        experiment = run(cloud, "echo '\u51c6\u786e\u7387=0.5'", metric_config={"metric_dict": {pattern: 1}})
        assert only_trial(experiment).final == 0.5


def test_a_command_that_cannot_be_started_fails_alone(cloud):
    """A command line that is too long for the system fails with the system's reason; the next trial runs."""
    experiment = run(
        cloud,
        "echo accuracy=1 ${x}",
        search_space={"${x}": {"_type": "choice", "_value": ["x" * 200_000, "y"]}},
        yml_config=run_config(2, 1, "GridSearch"),
    )
    first, second = experiment.trials
    assert (first.status, second.status) == ("FAILED", "SUCCEEDED")
    assert first.reason.startswith("cmd1 could not be started: ")


def test_a_flood_of_numbers_is_thinned(cloud):
    """Of more than 10,000 numbers the last one still is the final metric, and the trial's rows stay few."""
    experiment = run(cloud, "seq 1 12000 | sed s/^/accuracy=/")
    trial = only_trial(experiment)
    assert (trial.status, trial.final) == ("SUCCEEDED", 12000)
    assert len(trial.metrics) <= 2001


def parent_of(pid):
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def test_the_parent_of_the_commands_may_be_killed(cloud):
    """If the parent is killed, its trials fail with that reason, their processes end, and the next trials run."""
    experiment = start(
        cloud,
        local_configuration(
            "[ $NNI_TRIAL_SEQ_ID != 0 ] || sleep 1011; echo accuracy=1", yml_config=run_config(2, 1)
        ),
    )
    wait_for(cloud, lambda: [len(one.commands) for one in experiment.trials] == [1])
    mark = f"ALILOCAL_TRIAL={experiment.experiment_id}/"
    found = wait_until(lambda: processes_of(mark))
    # The first command, whose parent has no mark; `sleep` is a child of the command.
    (parent,) = {parent_of(pid) for pid in found} - {*found}
    os.kill(parent, signal.SIGKILL)
    wait_for(cloud, lambda: experiment.status in TERMINAL)
    first, second = experiment.trials
    assert (first.status, first.reason) == ("FAILED", "The process that ran its commands was killed.")
    assert second.status == "SUCCEEDED"
    wait_for_end(mark)


def test_a_parent_that_reads_no_more_is_given_up(tmp_path, monkeypatch):
    """An order that it does not take in time ends it, instead of blocking the cloud."""
    from alilocal.trials import processes
    from alilocal.trials.trial import base_environment

    monkeypatch.setattr(processes, "_CLOSE_SECONDS", 0.1)
    stopped = tmp_path / "stopped.py"
    stopped.write_text("import time\ntime.sleep(1012)\n")
    monkeypatch.setattr(processes, "_PROGRAM", stopped)
    made = processes.Processes(base_environment())
    for number in range(40):
        made.run(processes.Order(str(number), "x" * 9000, "/", {}, "", "", 1, 1))
        if made.wait(0) is None:
            break
    else:
        raise AssertionError("every order was taken")
    made.close()


def test_names_like_those_of_secrets_survive_a_restart(tmp_path):
    """A snapshot keeps the numbers of a search space and of weights, also for tokens and keys."""
    sections = {
        "metric_config": {"metric_dict": {"tokens=([0-9.]+)": 2}},
        "search_space": {
            "${max_tokens}": {"_type": "randint", "_value": [1, 2]},
            "${access_key}": {"_type": "choice", "_value": ["a-secret"]},
        },
    }
    with alilocal.LocalCloud() as cloud, alilocal.LocalCloud() as other:
        start(cloud, local_configuration("x", **sections))
        text = json.dumps(cloud.snapshot())
        assert "a-secret" not in text
        other.load(json.loads(text))
        kept = other.experiments[0].configuration
        assert kept["metric_config"]["metric_dict"] == {"tokens=([0-9.]+)": 2}
        assert kept["search_space"]["${max_tokens}"] == {"_type": "randint", "_value": [1, 2]}


def test_metrics_of_json_files_and_summaries(cloud):
    """A JSON file, and TensorBoard's event files, in the trial's folder."""
    of_json = run(
        cloud,
        "echo '{\"auc\": 0.5}' > m.json; echo '{\"auc\": 0.75}' >> m.json",
        metric_config={"metric_type": "json", "metric_source": ["m.json"], "metric_dict": {"auc": 2}},
    )
    assert only_trial(of_json).final == 1.5
    script = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from tensorboardX import SummaryWriter\n"
        "with SummaryWriter('runs') as w: w.add_scalar('auc', 0.25, 1)"
    )
    of_summary = run(
        cloud,
        f'{PYTHON} -c "{script}"',
        metric_config={
            "metric_type": "summary",
            "metric_source": ["${NNI_OUTPUT_DIR}/runs"],
            "metric_dict": {"auc": 1},
        },
    )
    assert only_trial(of_summary).final == 0.25


def test_a_dlc_job_runs_its_command(cloud):
    """The --command of a dlc submit runs, and its metrics may be on the standard error as in a job's log."""
    experiment = run(
        cloud,
        "dlc submit pytorch --name=t_${exp_id} --command='echo accuracy=${x} >&2' --workers=1",
        platform_config={
            "name": "DLC",
            "cmd": ["dlc submit pytorch --name=t_${exp_id} --command='echo accuracy=${x} >&2' --workers=1"],
        },
        search_space={"${x}": {"_type": "choice", "_value": [0.125]}},
    )
    assert only_trial(experiment).final == 0.125


def test_other_platforms_fail_or_are_simulated(cloud):
    """MaxCompute fails with the reason in the experiment's log; with simulate_others it is simulated."""
    other = {"platform_config": {"name": "MaxCompute", "cmd": ["pai -name x"]}}
    experiment = run(cloud, **other)
    assert (experiment.status, experiment.trials) == ("FAILED", [])
    assert "Trials on MaxCompute cannot run on this machine" in manager_log(experiment)
    with alilocal.LocalCloud(run_trials=TrialOptions(simulate_others=True)) as lenient:
        simulated = start(lenient, local_configuration("x", **other))
        assert simulated.run is None
        lenient.clock.advance(100)
        assert simulated.status == "FINISHED"


def test_as_many_trials_run_at_once_as_asked_for(cloud, tmp_path):
    """trial_concurrency trials wait for each other; more would never meet, fewer would be seen."""
    (tmp_path / "meet").mkdir()
    meet = tmp_path / "meet"
    command = (
        f"touch {meet}/$NNI_TRIAL_SEQ_ID; "
        f"until [ $(ls {meet} | wc -l) -ge 3 ]; do sleep 0.01; done; echo accuracy=1"
    )
    experiment = run(cloud, command, yml_config=run_config(3, 3))
    assert [one.status for one in experiment.trials] == ["SUCCEEDED"] * 3


def searched(options):
    with alilocal.LocalCloud(run_trials=options) as cloud:
        experiment = run(
            cloud,
            'echo "accuracy=$(echo ${x} | cut -c1-6)"',
            search_space={
                "${x}": {"_type": "uniform", "_value": [0, 1]},
                "k": {"_type": "normal", "_value": [0, 1]},
            },
            yml_config=run_config(12, 1, "TPE"),
        )
        return [(one.sequence, one.hyperparameters, one.status, one.metrics) for one in experiment.trials]


def test_a_seed_and_one_trial_at_a_time_repeat_the_search(tmp_path):
    """Two runs give the same trials, also after the random beginning of TPE, which has ten."""
    options = TrialOptions(code=tmp_path)
    assert searched(options) == searched(options)


def test_a_used_up_grid_finishes_early(cloud):
    """An experiment ends when GridSearch has tried every combination, and its log says so."""
    experiment = run(
        cloud,
        "echo accuracy=${x}",
        search_space={"${x}": {"_type": "choice", "_value": [1, 2, 3]}},
        yml_config=run_config(10, 2, "GridSearch"),
    )
    assert [one.hyperparameters["${x}"] for one in experiment.trials] == [1, 2, 3]
    assert "The search space is used up" in manager_log(experiment)


def test_the_assessor_stops_a_bad_trial(cloud):
    """A trial that is worse than the others from its start on is EARLY_STOPPED, with the reason."""
    experiment = run(
        cloud,
        "echo accuracy=${x}; echo accuracy=${x}; [ ${x} = 9 ] || sleep 1003",
        search_space={"${x}": {"_type": "choice", "_value": [9, 1]}},
        yml_config={
            **run_config(2, 1, "GridSearch"),
            "assessor": {"name": "PAIAssessor", "class_args": {"start_step": 2, "optimize_mode": "maximize"}},
        },
    )
    good, bad = experiment.trials
    assert (good.status, bad.status) == ("SUCCEEDED", "EARLY_STOPPED")
    assert "worse than 9" in bad.reason


def running(cloud, number=2, command="echo accuracy=1; sleep 1004", **sections):
    """Return an experiment whose first two trials run and have reported a metric."""
    experiment = start(cloud, local_configuration(command, yml_config=run_config(number, 2), **sections))
    wait_for(cloud, lambda: [bool(one.metrics) for one in experiment.trials] == [True, True])
    return experiment


def test_stopping_an_experiment_ends_its_processes(cloud):
    """A stopped experiment is TERMINATING, then USER_CANCELED, as are its trials, and no process is left."""
    experiment = running(cloud)
    with cloud.changed:
        experiment.stop()
        assert experiment.status == "TERMINATING"
    wait_for(cloud, lambda: experiment.status == "USER_CANCELED")
    assert {one.status for one in experiment.trials} == {"USER_CANCELED"}
    wait_for_end(f"ALILOCAL_TRIAL={experiment.experiment_id}/")


def test_trials_are_stopped_failed_and_run_again(cloud, tmp_path):
    """A stopped trial is USER_CANCELED; a rerun is a new trial with the same values; others are not affected."""
    experiment = running(cloud, command=f"echo accuracy=1; until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    with cloud.changed:
        assert experiment.stop_trial(0)
        experiment.fail_trial(1)
    wait_for(cloud, lambda: experiment.status in TERMINAL)
    first, second = experiment.trials
    assert (first.status, second.status) == ("USER_CANCELED", "FAILED")
    assert experiment.status == "FINISHED"
    with cloud.changed:
        assert not experiment.rerun({})
        assert not experiment.stop_trial(0)


def test_a_failed_trial_is_run_again_while_the_experiment_runs(cloud, tmp_path):
    """RestartHpoTrials adds a trial with the same hyperparameters, which is not counted by max_trial_number."""
    experiment = running(cloud, command=f"echo accuracy=1; until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    with cloud.changed:
        experiment.fail_trial(1)
    wait_for(cloud, lambda: experiment.trials[1].status == "FAILED")
    with cloud.changed:
        assert experiment.rerun(experiment.trials[1].hyperparameters)
    (tmp_path / "go").touch()
    wait_for(cloud, lambda: experiment.status in TERMINAL)
    assert [one.status for one in experiment.trials] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert experiment.trials[2].hyperparameters == experiment.trials[1].hyperparameters


def test_an_update_applies_to_later_trials(cloud, tmp_path):
    """Trials that run go on as they began; later ones have the new space, command and number."""
    experiment = running(cloud, command=f"echo accuracy=1; until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    new = local_configuration(
        "echo accuracy=2",
        search_space={"${y}": {"_type": "choice", "_value": ["new"]}},
        yml_config=run_config(4, 2, "TPE"),
    )
    with cloud.changed:
        experiment.update(Update(None, None, None, None, None, new))
    (tmp_path / "go").touch()
    wait_for(cloud, lambda: experiment.status in TERMINAL)
    assert [one.final for one in experiment.trials] == [1, 1, 2, 2]
    assert [list(one.hyperparameters) for one in experiment.trials] == [
        ["${x}"],
        ["${x}"],
        ["${y}"],
        ["${y}"],
    ]


def test_an_update_that_cannot_run_here_ends_the_experiment(cloud):
    experiment = running(cloud)
    new = local_configuration("x", platform_config={"name": "PAIFLOW", "cmd": ["x"]})
    with cloud.changed:
        experiment.update(Update(None, None, None, None, None, new))
    wait_for(cloud, lambda: experiment.status == "FAILED")
    assert {one.status for one in experiment.trials} == {"SYS_CANCELED"}
    wait_for_end(f"ALILOCAL_TRIAL={experiment.experiment_id}/")


def test_an_experiment_has_a_time_limit_too(cloud):
    """After max_experiment_duration an experiment has finished, and its running trials are cancelled."""
    experiment = run(cloud, "sleep 1005", yml_config=run_config(5, max_experiment_duration=0.2))
    assert (experiment.status, experiment.trials[0].status) == ("FINISHED", "SYS_CANCELED")


def test_a_reset_and_the_end_of_the_cloud_end_all_trials(tmp_path):
    """No process and no temporary file survives its cloud."""
    with alilocal.LocalCloud(run_trials=TrialOptions(code=tmp_path)) as cloud:
        first = running(cloud)
        folder = first.engine.folder()
        assert folder.exists()
        cloud.reset()
        wait_for_end(f"ALILOCAL_TRIAL={first.experiment_id}/")
        assert (cloud.experiments, folder.exists()) == ([], False)
        second = running(cloud)
    wait_for_end(f"ALILOCAL_TRIAL={second.experiment_id}/")


def test_a_deleted_experiment_runs_no_more(cloud):
    experiment = running(cloud)
    with cloud.session() as session:
        from localwire import Wire

        Wire(cloud, session, cloud.endpoint).put(experiment.experiment_id, "delete")
    wait_for(cloud, lambda: experiment.status == "USER_CANCELED")
    assert experiment.deleted


def test_trials_that_ran_when_the_cloud_ended_are_run_again(tmp_path):
    """With a state folder finished trials stay, and running ones are marked and run again with the same values."""
    options = TrialOptions(folder=tmp_path / "trials", code=tmp_path)
    command = (
        f"echo accuracy=${{x}}; [ $NNI_TRIAL_SEQ_ID = 0 ] || until [ -e {tmp_path}/go ]; do sleep 0.01; done"
    )
    with alilocal.LocalCloud(run_trials=options) as cloud, StateDir(cloud, tmp_path / "state"):
        experiment = start(cloud, local_configuration(command, yml_config=run_config(4, 2, "TPE")))
        wait_for(cloud, lambda: [bool(one.metrics) for one in experiment.trials] == [True, True, True])
        wait_for(cloud, lambda: experiment.trials[0].is_over)
        before = [one.hyperparameters for one in experiment.trials]
    (tmp_path / "go").touch()
    with alilocal.LocalCloud(run_trials=options) as cloud, StateDir(cloud, tmp_path / "state"):
        (again,) = cloud.experiments
        wait_for(cloud, lambda: again.status in TERMINAL)
        assert [one.status for one in again.trials] == [
            "SUCCEEDED",
            *["SYS_CANCELED"] * 2,
            *["SUCCEEDED"] * 3,
        ]
        assert [one.hyperparameters for one in again.trials[:5]] == [*before, *before[1:]]
        assert [one.final for one in again.trials if one.final is not None] == [
            pytest.approx(one.hyperparameters["${x}"]) for one in again.trials if one.status == "SUCCEEDED"
        ]
        assert log_of(again)[0].startswith("$ echo accuracy=")
    with alilocal.LocalCloud() as cloud, StateDir(cloud, tmp_path / "state"):
        assert cloud.experiments[0].status == "FINISHED"


def test_a_cloud_that_runs_no_trials_ends_what_it_loads(tmp_path):
    """A snapshot with running trials, loaded where none run, shows them as cancelled by the system."""
    with alilocal.LocalCloud(run_trials=TrialOptions(code=tmp_path)) as cloud:
        running(cloud)
        document = json.loads(json.dumps(cloud.snapshot()))
    with alilocal.LocalCloud() as other:
        other.load(document)
        (loaded,) = other.experiments
        assert loaded.status == "SYS_CANCELED"
        assert {one.status for one in loaded.trials} == {"SYS_CANCELED"}


def test_no_process_outlives_a_server_that_is_killed(tmp_path):
    """After SIGKILL all processes of its trials end, also outside of its session; the next server runs them again."""
    state = tmp_path / "state"
    program = [sys.executable, "-m", "alilocal", "--port", "0", "--run-trials", "--state", str(state)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        endpoints = json.loads(process.stdout.readline())
        try:
            from localwire import Wire

            configuration = local_configuration(
                f"setsid sleep 1006 & trap '' TERM; touch {tmp_path}/on; sleep 1006", yml_config=run_config()
            )
            with alilocal.LocalCloud() as other, requests.Session() as session:
                made = Wire(other, session, endpoints["paiautoml"]).create(
                    HpoExperimentConfiguration=configuration
                )
                mark = f"ALILOCAL_TRIAL={made.json()['ExperimentId']}/"
            wait_until(lambda: (tmp_path / "on").exists() and has_running_trial(state))
            assert len(processes_of(mark)) >= 2
        finally:
            os.kill(process.pid, signal.SIGKILL)
    wait_for_end(mark)
    (tmp_path / "on").unlink()
    with alilocal.LocalCloud(run_trials=True) as cloud, StateDir(cloud, state):
        (experiment,) = cloud.experiments
        first, again = experiment.trials
        assert (first.status, again.hyperparameters) == ("SYS_CANCELED", first.hyperparameters)
        wait_for(cloud, lambda: again.status == "RUNNING")


def has_running_trial(folder):
    """Return whether a trial runs by the file of a state folder; its experiment runs before it, and without it."""
    file = folder / "state.json"
    document = (
        json.loads(file.read_text()) if file.exists() else {"services": {"paiautoml": {"experiments": []}}}
    )
    trials = [
        trial for one in document["services"]["paiautoml"]["experiments"] for trial in one["run"]["trials"]
    ]
    return any(trial["status"] == "RUNNING" for trial in trials)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--run-trials", "--host", "0.0.0.0"], "cannot listen on 0.0.0.0"),
        (["--simulate-others"], "need --run-trials"),
        (["--run-trials", "--trial-timeout", "0"], "--trial-timeout"),
    ],
)
def test_unsafe_and_useless_options_are_refused(read_refusal, options, words):
    """A cloud that runs trials listens on loopback only, and options without an effect are errors."""
    assert words in read_refusal(["--port", "0", *options])


def test_a_page_of_another_site_cannot_start_a_process(cloud):
    """Where requests can start processes, one for a foreign host name is refused before anything reads it."""
    with alilocal.serve(cloud=cloud) as server, requests.Session() as session:
        for host, status in (("evil.example:80", 403), (f"127.0.0.1:{server.port}", 200)):
            answer = session.get(f"{server.url}/_alilocal/health", headers={"Host": host})
            assert answer.status_code == status
        foreign = session.post(f"{server.url}/queues/q/messages", headers={"Host": "evil.example"})
        assert foreign.status_code == 403


def test_without_optuna_the_reason_names_what_to_install(cloud, monkeypatch):
    """TPE fails with the command that installs it; Random and GridSearch need nothing."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    failed = run(cloud, "echo accuracy=1", yml_config=run_config(tuner="TPE"))
    assert failed.status == "FAILED"
    assert "needs Optuna. Install it with: pip install 'hpoq[trials]'" in manager_log(failed)
    for tuner in ("Random", "GridSearch"):
        assert run(cloud, "echo accuracy=1", yml_config=run_config(tuner=tuner)).trials[0].final == 1


def test_experiments_beyond_the_limit_wait(cloud, tmp_path, monkeypatch):
    """Eight experiments run at once, here two; the next waits until one ends, and can be stopped meanwhile."""
    assert cloud._engine._site.most_running == 8
    monkeypatch.setattr(cloud._engine._site, "most_running", 2)
    command = f"until [ -e {tmp_path}/go ]; do sleep 0.2; done; echo accuracy=1"
    made = [start(cloud, local_configuration(command, yml_config=run_config())) for _ in range(4)]
    # Until an experiment's own thread has begun, the experiment is CREATED.
    wait_for(cloud, lambda: sorted(one.status for one in made) == ["RUNNING"] * 2 + ["WAITING"] * 2)
    waiting = [one for one in made if one.status == "WAITING"]
    with cloud.changed:
        waiting[0].stop()
    wait_for(cloud, lambda: waiting[0].status == "USER_CANCELED")
    (tmp_path / "go").touch()
    wait_for(cloud, lambda: all(one.status in TERMINAL for one in made))
    assert waiting[1].status == "FINISHED"


def test_alilocal_needs_no_optuna_to_start():
    """An import of alilocal loads no Optuna and no engine."""
    code = "import sys, alilocal; alilocal.LocalCloud().close(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"optuna", "alilocal.trials.engine", "alilocal.trials.search"} & set(done.stdout.split())
