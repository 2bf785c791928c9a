"""Every operation of the official SDK of PAI AutoML, unmodified, against the local cloud over HTTP."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path

import pytest
from alibabacloud_paiautoml20220828 import models
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_tea_openapi.models import Config

import alilocal
from hpoq.testing import FakeClock
from support.deployment import vendor_config

AUTOFE = {"create_autofe_experiment", "get_autofe_experiment"}


@pytest.fixture
def cloud():
    """A local cloud whose clock stands still, so that trials change only when a test advances it."""
    with alilocal.LocalCloud(seed=3, clock=FakeClock(time.time())) as made:
        yield made


@pytest.fixture
def client(cloud):
    with alilocal.serve(cloud=cloud) as server:
        yield Client(Config(**vendor_config(server)))


def configuration(**sections):
    made = {
        "platform_config": {
            "name": "DLC",
            "cmd": ["dlc submit pytorch --name=t_${exp_id}_${trial_id} --lr=${lr}"],
        },
        "metric_config": {
            "metric_type": "stdout",
            "metric_source": ["cmd1"],
            "final_mode": "best",
            "metric_dict": {"loss=([0-9.]+)": 2},
        },
        "dlc_config": {"access_id": "id", "access_key": "key-in-clear"},
        "yml_config": {"trial_concurrency": 2, "max_trial_number": 5},
        "search_space": {"${lr}": {"_type": "uniform", "_value": [0.1, 0.2]}},
    }
    return models.HpoExperimentConfig().from_map({**made, **sections})


@pytest.fixture
def experiment(client):
    request = models.CreateHpoExperimentRequest(name="e", hpo_experiment_configuration=configuration())
    return client.create_hpo_experiment(request).body.experiment_id


def trials(client, experiment, **options):
    return client.list_hpo_trials(experiment, models.ListHpoTrialsRequest(**options)).body.trials


def failed_code(call, *args):
    return call(*args).body.code


def test_trials_come_and_end(client, cloud, experiment):
    assert trials(client, experiment) == []
    cloud.clock.advance(6)
    running = trials(client, experiment)
    assert [trial.status for trial in running] == ["RUNNING", "RUNNING"]
    assert [trial.final_metric for trial in running] == [None, None]
    cloud.clock.advance(60)
    ended = trials(client, experiment)
    assert [trial.status for trial in ended] == ["SUCCEEDED"] * 5
    assert [trial.trial_id for trial in ended[:2]] == [trial.trial_id for trial in running]
    assert len({trial.trial_id for trial in ended}) == 5
    for trial in ended:
        assert 0.1 <= json.loads(trial.hyperparam)["${lr}"] <= 0.2
        final = json.loads(trial.metric)[-1]
        assert final["type"] == "FINAL"
        assert (
            json.loads(trial.final_metric) == final["default"] == pytest.approx(2 * final["loss=([0-9.]+)"])
        )
        assert json.loads(trial.job_meta)["nni_trial_id"] == trial.trial_id
    shown = client.get_hpo_experiment(experiment).body
    assert (shown.trial_count, shown.trial_status, shown.status) == (5, {"FINISHED": "5"}, "FINISHED")


def test_trials_in_pages_and_orders(client, cloud, experiment):
    cloud.clock.advance(66)
    every = [trial.trial_id for trial in trials(client, experiment)]
    assert [trial.trial_id for trial in trials(client, experiment, page_number=2, page_size=2)] == every[2:4]
    metrics = [
        float(trial.final_metric)
        for trial in trials(client, experiment, sort_by="FINAL_METRIC", order="DESC")
    ]
    assert metrics == sorted(metrics, reverse=True)


def test_one_trial(client, cloud, experiment):
    """A trial that is read alone agrees with its row in the list."""
    cloud.clock.advance(66)
    first = trials(client, experiment)[0]
    shown = client.get_hpo_trial(experiment, first.trial_id).body
    assert (shown.status, shown.hyperparam) == ("FINISHED", first.hyperparam)
    assert json.loads(shown.final_metric) == {"default": float(first.final_metric)}
    cloud.behaviour.trial_success = "SUCCEEDED"
    assert client.get_hpo_trial(experiment, first.trial_id).body.status == "SUCCEEDED"


def test_commands_have_their_values_and_no_secret(client, cloud, experiment):
    client.update_hpo_experiment(
        experiment,
        models.UpdateHpoExperimentRequest(
            hpo_experiment_configuration=configuration(
                platform_config={"name": "DLC", "cmd": ["echo ${lr}", "login key-in-clear"]}
            )
        ),
    )
    cloud.clock.advance(66)
    first = trials(client, experiment)[0]
    ran = client.list_hpo_trial_commands(experiment, first.trial_id).body.commands
    assert [(command.id, command.command) for command in ran] == [
        (1, f"echo {json.loads(first.hyperparam)['${lr}']}"),
        (2, "login ********"),
    ]


def test_logs(client, cloud, experiment):
    """Every log of a trial and of an experiment can be listed and read, whole and in pages."""
    cloud.clock.advance(66)
    first = trials(client, experiment)[0].trial_id
    names = client.list_hpo_trial_log_names(experiment, first).body.log_names
    assert [name.rpartition("/")[2] for name in names] == ["stdout", "stderr", "trial.log"]
    for name in [*names, "stdout", "stderr", "trial.log"]:
        whole = client.list_hpo_trial_logs(
            experiment, first, models.ListHpoTrialLogsRequest(log_name=name)
        ).body
        assert whole.total_count == len(whole.logs)
    for name in ("nnimanager.log", "dispatcher.log"):
        whole = client.list_hpo_experiment_logs(
            experiment, models.ListHpoExperimentLogsRequest(log_name=name)
        ).body
        paged = client.list_hpo_experiment_logs(
            experiment, models.ListHpoExperimentLogsRequest(log_name=name, page_number=2, page_size=2)
        ).body
        assert paged.logs == whole.logs[2:4]
        assert paged.total_count == whole.total_count > 4
    unknown = models.ListHpoTrialLogsRequest(log_name="/etc/passwd")
    assert failed_code(client.list_hpo_trial_logs, experiment, first, unknown) == "INVALID_INPUT_PARAMS"


def test_trials_are_stopped(client, cloud, experiment):
    """Stopping trials ends those that run, and reports each trial that was not stopped."""
    cloud.clock.advance(6)
    first, second = (trial.trial_id for trial in trials(client, experiment))
    answer = client.stop_hpo_trials(experiment, models.StopHpoTrialsRequest(trial_ids=[first, "nobody"])).body
    assert answer.results == {first: "successfully stopped trial,", "nobody": "failed to stop trial,"}
    assert answer.message is None
    again = client.stop_hpo_trials(experiment, models.StopHpoTrialsRequest(trial_ids=[first])).body
    assert again.message == "failed to stop any trial"
    cloud.clock.advance(60)
    ended = {trial.trial_id: trial.status for trial in trials(client, experiment)}
    assert (ended[first], ended[second]) == ("USER_CANCELED", "SUCCEEDED")
    assert client.stop_hpo_trials(experiment, models.StopHpoTrialsRequest(trial_ids=[])).body.results == {}


def test_trials_are_restarted(client, cloud, experiment):
    """A failed trial is run again with its own values, or with values that the caller gives."""
    cloud.clock.advance(6)
    cloud.experiments[0].fail_trial(1)
    failed = trials(client, experiment)[1]
    assert failed.status == "FAILED"
    request = models.RestartHpoTrialsRequest(
        trial_ids=[failed.trial_id, trials(client, experiment)[0].trial_id]
    )
    results = client.restart_hpo_trials(experiment, request).body.results
    assert list(results.values()) == ["successfully restarted trial,", "failed to restart trial,"]
    rerun = trials(client, experiment)[-1]
    assert (rerun.hyperparam, rerun.status) == (failed.hyperparam, "WAITING")
    assert rerun.trial_id != failed.trial_id
    values = models.RestartHpoTrialsRequest(trial_hyper_parameters='{"${lr}": 0.15}')
    client.restart_hpo_trials(experiment, values)
    assert json.loads(trials(client, experiment)[-1].hyperparam) == {"${lr}": 0.15}
    assert client.restart_hpo_trials(experiment, models.RestartHpoTrialsRequest()).body.results == {}
    cloud.clock.advance(60)
    assert client.restart_hpo_trials(experiment, values).body.message == "failed to restart any trial"


def test_an_update_changes_what_it_names(client, cloud, experiment):
    request = models.UpdateHpoExperimentRequest(name="renamed", description="d", accessibility="PUBLIC")
    client.update_hpo_experiment(experiment, request)
    shown = client.get_hpo_experiment(experiment).body
    assert (shown.name, shown.description, shown.accessibility) == ("renamed", "d", "PUBLIC")
    broken = models.UpdateHpoExperimentRequest(
        hpo_experiment_configuration=configuration(metric_config={"metric_type": "guess"})
    )
    assert failed_code(client.update_hpo_experiment, experiment, broken) == "INVALID_INPUT_PARAMS"


def test_later_trials_run_under_the_new_configuration(client, cloud, experiment):
    cloud.clock.advance(6)
    before = [trial.hyperparam for trial in trials(client, experiment)]
    space = {"${lr}": {"_type": "choice", "_value": [7]}}
    request = models.UpdateHpoExperimentRequest(
        hpo_experiment_configuration=configuration(search_space=space)
    )
    client.update_hpo_experiment(experiment, request)
    cloud.clock.advance(60)
    after = [trial.hyperparam for trial in trials(client, experiment)]
    assert after == [*before, *['{"${lr}": 7}'] * 3]


def test_a_merge_keeps_the_other_sections(client, cloud, experiment):
    cloud.behaviour.update_configuration = "merged"
    only = models.HpoExperimentConfig().from_map({"yml_config": {"max_trial_number": 1}})
    client.update_hpo_experiment(
        experiment, models.UpdateHpoExperimentRequest(hpo_experiment_configuration=only)
    )
    assert cloud.experiments[0].configuration["platform_config"]["name"] == "DLC"
    assert cloud.experiments[0].configuration["yml_config"] == {"max_trial_number": 1}
    cloud.behaviour.update_configuration = "replaced"
    request = models.UpdateHpoExperimentRequest(hpo_experiment_configuration=only)
    assert failed_code(client.update_hpo_experiment, experiment, request) == "INVALID_INPUT_PARAMS"


def test_the_service_role(client):
    """The service role can be read once it was created."""
    assert failed_code(client.get_service_identity_role) == "EXECUTION_FAILURE"
    assert client.create_service_identity_role().body.role_name == "AliyunServiceRoleForPaiAutoml"
    assert client.get_service_identity_role().body.role_name == "AliyunServiceRoleForPaiAutoml"


def test_an_unsupported_call_is_refused_by_name(client):
    answer = client.get_autofe_experiment("x").body
    assert answer.code == "UNSUPPORTED_OPERATION"
    assert "does not support GetAutofeExperiment" in answer.message


def test_no_operation_of_the_sdk_is_forgotten():
    """Each is called in this file or its neighbour."""
    names = {
        name.removesuffix("_with_options")
        for name, _ in inspect.getmembers(Client, inspect.isfunction)
        if name.endswith("_with_options")
    }
    here = Path(__file__)
    text = here.read_text() + here.with_name("test_sdk_paiautoml.py").read_text()
    assert len(names) == 18
    assert [name for name in names - AUTOFE if f"client.{name}" not in text] == []


def test_a_snapshot_keeps_the_trials(client, cloud, experiment):
    cloud.clock.advance(6)
    cloud.experiments[0].fail_trial(1)
    client.update_hpo_experiment(
        experiment, models.UpdateHpoExperimentRequest(hpo_experiment_configuration=configuration())
    )
    document = json.loads(json.dumps(cloud.snapshot()))
    assert "key-in-clear" not in json.dumps(document)
    with alilocal.LocalCloud() as other:
        other.load(document)
        kept, had = other.experiments[0].trials, cloud.experiments[0].trials
        assert [(one.trial_id, one.hyperparameters) for one in kept] == [
            (one.trial_id, one.hyperparameters) for one in had
        ]
