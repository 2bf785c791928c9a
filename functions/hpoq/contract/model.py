"""The models of the request message and of the experiment's configuration, and what all models have in common.

`HpoExperimentConfig` is the struct of PAI AutoML 2022-08-28, member by member. Source:
https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-struct-hpoexperimentconfig
and the OpenAPI metadata behind it. A member that needs more than a type is free JSON here; `hpoq.contract.rules`
checks it. Access key ids count as secrets: a reader of an event or a log has no use for them.

Modules with models have no `from __future__ import annotations`: pydantic would compile each annotation at every
cold start.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, SecretStr, SkipValidation
from pydantic_core import PydanticCustomError

from fcruntime.jsonvalue import JsonObject
from hpoq.contract.finding import MOST_LISTED
from hpoq.contract.patterns import KEY_CHARACTERS

# Free JSON is kept as the message's parser made it: pydantic would call a function for each value in it.
Json = SkipValidation[JsonValue]

# The types of members that are sent as they are. A set, because `isinstance` is slow for a class of pydantic.
_JSON = frozenset({str, int, float, bool, dict})

SCHEMA_MEMBER = "$schema"
MANY_WRONG = "many_wrong"
MOST_KEY_CHARACTERS = 255


class Model(BaseModel):
    """A JSON object of the contract.

    It is frozen, rejects unknown members, converts no types, and keeps input out of its errors.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=False,
        protected_namespaces=(),
        # Only the outermost model is built, with the first message, so that a cold start need not wait for it.
        defer_build=True,
    )

    def wire(self, nulls: list[str] | None = None, at: str = "") -> JsonObject:
        """Return the object as the service receives it: with secrets, and without members that are null.

        Free JSON is shared with the model, not copied. The pointers to members that the producer wrote as null are
        added to `nulls`; `at` is the pointer to this object.
        """
        aliases, given = _aliases(type(self)), self.model_fields_set
        document: JsonObject = {}
        for name, value in self.__dict__.items():
            if value is None:  # like most members
                if nulls is not None and name in given:
                    nulls.append(f"{at}/{aliases[name]}")
            elif type(value) in _JSON:
                document[aliases[name]] = value
            elif isinstance(value, SecretStr):
                document[aliases[name]] = value.get_secret_value()
            elif isinstance(value, list):
                place = f"{at}/{aliases[name]}"
                document[aliases[name]] = [
                    item.wire(nulls, f"{place}/{index}")
                    if type(item) not in _JSON and isinstance(item, Model)
                    else item
                    for index, item in enumerate(value)
                ]
            else:
                document[aliases[name]] = value.wire(nulls, f"{at}/{aliases[name]}")
        return document


def _limit_errors(kind: type) -> BeforeValidator:
    """Return a validator of an array of `kind` that reports more than MOST_LISTED wrong items as one error.

    pydantic would make one error of half a kilobyte for each item, and a hostile message could fill the memory.
    """

    def check(value: object) -> object:
        if not isinstance(value, list) or len(value) <= MOST_LISTED:  # like most arrays
            return value
        wrong = sum(not isinstance(item, kind) for item in value)
        if wrong > MOST_LISTED:
            what = "a string" if kind is str else "an object"
            raise PydanticCustomError(
                MANY_WRONG, "{text}", {"text": f"every item must be {what}; {wrong} are not"}
            )
        return value

    return BeforeValidator(check)


def _read_integer(value: object) -> object:
    """Return a number without a fraction as an integer, and any other value unchanged: 5.0 is an integer in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def list_credentials(model: type[BaseModel]) -> frozenset[str]:
    """Return the members of `model` itself that are credentials, by their names in JSON."""
    fields = model.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if SecretStr in get_args(field.annotation))


@cache
def list_members(model: type[BaseModel] | None) -> Mapping[str, type[BaseModel] | None]:
    """Return the members of `model` by their JSON names, each with the model of its value or None."""
    fields = model.model_fields if model else {}
    return {field.alias or name: _find_model_in(field.annotation) for name, field in fields.items()}


def _find_model_in(annotation: object) -> type[BaseModel] | None:
    # Arguments first: in Python 3.10 `list[str]` is an instance of `type`, but `issubclass` refuses it.
    arguments: tuple[object, ...] = getattr(annotation, "__args__", ())
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in arguments if (found := _find_model_in(argument))), None)


@cache
def _aliases(model: type[Model]) -> dict[str, str]:
    """Return what the members of `model` are called in JSON, by the names of their fields."""
    return {name: field.alias or name for name, field in model.model_fields.items()}


def read_version(value: object) -> object:
    """Return the number 1 as "1", and any other value unchanged."""
    return "1" if value == 1 and not isinstance(value, bool) else value


SchemaVersion = Annotated[Literal["1"] | None, BeforeValidator(read_version)]
SchemaUri = Annotated[
    str | None,
    Field(
        alias=SCHEMA_MEMBER,
        description="The JSON Schema by which an editor checks the document. hpoq ignores it.",
    ),
]
Trace = Annotated[
    str | None,
    Field(description="A W3C trace context, which the event continues. An invalid value is ignored."),
]
ProducerKey = Annotated[
    str, Field(min_length=1, max_length=MOST_KEY_CHARACTERS, pattern=f"^{KEY_CHARACTERS}+$")
]
# The id is part of a path, so it must not consist of dots only.
ExperimentId = Annotated[
    str,
    Field(max_length=MOST_KEY_CHARACTERS, pattern=r"^[0-9A-Za-z_.\-]*[0-9A-Za-z_\-][0-9A-Za-z_.\-]*$"),
]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_read_integer)]
Strings = Annotated[list[str], _limit_errors(str)]
FinalMode = Literal["final", "best", "avg"]


class PlatformConfig(Model):
    """The platform that runs the trials, and the commands of one trial."""

    name: str
    cmd: Strings
    resume: str | None = None


class MetricConfig(Model):
    """The source of a trial's metric, and the weights of its parts.

    `optimize_mode` is documented by the engine, not by the API.
    """

    metric_type: Literal["summary", "table", "json", "stdout", "api"]
    metric_source: Strings
    final_mode: FinalMode
    metric_dict: dict[str, Json]
    source_list_final_mode: FinalMode | None = None
    optimize_mode: Json = None


class ParamsConfig(Model):
    """Files in which the hyperparameters are filled in, each written as `source,destination`."""

    params_src_dst_filepath: Strings | None = None


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
    """The algorithm that chooses hyperparameters. `class_args` depend on the algorithm."""

    name: str | None = None
    class_args: dict[str, Json] | None = None


class AssessorArgs(Model):
    """Arguments of the assessor. `patience` and `platform` are documented by the engine, not by the API."""

    proportion: float | None = None
    start_step: Int32 | None = None
    moving_avg: Json = None
    optimize_mode: str | None = None
    earlystop: bool | None = None
    patience: Json = None
    platform: Json = None

    def wire(self, nulls: list[str] | None = None, at: str = "") -> JsonObject:
        """Return the arguments as the service receives them.

        `moving_avg` is documented as a string, and a boolean in the engine's own files. The string is sent.
        """
        document = super().wire(nulls, at)
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
    """The days and times at which trials may run."""

    day: str | None = None
    start_time: str | None = None
    end_time: str | None = None


class MonitorConfig(Model):
    """Alerts by DingTalk. The URL contains an access token."""

    url: SecretStr | None = None
    keyword: str | None = None
    at_mobiles: str | None = None
    at_user_ids: str | None = None
    is_at_all: str | None = None


class OutputConfig(Model):
    """The places of the best model and of its summaries."""

    model_path: str | None = None
    summary_path: str | None = None


class K8sConfig(Model):
    """Resources of the engine's container. The API documents that they need no configuration."""

    nni_container_requested_memory: str | None = None
    nni_container_requested_cpu: str | None = None
    nni_container_memory_limit: str | None = None
    nni_container_cpu_limit: str | None = None


class HpoExperimentConfig(Model):
    """The whole configuration. `search_space` has the grammar of NNI, the engine behind the service."""

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


class Tag(Model):
    """A tag of an experiment."""

    key: str | None = Field(None, alias="Key")
    value: str | None = Field(None, alias="Value")


class CreateHpoExperiment(Model):
    """The body of CreateHpoExperiment. The service documents none of its members as required.

    Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-createhpoexperiment.
    """

    name: str | None = Field(None, alias="Name")
    workspace_id: str | None = Field(None, alias="WorkspaceId")
    description: str | None = Field(None, alias="Description")
    accessibility: Literal["PUBLIC", "PRIVATE"] | None = Field(None, alias="Accessibility")
    tag: Annotated[list[Tag], _limit_errors(dict)] | None = Field(None, alias="Tag")
    hpo_experiment_configuration: HpoExperimentConfig | None = Field(None, alias="HpoExperimentConfiguration")


class Guard(Model):
    """Limits of an experiment. The first one that is reached stops it. They are checked at intervals."""

    max_hours: Annotated[float, Field(gt=0)] | None = Field(
        None, alias="maxHours", description="Stops the experiment this many hours after its creation."
    )
    max_failed_trials: Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(_read_integer)] | None = (
        Field(
            None, alias="maxFailedTrials", description="Stops the experiment after this many failed trials."
        )
    )
    target_metric: float | None = Field(
        None,
        alias="targetMetric",
        description="Stops the experiment once a final metric is as good as this. Needs an `optimize_mode`.",
    )


class ExperimentRequest(Model):
    """A request message in its wrapped form."""

    experiment: CreateHpoExperiment
    schema_version: SchemaVersion = Field("1", alias="schemaVersion")
    idempotency_key: ProducerKey | None = Field(
        None,
        alias="idempotencyKey",
        description=(
            "Requests with the same key create one experiment. Keys are compared byte for byte as they are written, "
            "without normalization. A request without a key is identified by the source and id of the CloudEvent "
            "around it or, without a CloudEvent, by the id that the queue gave its message."
        ),
    )
    guard: Guard | None = None
    schema_uri: SchemaUri = None
    traceparent: Trace = None
    dry_run: bool | None = Field(
        None,
        alias="dryRun",
        description=(
            "If true, the request is only checked: an `accepted` or a `rejected` event answers it, nothing is "
            "created, and its key stays free."
        ),
    )


# Built by the import: threads that handle the first messages wait for an import, and two threads that build a model
# at the same time break pydantic up to 2.11.
ExperimentRequest.model_rebuild()
