"""No configuration is refused that the service or its engine documents.

Each input has the structure of a published one, with values of its own: the samples of the service's API reference
and of its SDKs, the configuration reference of the engine (EasyRec, PAI-NNI-HPO), and the search spaces of NNI's
examples and tests.
"""

import copy

import pytest
from requestdocs import MINIMAL, parse

WHOLE = {
    "API reference, GetHpoExperiment": {
        "output_config": {"model_path": "model_${exp_id}_${trial_id}"},
        "platform_config": {
            "name": "MaxCompute",
            "cmd": [
                "PAI -name train\n    -project team",
                "PAI -name score",
                "INSERT OVERWRITE TABLE scores;",
            ],
        },
        "metric_config": {
            "metric_type": "table",
            "metric_source": ["select * from scores where pt='${exp_id}_${trial_id}';"],
            "final_mode": "best",
            "metric_dict": {"recall": 0.5, "auc": 0.25, "precision": 0.25},
        },
        "odps_config": {
            "project_name": "team",
            "role_arn": "acs:ram::1:role/automl",
            "region": "cn-shanghai",
            "end_point": "http://service.example/api",
            "log_view_host": "http://logview.example",
        },
        "yml_config": {
            "experiment_name": "mine",
            "max_trial_number": 5,
            "trial_concurrency": 2,
            "assessor": {
                "name": "PAIAssessor",
                "class_args": {"earlystop": True, "start_step": 5, "optimize_mode": "maximize"},
            },
            "tuner": {"name": "TPE", "class_args": {"optimize_mode": "maximize"}},
        },
        "search_space": {
            "${depth}": {"_type": "choice", "_value": [1, 3]},
            "${trees}": {"_value": [50, 100], "_type": "choice"},
        },
    }
}
SECTIONS = {
    "assessor": [
        {"name": "PAIAssessor", "class_args": {"platform": "DLC", "moving_avg": True, "proportion": 0.5}},
        {"name": "PAIAssessor", "class_args": {"moving_avg": "true", "patience": 10}},
        {"name": "Medianstop", "class_args": {"optimize_mode": "maximize", "start_step": 2}},
    ],
    "tuner": [
        {"name": "Random"},
        {"name": "GridSearch", "class_args": {}},
        {"name": "Batch"},
        {"name": "Anneal", "class_args": {"optimize_mode": "minimize"}},
        {"name": "Evolution", "class_args": {"optimize_mode": "maximize", "population_size": 20}},
        {"name": "TPE", "class_args": {"seed": 7, "tpe_args": {"gamma": 0.5, "constant_liar_type": "mean"}}},
        {"name": "GP", "class_args": {"utility": "ei", "kappa": 5.0, "nu": 2.5, "alpha": 1e-6, "xi": 0.0}},
        {"name": "PBTTuner", "class_args": {"all_checkpoint_dir": "/mnt/c", "factor": 0.2, "fraction": 0.2}},
    ],
    "metric_config": [
        {"metric_type": "stdout", "metric_source": ["cmd,worker"], "metric_dict": {"acc=([0-9\\.]+)": 1}},
        {"metric_type": "stdout", "metric_source": ["cmd1"], "metric_dict": {"acc=([0-9.]+)": -0.5}},
        {"metric_type": "stdout", "metric_source": ["oss://b/out_${exp_id}"], "metric_dict": {"a=(.*)": 1}},
        {"metric_type": "summary", "metric_source": ["hdfs://10.0.0.1:9000/m/${trial_id}/eval_val/"]},
        {"metric_type": "summary", "metric_source": ["./model/eval"], "source_list_final_mode": "avg"},
        {"metric_type": "json", "metric_source": ["/mnt/data/metric_${trial_id}.json"]},
        {"metric_type": "table", "metric_source": ["  SELECT\n* FROM t"], "optimize_mode": "maximize"},
        {"metric_type": "api", "metric_source": ["cmd1"], "final_mode": "avg"},
    ],
    "oss_config": [{"endpoint": "e", "accessKeyID": "id", "accessKeySecret": "s", "role_arn": "r"}],
    "odps_config": [{"access_id": "id", "access_key": "s", "project_name": "p", "end_point": "e"}],
    "dlc_config": [
        {"access_id": "id", "access_key": "s", "endpoint": "e", "region": "r", "protocol": "https"},
        {"access_id": "id", "access_key": "s", "end_point": "e"},
    ],
    "ts_config": [{"access_key_id": "id", "access_key_secret": "s", "region_id": "r", "endpoint": "e"}],
    "paiflow_config": [
        {"access_key_id": "id", "access_key_secret": "s", "region_id": "r", "workspace_id": "1"}
    ],
    "monitor_config": [
        {"url": "https://x", "keyword": "k", "at_mobiles": "[1]", "at_user_ids": "[]", "is_at_all": "True"}
    ],
    "schedule_config": [{"day": "weekend", "start_time": "00:00", "end_time": "23:59"}],
    "params_config": [{"params_src_dst_filepath": ["/a.config,oss://b/c_${exp_id}.config", "./d, ./e"]}],
    "output_config": [{"model_path": "m", "summary_path": "s"}],
    "platform_config": [
        {"name": name, "cmd": ["run ${params}"], "resume": "1"}
        for name in ("DLC", "MaxCompute", "DataScience", "LOCAL", "PAI", "PAIFLOW")
    ],
    "search_space": [
        {"${lr}": {"_type": "choice", "_value": [1e-6, 1e-7]}},
        {"train.optimizer[0].lr": {"_type": "loguniform", "_value": [0.0001, 0.1]}},
        {"a": {"_type": "quniform", "_value": [1.0, 2.0, 0.05]}},
        {"a": {"_type": "quniform", "_value": [2097152, 16777216, 1048576]}},
        {"a": {"_type": "randint", "_value": [0, 16]}, "b": {"_type": "qlognormal", "_value": [0, 1, 0.5]}},
        {"a": {"_type": "choice", "_value": [{"x": 1}, {"x": 100}]}},
        {"a": {"_type": "choice", "_value": ["none", ["conv", {"_type": "choice", "_value": [2, 3]}]]}},
        {
            "a": {
                "_type": "choice",
                "_value": [
                    {"_name": "none"},
                    {"_name": "conv", "size": {"_type": "choice", "_value": [1, 2]}},
                ],
            }
        },
        {"a": {"_type": "choice", "_value": [[32, 64], [64, 128], None]}},
        {"a": {"_type": "choice", "_value": [True, False]}},
        {},
    ],
}


def with_section(name, value):
    """Return the minimal request with a section of its configuration, or a part of one, replaced or completed."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    if name in ("tuner", "assessor"):
        config["yml_config"][name] = value
    elif name == "metric_config":
        config[name] |= value
    else:
        config[name] = value
    return document


@pytest.mark.parametrize("config", WHOLE.values(), ids=WHOLE.keys())
def test_a_documented_configuration_is_accepted(config):
    """A whole configuration is sent as it was written."""
    document = {"experiment": {"Name": "x", "WorkspaceId": "1", "HpoExperimentConfiguration": config}}
    assert parse(document).request.experiment.wire() == document["experiment"]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_documented_section_is_accepted(name):
    """Each section that a document shows is accepted, perhaps with warnings."""
    for value in SECTIONS[name]:
        parse(with_section(name, value))
