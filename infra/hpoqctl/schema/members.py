"""What each member of a request means, with an example: for the JSON Schema, editors and the reference page.

The texts stand here and not in the models, because the function would build them at every cold start. A member that
has a description in its model has only an example here. A member that is an object has no example of its own.

Sources: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-struct-hpoexperimentconfig
and EasyRec's "PAI-NNI-HPO" documentation (github.com/alibaba/EasyRec, docs/source/automl).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fcruntime.jsonvalue import JsonObject, JsonValue


@dataclass(frozen=True)
class Member:
    """The meaning of a member and an example of its value, each None if another place has it."""

    description: str | None
    example: JsonValue = None

    def as_keywords(self) -> JsonObject:
        """Return the keywords that describe the member in a schema."""
        found: JsonObject = {} if self.description is None else {"description": self.description}
        return found if self.example is None else {**found, "examples": [self.example]}


_ABOUT_ID = "The id of an access key. Leave the key pair out and use a role where that is possible."
_ABOUT_SECRET = "The secret of the access key. Use the key of a RAM user with few permissions."  # noqa: S105
_FINAL_MODES = "`final` is the last value, `best` the best one, `avg` the average."

MEMBERS: Final[Mapping[str, Mapping[str, Member]]] = {
    "ExperimentRequest": {
        "experiment": Member("The experiment to create: the body of CreateHpoExperiment, unchanged."),
        "schemaVersion": Member('The version of this form of a request: always "1".', "1"),
        "idempotencyKey": Member(None, "tune-ranking-2026-11-23"),
        "guard": Member("Limits of the experiment; the first one that is reached stops it."),
        "dryRun": Member(None, example=True),
        "traceparent": Member(None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "$schema": Member(None, "request.schema.json"),
    },
    "Guard": {
        "maxHours": Member(None, 12),
        "maxFailedTrials": Member(None, 5),
        "targetMetric": Member(None, 0.95),
    },
    "StopRequest": {
        "stop": Member("The experiment to stop, by the key of its request or by its id."),
        "schemaVersion": Member('The version of this form of a message: always "1".', "1"),
        "idempotencyKey": Member(None, "stop-ranking-2026-11-23"),
        "$schema": Member(None, "request.schema.json"),
        "traceparent": Member(None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    },
    "StopTarget": {
        "idempotencyKey": Member(None, "tune-ranking-2026-11-23"),
        "experimentId": Member(None, "sJ0xjVa"),
    },
    "CreateHpoExperiment": {
        "Name": Member("The name of the experiment, shown in PAI's console.", "kmeans"),
        "WorkspaceId": Member("The id of the PAI workspace that the experiment belongs to.", "12345"),
        "Description": Member(
            "A text for people. By default hpoq appends a marker with the key of the request.", "Search of k"
        ),
        "Accessibility": Member(
            "Who sees the experiment: `PRIVATE` its creator and administrators, `PUBLIC` the whole workspace.",
            "PRIVATE",
        ),
        "Tag": Member("Up to 20 tags, by which experiments can be listed. hpoq adds one of its own."),
        "HpoExperimentConfiguration": Member("What to run, what to measure, and what to vary."),
    },
    "Tag": {
        "Key": Member("The name of the tag. `hpoq-key` is reserved.", "team"),
        "Value": Member("The value of the tag.", "ranking"),
    },
    "HpoExperimentConfig": {
        "platform_config": Member("Where the trials run, and the commands of one trial."),
        "metric_config": Member("Where the result of a trial comes from."),
        "params_config": Member("Files in which the parameters of a trial are filled in."),
        "oss_config": Member("How OSS is accessed, if paths begin with `oss://`."),
        "odps_config": Member(
            "How MaxCompute is accessed, for its commands and for metrics of type `table`."
        ),
        "ts_config": Member("How the training service is accessed."),
        "paiflow_config": Member("How PAI pipelines are accessed, for platform `paiflow`."),
        "yml_config": Member("How many trials run, how many at a time, and how parameters are chosen."),
        "search_space": Member(
            "The parameters to vary. Each name replaces the same text in commands and files, so it is written as "
            "`${name}`.",
            {"${lr}": {"_type": "loguniform", "_value": [0.0001, 0.1]}},
        ),
        "k8s_config": Member("Resources of the engine. The API documents that this needs no configuration."),
        "dlc_config": Member("How DLC is accessed, for platform `DLC`."),
        "schedule_config": Member("The days and times at which trials may start."),
        "monitor_config": Member("Where alerts are sent."),
        "output_config": Member("Where the best model and its summaries are written."),
    },
    "PlatformConfig": {
        "name": Member("The platform: `DLC`, `MaxCompute` or `paiflow`.", "DLC"),
        "cmd": Member(
            "The commands of one trial, executed one after another. `${name}` of the search space, `${exp_id}` and "
            "`${trial_id}` are replaced.",
            ["dlc submit pytorch --name=mnist_${exp_id}_${trial_id} --command='python mnist.py --lr=${lr}'"],
        ),
        "resume": Member(
            '"1" resumes a restarted trial at the command that failed; "0", the default, starts again.', "1"
        ),
    },
    "MetricConfig": {
        "metric_type": Member(
            "Where the metric comes from: `stdout` the output of a command, `table` a SQL query, `json` a file, "
            "`summary` a folder of TensorBoard summaries.",
            "stdout",
        ),
        "metric_source": Member(
            "The places of the metric. For `stdout` the number of a command (`cmd1` is the first), for `table` SQL, "
            "otherwise a path.",
            ["cmd1"],
        ),
        "final_mode": Member(f"Which of the values that a trial reports counts. {_FINAL_MODES}", "best"),
        "metric_dict": Member(
            "The weight of each metric; the weighted sum is optimized. A name is a column, a key, a tag or, for "
            "`stdout`, a regular expression with one group around the number.",
            {"val_loss=([0-9.]+)": 1},
        ),
        "source_list_final_mode": Member(
            f"How the values of several sources are combined. {_FINAL_MODES} Default: as final_mode.", "avg"
        ),
        "optimize_mode": Member(
            "Documented by the engine only. Set yml_config.tuner.class_args.optimize_mode instead.",
            "maximize",
        ),
    },
    "ParamsConfig": {
        "params_src_dst_filepath": Member(
            "Each item names a template and the file to write from it, as `source,destination`.",
            ["oss://bucket/template.config,oss://bucket/${exp_id}/${trial_id}.config"],
        )
    },
    "OssConfig": {
        "endpoint": Member("The endpoint of OSS.", "https://oss-cn-shanghai-internal.aliyuncs.com"),
        "accessKeyID": Member(_ABOUT_ID, "EXAMPLE-ID"),
        "accessKeySecret": Member(_ABOUT_SECRET, "EXAMPLE-SECRET"),
        "role_arn": Member(
            "The role with which PAI accesses OSS, instead of a key pair.",
            "acs:ram::1000000000000000:role/aliyunserviceroleforpaiautoml",
        ),
    },
    "OdpsConfig": {
        "access_id": Member(_ABOUT_ID, "EXAMPLE-ID"),
        "access_key": Member(_ABOUT_SECRET, "EXAMPLE-SECRET"),
        "project_name": Member("The MaxCompute project.", "marketing"),
        "end_point": Member(
            "The endpoint of MaxCompute.", "http://service.cn-shanghai.maxcompute.aliyun.com/api"
        ),
        "log_view_host": Member("The host of LogView.", "http://logview.odps.aliyun.com"),
        "region": Member("The region of the project.", "cn-shanghai"),
        "role_arn": Member(
            "The role with which PAI accesses MaxCompute, instead of a key pair.",
            "acs:ram::1000000000000000:role/aliyunserviceroleforpaiautoml",
        ),
    },
    "DlcConfig": {
        "access_id": Member(_ABOUT_ID, "EXAMPLE-ID"),
        "access_key": Member(_ABOUT_SECRET, "EXAMPLE-SECRET"),
        "endpoint": Member("The endpoint of DLC.", "pai-dlc.cn-shanghai.aliyuncs.com"),
        "end_point": Member(
            "The engine's name for `endpoint`, which the API documents.", "pai-dlc.cn-shanghai.aliyuncs.com"
        ),
        "region": Member("The region in which jobs run.", "cn-shanghai"),
        "protocol": Member("The protocol of the endpoint.", "https"),
    },
    "TsConfig": {
        "access_key_id": Member(_ABOUT_ID, "EXAMPLE-ID"),
        "access_key_secret": Member(_ABOUT_SECRET, "EXAMPLE-SECRET"),
        "region_id": Member("The region of the training service.", "cn-shanghai"),
        "endpoint": Member("The endpoint of the training service.", "pai.cn-shanghai.aliyuncs.com"),
    },
    "PaiflowConfig": {
        "access_key_id": Member(_ABOUT_ID, "EXAMPLE-ID"),
        "access_key_secret": Member(_ABOUT_SECRET, "EXAMPLE-SECRET"),
        "region_id": Member("The region of the pipelines.", "cn-shanghai"),
        "workspace_id": Member("The id of the workspace of the pipelines.", "12345"),
    },
    "Tuner": {
        "name": Member("The algorithm: `TPE`, `GridSearch`, `Random`, `Evolution`, `GP` or `PBT`.", "TPE"),
        "class_args": Member(
            "Arguments of the algorithm. `optimize_mode` is `maximize` or `minimize`; TPE minimizes without it.",
            {"optimize_mode": "minimize"},
        ),
    },
    "AssessorArgs": {
        "proportion": Member(
            "A trial is stopped if it is worse than this proportion of the others at the same step.", 0.5
        ),
        "start_step": Member("The first step at which a trial may be stopped.", 5),
        "moving_avg": Member('Whether to compare moving averages: "true" or "false", a string.', "true"),
        "optimize_mode": Member("`maximize` or `minimize`, as for the tuner.", "minimize"),
        "earlystop": Member("Whether trials are stopped early.", example=True),
        "patience": Member(
            "Documented by the engine only: stop after so many steps without improvement.", 10
        ),
        "platform": Member("Documented by the engine only: the platform of the trials.", "MAXCOMPUTE"),
    },
    "Assessor": {
        "name": Member("The algorithm. Only `PAIAssessor` can stop trials on PAI.", "PAIAssessor"),
        "class_args": Member("The rules by which trials are stopped."),
    },
    "YmlConfig": {
        "trial_concurrency": Member("How many trials run at the same time.", 5),
        "max_trial_number": Member(
            "The number of trials after which the experiment ends. Without it, nothing limits them.", 20
        ),
        "experiment_name": Member("A name of the experiment inside the engine.", "my_hpo_exp"),
        "tuner": Member("The algorithm that chooses the parameters of each trial."),
        "debug": Member("Whether the engine runs in debug mode.", example=False),
        "log_level": Member(
            "The lowest level that the engine logs: trace, debug, info, warning, error, fatal.", "info"
        ),
        "assessor": Member("The algorithm that stops hopeless trials early."),
    },
    "ScheduleConfig": {
        "day": Member("The days: `everyday` or `weekend`.", "everyday"),
        "start_time": Member("The time from which trials may start, as HH:MM.", "00:00"),
        "end_time": Member("The time until which trials may start, as HH:MM.", "07:30"),
    },
    "MonitorConfig": {
        "url": Member(
            "The webhook of a DingTalk robot. It contains an access token.",
            "https://oapi.dingtalk.com/robot/send?access_token=EXAMPLE",
        ),
        "keyword": Member("The keyword that the robot requires in each message.", "hpo"),
        "at_mobiles": Member(
            "Mobile numbers of those who are mentioned, as a list in a string.", "[188xxxx]"
        ),
        "at_user_ids": Member("User ids of those who are mentioned, as a list in a string.", "[]"),
        "is_at_all": Member("Whether everybody is mentioned, as a string.", "False"),
    },
    "OutputConfig": {
        "model_path": Member(
            "Where each trial writes its model; that of the best trial is the result.",
            "oss://bucket/model_${exp_id}_${trial_id}",
        ),
        "summary_path": Member(
            "Where each trial writes its TensorBoard summaries.", "oss://bucket/summary_${exp_id}_${trial_id}"
        ),
    },
    "K8sConfig": {
        "nni_container_requested_memory": Member("The memory that the engine's container requests.", "512Mi"),
        "nni_container_requested_cpu": Member("The CPU that the engine's container requests.", "500m"),
        "nni_container_memory_limit": Member("The largest memory of the engine's container.", "1Gi"),
        "nni_container_cpu_limit": Member("The largest CPU of the engine's container.", "1"),
    },
    "SearchSpaceEntry": {
        "_type": Member(
            "How a value is drawn: `choice` from a list, `uniform` and `randint` from a range, `loguniform` from a "
            "range of magnitudes, `normal` around a mean; those with `q` in steps.",
            "loguniform",
        ),
        "_value": Member("The list of a `choice`, or the bounds of the type.", [0.0001, 0.1]),
    },
    "NestedChoice": {
        "_name": Member("The value of the choice; the other members are parameters that belong to it.", "sgd")
    },
    "CloudEvent": {"specversion": Member("The version of the CloudEvents specification.", "1.0")},
}
"""The members of each object, by the names of the object in the schema and of the member in JSON."""


def describe_members(schemas: Mapping[str, JsonObject]) -> None:
    """Add the texts to the definitions of a schema, in place."""
    for name, members in MEMBERS.items():
        properties = schemas[name].get("properties") if name in schemas else None
        if isinstance(properties, dict):
            for member, text in members.items():
                schema = properties.get(member)
                if isinstance(schema, dict):
                    properties[member] = {**schema, **text.as_keywords()}
