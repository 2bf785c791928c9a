"""The settings: one frozen model, read from the variables `HPOQ_*` and validated as a whole at cold start.

The module does not use `from __future__ import annotations`, like those of the contract's models: pydantic would have
to compile every annotation from its text at every cold start.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fcruntime.triggers import KINDS, Kind
from hpoq.errors import SettingsError

PREFIX = "HPOQ_"
_QUEUE = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,119}$"


class Settings(BaseModel):
    """The settings of the function.

    The field `store` is the variable `HPOQ_STORE`. The descriptions are the rows of the table in README.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    name: str = Field(
        "",
        pattern=r"^([a-z0-9][a-z0-9-]{0,18}[a-z0-9])?$",
        description="Name of the deployment, if an account has several. The default names of queue and topic end "
        "with it.",
    )
    region: str | None = Field(None, description="Region of the services. Default: the function's region.")
    account_id: str | None = Field(
        None, description="Id of the account that owns the queue. Default: the function's account."
    )
    paiautoml_endpoint: str | None = Field(
        None, description="Base URL of PAI AutoML. Default: `https://paiautoml.<region>.aliyuncs.com`."
    )
    smq_endpoint: str | None = Field(
        None, description="Base URL of SMQ. Default: `https://<account>.mns.<region>.aliyuncs.com`."
    )
    eventbridge_endpoint: str | None = Field(
        None,
        description="Base URL of EventBridge, for events that are published there. Default: "
        "`https://<account>.eventbridge.<region>.aliyuncs.com`.",
    )
    store: str | None = Field(
        None,
        description="Where the records are stored: `tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE`, "
        "`redis://HOST:PORT/DB` (`rediss://` for TLS), or `sqlite:///PATH` for a single machine. Required on "
        "Function Compute; elsewhere the default is the file `hpoq.sqlite3`.",
    )
    namespace: str = Field(
        "",
        max_length=255,
        description="Part of every key, to separate deployments that share one table of records. Must never change.",
    )
    output: str = Field(
        "smq://hpo-results",
        description="Where events are published: `smq://TOPIC`, `eventbridge://BUS`, `file:///PATH` (JSON Lines) or "
        "`stdout://`.",
    )
    queue: str = Field(
        "hpo-requests",
        pattern=_QUEUE,
        description="The queue that requests come from; messages that must be retried are sent back to it.",
    )
    trigger: Kind | None = Field(
        None,
        description="The only event source to accept: "
        + ", ".join(f"`{kind}`" for kind in KINDS)
        + ". Default: "
        "recognise the source by the shape of the event.",
    )
    batch_policy: Literal["raise", "requeue"] = Field(
        "raise",
        description="How messages are retried: `raise` fails the event, so that FC delivers all its messages again; "
        "`requeue` sends only the messages that need it back to the queue.",
    )
    requeue_delay_seconds: int = Field(
        30, ge=0, le=3600, description="Seconds before a message that was sent back is delivered again."
    )
    concurrency: int = Field(
        16, ge=1, le=256, description="How many messages of one event are processed at the same time."
    )
    max_attempts: int = Field(
        10,
        ge=1,
        description="Number of attempts after which a message ends as `failed`. Only an attempt that was "
        "interrupted, or whose create has an unknown end, counts.",
    )
    max_age_hours: float = Field(
        72.0,
        gt=0,
        description="Age after which a message ends as `failed`, counted from its first delivery.",
    )
    dead_letter_queue: str | None = Field(
        None,
        pattern=_QUEUE,
        description="Queue into which a message is put before it ends as `failed`. Default: it is not kept.",
    )
    watch_queue: str | None = Field(
        None,
        pattern=_QUEUE,
        description="Queue of the messages by which the function follows each experiment to its end and publishes "
        "the result. The function must have a trigger for it. Default: experiments are not followed.",
    )
    watch_min_seconds: int = Field(
        60,
        ge=1,
        le=86_400,
        description="Shortest time between two looks at an experiment that is followed, in seconds.",
    )
    watch_max_seconds: int = Field(
        1800,
        ge=1,
        le=86_400,
        description="Longest time between two looks at an experiment that is followed, in seconds.",
    )
    watch_max_days: float = Field(
        30.0,
        gt=0,
        description="Days after which an experiment that has not ended is no longer followed; its result then "
        "has the status `UNKNOWN`.",
    )
    marker: Literal["both", "tag", "description"] = Field(
        "both",
        description="Where an experiment carries the key of its message: in the tag `hpoq-key`, in a suffix of its "
        "description, or in `both`.",
    )
    connect_timeout_seconds: float = Field(3.0, gt=0, description="Time-out for connecting to a service.")
    read_timeout_seconds: float = Field(
        25.0, gt=0, description="Time-out for sending a request and reading its answer."
    )
    call_attempts: int = Field(
        3, ge=1, le=10, description="How often a call is tried if it is safe to repeat it."
    )
    lease_seconds: float = Field(
        90.0, gt=0, le=3600, description="How long a claim reserves its key for one instance."
    )
    clock_skew_seconds: float = Field(
        10.0, ge=1, description="How far the clocks of two instances may differ."
    )
    consistency_seconds: float = Field(
        15.0, ge=1, description="How long the service may take to list a new experiment."
    )
    date_window_seconds: float = Field(
        900.0,
        ge=0,
        description="How far the date of a request may differ from the service's clock before the service refuses "
        "it (`InvalidTimeStamp.Expired`). Creates are backdated within this window, so that a late copy expires "
        "soon. 0 turns backdating off.",
    )
    retention_days: float = Field(30.0, ge=7, description="How long the record of an ended message is kept.")
    list_page_size: int = Field(
        50,
        ge=1,
        le=100,
        description="Page size of the listings in which an existing experiment is searched for.",
    )
    deadline_reserve_seconds: float = Field(
        3.0, ge=0, description="Time reserved at the end of an invocation for saving and publishing results."
    )
    event_source: str | None = Field(
        None, description="CloudEvents `source` of the events. Default: the function's ARN."
    )
    opentelemetry: bool = Field(
        default=False,
        description="Also export metrics and spans with OpenTelemetry. Needs `hpoq[otel]`; the destination is set by "
        "OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _end_default_names(cls, given: dict[str, str]) -> dict[str, str]:
        name = given.get("name")
        if not name:
            return given
        return {"queue": f"hpo-requests-{name}", "output": f"smq://hpo-results-{name}"} | given

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
                f"HPOQ_LEASE_SECONDS must be more than {needed:g}: the sum of HPOQ_CONNECT_TIMEOUT_SECONDS, "
                "HPOQ_READ_TIMEOUT_SECONDS, HPOQ_CLOCK_SKEW_SECONDS and HPOQ_CONSISTENCY_SECONDS; otherwise no "
                "create could ever be sent"
            )
        return self

    @model_validator(mode="after")
    def _dead_letters_leave_the_queue(self) -> "Settings":
        if self.dead_letter_queue == self.queue:
            raise ValueError("HPOQ_DEAD_LETTER_QUEUE must be another queue than HPOQ_QUEUE")
        return self

    @model_validator(mode="after")
    def _watch_messages_wait_apart(self) -> "Settings":
        if self.watch_queue is not None and self.watch_queue in (self.queue, self.dead_letter_queue):
            raise ValueError(
                "HPOQ_WATCH_QUEUE must be another queue than HPOQ_QUEUE and HPOQ_DEAD_LETTER_QUEUE"
            )
        if self.watch_min_seconds > self.watch_max_seconds:
            raise ValueError("HPOQ_WATCH_MIN_SECONDS must not be more than HPOQ_WATCH_MAX_SECONDS")
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Return the settings in `environ`. An empty variable counts as not set.

        Raises SettingsError with every problem, including unknown `HPOQ_` variables.
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
                [_describe_problem(cls, error["loc"], error["msg"]) for error in exc.errors()]
            ) from None


# The beginnings of pydantic's messages, and what they mean for a person who sets a variable.
_WORDING = {
    "Input should be a valid integer": "a whole number",
    "Input should be a valid number": "a number",
    "Input should be a finite number": "a number",
    "Input should be a valid boolean": "true or false",
    "Input should be greater than or equal to": "at least",
    "Input should be less than or equal to": "at most",
    "Input should be greater than": "more than",
    "Input should be less than": "less than",
    "Input should be": "",
    "String should match pattern": "a string that matches",
}


def _describe_problem(model: type[BaseModel], place: tuple[int | str, ...], text: str) -> str:
    if not place:
        return text.removeprefix("Value error, ")
    field = str(place[0])
    name = PREFIX + field.upper()
    if field in model.model_fields:
        # Without the value: a secret may be in the wrong variable.
        return f"{name} must be {_reword(text)}"
    import difflib  # only needed for a misspelt setting

    close = difflib.get_close_matches(field, model.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else ""
    return f"{name} is not a setting{hint}"


def _reword(text: str) -> str:
    for begin, words in _WORDING.items():
        if text.startswith(begin):
            # What follows a comma says how the parser failed.
            rest = "" if begin.startswith("Input should be a ") else text[len(begin) :]
            return f"{words}{rest}".strip()
    return text
