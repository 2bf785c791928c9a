"""The vendor's SDK, unmodified, drives an experiment whose trials run, from create to the best trial."""

from __future__ import annotations

import json
import time

import pytest
from alibabacloud_paiautoml20220828 import models
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_tea_openapi.models import Config

import alilocal
from alilocal.trials.engine import TrialOptions
from support.deployment import vendor_config
from support.trials import local_configuration, run_config


@pytest.fixture
def client(tmp_path):
    options = TrialOptions(code=tmp_path)
    with alilocal.LocalCloud(run_trials=options) as cloud, alilocal.serve(cloud=cloud) as server:
        yield Client(Config(**vendor_config(server)))


def create(client, *commands, **sections):
    configuration = models.HpoExperimentConfig().from_map(local_configuration(*commands, **sections))
    request = models.CreateHpoExperimentRequest(name="e", hpo_experiment_configuration=configuration)
    return client.create_hpo_experiment(request).body.experiment_id


def follow(client, experiment, *statuses, seconds=60):
    """Ask for an experiment until it has one of the statuses; return the answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = client.get_hpo_experiment(experiment).body
        if shown.status in statuses:
            return shown
    raise AssertionError(f"the experiment stayed {shown.status}")


def trials(client, experiment, **options):
    return client.list_hpo_trials(experiment, models.ListHpoTrialsRequest(**options)).body.trials


def test_an_experiment_from_its_creation_to_its_best_trial(client):
    """Create, follow, list by metric: the best trial has the parameters that its output proves."""
    experiment = create(
        client,
        "echo accuracy=0.1; echo accuracy=${x}",
        "echo done with ${trial_id}",
        search_space={"${x}": {"_type": "quniform", "_value": [0, 1, 0.125]}},
        yml_config=run_config(8, 2, "TPE"),
    )
    shown = follow(client, experiment, "FINISHED", "FAILED")
    assert (shown.status, shown.trial_count, shown.trial_status) == ("FINISHED", 8, {"FINISHED": "8"})
    ranked = trials(client, experiment, sort_by="FINAL_METRIC", order="DESC")
    finals = [float(one.final_metric) for one in ranked]
    assert finals == sorted(finals, reverse=True)
    assert finals == [json.loads(one.hyperparam)["${x}"] for one in ranked]
    best = client.get_hpo_trial(experiment, ranked[0].trial_id).body
    assert json.loads(best.final_metric) == {"default": finals[0]}
    rows = json.loads(best.metric)
    assert [row["type"] for row in rows] == ["PERIODICAL", "PERIODICAL", "FINAL"]
    assert rows[0]["default"] == 0.1
    page = trials(client, experiment, page_number=2, page_size=3)
    assert [one.parameter_id for one in page] == [3, 4, 5]
    commands = client.list_hpo_trial_commands(experiment, best.trial_id).body.commands
    assert [one.command for one in commands] == [
        f"echo accuracy=0.1; echo accuracy={finals[0]}",
        f"echo done with {best.trial_id.lower()}",
    ]
    assert commands[1].output == f"done with {best.trial_id.lower()}\n"
    for name in client.list_hpo_trial_log_names(experiment, best.trial_id).body.log_names:
        request = models.ListHpoTrialLogsRequest(log_name=name)
        logs = client.list_hpo_trial_logs(experiment, best.trial_id, request).body
        assert logs.total_count == len(logs.logs)
        if name.endswith("/stdout"):
            assert logs.logs[1:3] == ["accuracy=0.1", f"accuracy={finals[0]}"]
    request = models.ListHpoExperimentLogsRequest(log_name="nnimanager.log")
    assert "FINISHED" in client.list_hpo_experiment_logs(experiment, request).body.logs[-1]


def test_trials_are_stopped_restarted_and_updated(client, tmp_path):
    """StopHpoTrials, RestartHpoTrials, UpdateHpoExperiment and StopHpoExperiment act on trials that run."""
    experiment = create(client, "echo accuracy=1; sleep 1009", yml_config=run_config(2, 2))
    while len(running := [one for one in trials(client, experiment) if one.status == "RUNNING"]) < 2:
        pass
    first = running[0].trial_id
    stopped = client.stop_hpo_trials(experiment, models.StopHpoTrialsRequest(trial_ids=[first])).body
    assert stopped.results == {first: "successfully stopped trial,"}
    while client.get_hpo_trial(experiment, first).body.status == "RUNNING":
        pass
    restart = models.RestartHpoTrialsRequest(trial_ids=[first])
    assert client.restart_hpo_trials(experiment, restart).body.results == {
        first: "successfully restarted trial,"
    }
    rerun = trials(client, experiment)[2]
    assert rerun.hyperparam == running[0].hyperparam
    values = models.RestartHpoTrialsRequest(trial_hyper_parameters='{"${x}": 0.5}')
    client.restart_hpo_trials(experiment, values)
    assert json.loads(trials(client, experiment)[3].hyperparam) == {"${x}": 0.5}
    client.update_hpo_experiment(
        experiment,
        models.UpdateHpoExperimentRequest(
            hpo_experiment_configuration=models.HpoExperimentConfig().from_map(
                local_configuration("echo accuracy=2; sleep 1009", yml_config=run_config(3, 4))
            )
        ),
    )
    while sum(one.status == "RUNNING" for one in trials(client, experiment)) < 4:
        pass
    assert client.stop_hpo_experiment(experiment).body.status in ("TERMINATING", "USER_CANCELED")
    follow(client, experiment, "USER_CANCELED")
    assert {one.status for one in trials(client, experiment)} == {"USER_CANCELED"}


def test_a_reason_is_in_the_logs(client):
    """Why an experiment or a trial failed is in its log, where the API shows it."""
    refused = create(client, "x", platform_config={"name": "PAIFLOW", "cmd": ["x"]})
    follow(client, refused, "FAILED")
    request = models.ListHpoExperimentLogsRequest(log_name="nnimanager.log")
    assert any("PAIFLOW" in line for line in client.list_hpo_experiment_logs(refused, request).body.logs)
    failed = create(client, "exit 5", yml_config=run_config())
    follow(client, failed, "FINISHED")
    (trial,) = trials(client, failed)
    logs = client.list_hpo_trial_logs(
        failed, trial.trial_id, models.ListHpoTrialLogsRequest(log_name="trial.log")
    ).body.logs
    assert logs[-1].endswith("status FAILED: cmd1: exit status 5")
