"""The settings: one frozen model, read from the variables `HPOQ_*` and checked as a whole at cold start.

Annotations are no texts here, as in the contract's models: pydantic would compile each at every cold start.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fcruntime.triggers import KINDS, Kind
from hpoq.errors import SettingsError

PREFIX = "HPOQ_"


class Settings(BaseModel):
    """Every field is the variable of its name in capitals, after `HPOQ_`; the descriptions are for users."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    region: str | None = Field(None, description="Region of the services; by default the function's own.")
    account_id: str | None = Field(None, description="Account of the queue; by default the function's own.")
    paiautoml_endpoint: str | None = Field(
        None, description="Base URL of PAI AutoML; by default `https://paiautoml.<region>.aliyuncs.com`."
    )
    smq_endpoint: str | None = Field(
        None, description="Base URL of SMQ; by default `https://<account>.mns.<region>.aliyuncs.com`."
    )
    store: str | None = Field(
        None,
        description="Where the records are kept: `tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE`, "
        "`redis://HOST:PORT/DB` (`rediss://` with TLS), or `sqlite:///PATH` for a single machine. Must be set "
        "on FC; elsewhere the file `hpoq.sqlite3`.",
    )
    output: str = Field(
        "smq://hpo-results",
        description="Where events go: `smq://TOPIC`, `file:///PATH` (JSON Lines) or `stdout://`.",
    )
    queue: str = Field(
        "hpo-requests",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,119}$",
        description="The source queue, for messages that are sent back.",
    )
    trigger: Kind | None = Field(
        None,
        description="The one event source to recognise: " + ", ".join(f"`{kind}`" for kind in KINDS) + ". By "
        "default the shape of an event tells.",
    )
    batch_policy: Literal["raise", "requeue"] = Field(
        "raise",
        description="What happens to messages that must be retried: `raise` has the whole event delivered "
        "again, `requeue` sends just them back to the queue.",
    )
    requeue_delay_seconds: int = Field(30, ge=0, le=3600, description="Delay of a message sent back.")
    concurrency: int = Field(16, ge=1, le=256, description="Messages of one event processed at a time.")
    max_attempts: int = Field(10, ge=1, description="Attempts after which a message ends as `failed`.")
    marker: Literal["tag", "description"] = Field(
        "tag", description="What carries the key on the experiment: the tag `hpoq-key`, or the description."
    )
    connect_timeout_seconds: float = Field(3.0, gt=0, description="Time-out for connecting to a service.")
    read_timeout_seconds: float = Field(25.0, gt=0, description="Time-out for a service's answer.")
    call_attempts: int = Field(3, ge=1, le=10, description="Tries of one call, where a repeat is safe.")
    lease_seconds: float = Field(90.0, gt=0, le=3600, description="How long a claim holds its key.")
    clock_skew_seconds: float = Field(10.0, ge=1, description="How far two instances' clocks may differ.")
    consistency_seconds: float = Field(
        15.0, ge=1, description="How long a new experiment may be missing from the service's listing."
    )
    retention_days: float = Field(30.0, ge=7, description="How long an ended message is remembered.")
    list_page_size: int = Field(50, ge=1, le=100, description="Page size of listings in a reconciliation.")
    deadline_reserve_seconds: float = Field(
        3.0, ge=0, description="Time kept back at an invocation's end, to save and to publish."
    )
    event_source: str | None = Field(
        None, description="CloudEvents `source` of the events; by default the function's ARN."
    )
    opentelemetry: bool = Field(
        default=False,
        description="Metrics and spans through OpenTelemetry too: needs `hpoq[otel]`; where to, its own variables "
        "say, `OTEL_EXPORTER_OTLP_ENDPOINT` first.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @model_validator(mode="after")
    def _lease_covers_a_create(self) -> "Settings":
        needed = (
            self.connect_timeout_seconds
            + self.read_timeout_seconds
            + self.clock_skew_seconds
            + self.consistency_seconds
        )
        if self.lease_seconds <= needed:
            raise ValueError(
                f"HPOQ_LEASE_SECONDS must be more than {needed:g}: the connect and read time-outs, the clock "
                "skew and the consistency margin together, or no create could ever be sent"
            )
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """The settings in `environ`; an empty variable counts as unset.

        Raises SettingsError that lists every problem, unknown `HPOQ_` variables among them.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and value != ""
        }
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            raise SettingsError(
                [_problem(cls, error["loc"], error["msg"]) for error in exc.errors()]
            ) from None


def _problem(model: type[BaseModel], place: tuple[int | str, ...], text: str) -> str:
    if not place:
        return text.removeprefix("Value error, ")
    field = str(place[0])
    name = PREFIX + field.upper()
    if field in model.model_fields:
        return f"{name}: {text}"
    import difflib  # only for a misspelt setting

    close = difflib.get_close_matches(field, model.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""
    return f"{name} is not a setting{hint}"
