"""`HpoExperimentConfig`, the struct of PAI AutoML 2022-08-28, member by member.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-struct-hpoexperimentconfig
and the OpenAPI metadata behind it. Members whose values need more than a type are free JSON here and are judged
in `hpoq.contract.rules`. Access key ids count as secrets: they are of no use to whoever reads an event or a log.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic import JsonValue as Json

from fcruntime import strictjson
from fcruntime.jsonvalue import JsonObject
from hpoq.contract.model import Model, few_wrong

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Texts = Annotated[list[str], few_wrong(str)]
FinalMode = Literal["final", "best", "avg"]


class PlatformConfig(Model):
    """Where the trials run, and the commands of one."""

    name: str
    cmd: Texts
    resume: str | None = None


class MetricConfig(Model):
    """Where a trial's metric comes from, and how its parts weigh."""

    metric_type: Literal["summary", "table", "json", "stdout", "api"]
    metric_source: Texts
    final_mode: FinalMode
    metric_dict: dict[str, Json]
    source_list_final_mode: FinalMode | None = None


class ParamsConfig(Model):
    """Parameter files in which hyperparameters are filled in, each `source,destination`."""

    params_src_dst_filepath: Texts | None = None


class OssConfig(Model):
    """Access to OSS."""

    endpoint: str | None = None
    access_key_id: SecretStr | None = Field(None, alias="accessKeyID")
    access_key_secret: SecretStr | None = Field(None, alias="accessKeySecret")
    role_arn: str | None = None


class OdpsConfig(Model):
    """Access to MaxCompute."""

    access_id: SecretStr | None = None
    access_key: SecretStr | None = None
    project_name: str | None = None
    end_point: str | None = None
    log_view_host: str | None = None
    region: str | None = None
    role_arn: str | None = None


class DlcConfig(Model):
    """Access to DLC. `end_point` is the engine's name for `endpoint`."""

    access_id: SecretStr | None = None
    access_key: SecretStr | None = None
    endpoint: str | None = None
    end_point: str | None = None
    region: str | None = None
    protocol: str | None = None


class TsConfig(Model):
    """Access to the training service."""

    access_key_id: SecretStr | None = None
    access_key_secret: SecretStr | None = None
    region_id: str | None = None
    endpoint: str | None = None


class PaiflowConfig(Model):
    """Access to PAI pipelines."""

    access_key_id: SecretStr | None = None
    access_key_secret: SecretStr | None = None
    region_id: str | None = None
    workspace_id: str | None = None


class Tuner(Model):
    """The algorithm that draws hyperparameters; `class_args` are its own."""

    name: str | None = None
    class_args: dict[str, Json] | None = None


class AssessorArgs(Model):
    """`patience` and `platform` are arguments of the engine that the API does not document."""

    proportion: float | None = None
    start_step: Int32 | None = None
    moving_avg: Json = None
    optimize_mode: str | None = None
    earlystop: bool | None = None
    patience: Json = None
    platform: Json = None

    def wire(self) -> JsonObject:
        """`moving_avg` is documented as text, and a boolean in the engine's own files."""
        document = super().wire()
        if isinstance(self.moving_avg, bool):
            document["moving_avg"] = "true" if self.moving_avg else "false"
        return document


class Assessor(Model):
    """The algorithm that stops trials early."""

    name: str | None = None
    class_args: AssessorArgs | None = None


class YmlConfig(Model):
    """How the experiment runs."""

    trial_concurrency: Int32 | None = None
    max_trial_number: Int32 | None = None
    experiment_name: str | None = None
    tuner: Tuner | None = None
    debug: bool | None = None
    log_level: str | None = None
    assessor: Assessor | None = None


class ScheduleConfig(Model):
    """When trials may run."""

    day: str | None = None
    start_time: str | None = None
    end_time: str | None = None


class MonitorConfig(Model):
    """Alerts by DingTalk; the URL carries an access token."""

    url: SecretStr | None = None
    keyword: str | None = None
    at_mobiles: str | None = None
    at_user_ids: str | None = None
    is_at_all: str | None = None


class OutputConfig(Model):
    """Where the best model and its summaries are."""

    model_path: str | None = None
    summary_path: str | None = None


class K8sConfig(Model):
    """Resources of the engine's container; documented as needing no configuration."""

    nni_container_requested_memory: str | None = None
    nni_container_requested_cpu: str | None = None
    nni_container_memory_limit: str | None = None
    nni_container_cpu_limit: str | None = None


class HpoExperimentConfig(Model):
    """The whole configuration. The grammar of `search_space` is that of NNI, the engine behind it."""

    platform_config: PlatformConfig
    metric_config: MetricConfig
    params_config: ParamsConfig | None = None
    oss_config: OssConfig | None = None
    odps_config: OdpsConfig | None = None
    ts_config: TsConfig | None = None
    paiflow_config: PaiflowConfig | None = None
    yml_config: YmlConfig | None = None
    search_space: Json = None
    k8s_config: K8sConfig | None = None
    dlc_config: DlcConfig | None = None
    schedule_config: ScheduleConfig | None = None
    monitor_config: MonitorConfig | None = None
    output_config: OutputConfig | None = None

    def wire(self) -> JsonObject:
        """The documentation calls `search_space` a JSON text, and shows an object: an object is sent."""
        document = super().wire()
        if isinstance(self.search_space, str):
            document["search_space"] = strictjson.loads(self.search_space)
        return document
