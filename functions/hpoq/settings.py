"""The settings: one frozen object, read from the variables `HPOQ_*` and checked as a whole at cold start.

They are read without pydantic. Loading it for one model takes a third of a cold start, and an instance that handles
only watch messages needs no model of the contract.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Literal, TypeAlias, TypeVar, get_args

from fcruntime.batch import Policy
from fcruntime.dataclass import dataclass, field
from fcruntime.triggers import KINDS, Kind
from hpoq.cloud.endpoint import Endpoint, check_account, check_region
from hpoq.errors import SettingsError

PREFIX = "HPOQ_"
Marker = Literal["both", "tag", "description"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

Reader: TypeAlias = Callable[[str], object]
"""Return the value of a variable's text, or raise a ValueError that says what it must be, without quoting it.

The text may be a secret that is in the wrong variable.
"""
_T = TypeVar("_T")

_WHOLE = r"\s*[+-]?[0-9](_?[0-9]){0,99}(\.0+)?\s*"
_TRUE = ("true", "1", "yes", "on", "t", "y")
_FALSE = ("false", "0", "no", "off", "f", "n")


def _setting(default: _T, description: str, read: Reader = str, *, is_secret: bool = False) -> _T:
    """Return a field of the settings. One that is secret, or contains a password, is not in their `repr`."""
    metadata = {"description": description, "read": read}
    return field(default=default, repr=not is_secret, metadata=metadata)


def _matching(pattern: str, form: str) -> Reader:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(form)
        return text

    return read


def _checked(check: Callable[[str], object], form: str) -> Reader:
    """Return a reader of what `check` accepts; its SettingsError may quote the text, so only `form` is shown."""

    def read(text: str) -> str:
        try:
            check(text)
        except SettingsError:
            raise ValueError(form) from None
        return text

    return read


def _at_most_characters(most: int) -> Reader:
    def read(text: str) -> str:
        # A line end that a copy has added to a namespace would change every key.
        if len(text) > most or text != text.strip():
            raise ValueError(f"a string of at most {most} characters without white space at its ends")
        return text

    return read


def _one_of(allowed: tuple[str, ...]) -> Reader:
    def read(text: str) -> str:
        if text not in allowed:
            *others, last = map(repr, allowed)
            raise ValueError(f"{', '.join(others)} or {last}")
        return text

    return read


def _flag(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("true or false")
    return text.lower() in _TRUE


def _whole(*, least: int, most: int | None = None) -> Reader:
    def read(text: str) -> int:
        if not re.fullmatch(_WHOLE, text, re.ASCII):
            raise ValueError("a whole number")
        return _limit(int(text.partition(".")[0]), least=least, most=most)

    return read


def _number(*, least: int | None = None, above: int | None = None, most: int | None = None) -> Reader:
    def read(text: str) -> float:
        try:
            value = float(text) if text.isascii() else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError("a number")
        return _limit(value, least=least, above=above, most=most)

    return read


_Number = TypeVar("_Number", int, float)


def _limit(
    value: _Number, *, least: int | None = None, above: int | None = None, most: int | None = None
) -> _Number:
    if least is not None and value < least:
        raise ValueError(f"at least {least}")
    if above is not None and value <= above:
        raise ValueError(f"more than {above}")
    if most is not None and value > most:
        raise ValueError(f"at most {most}")
    return value


def _destination(text: str) -> str:
    topic = r"smq://[A-Za-z0-9][A-Za-z0-9_-]{0,254}"
    if not re.fullmatch(rf"{topic}|eventbridge://.+|file:///.+|stdout://", text):
        raise ValueError("smq://TOPIC, eventbridge://BUS, file:///PATH or stdout://")
    return text


_account = _checked(check_account, "the digits of an account id")
_region = _checked(check_region, "a region such as cn-shanghai")
_endpoint = _checked(
    Endpoint.parse,
    "https://HOST without a user name, a path or a query; http:// is for loopback addresses only",
)
QUEUE_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,119}"
QUEUE_FORM = "1 to 120 letters, digits, hyphens and underscores, and begin with a letter or a digit"
_queue = _matching(QUEUE_NAME, QUEUE_FORM)
_NAME = r"[a-z0-9][a-z0-9-]{0,18}[a-z0-9]"
# What the deployment files write for a deployment without a name: Function Compute may refuse an empty variable.
_NO_NAME = "-"


@dataclass(frozen=True)
class Settings:
    """The settings of the function.

    The field `store` is the variable `HPOQ_STORE`. The descriptions are the rows of the table in README.md.
    """

    name: str = _setting(
        "",
        "Name of the deployment, if an account has several. The default names of queue and topic end with it, and "
        "it is the default of `HPOQ_NAMESPACE`.",
        _matching(_NAME, "2 to 20 lower-case letters, digits and hyphens, with no hyphen at its ends"),
    )
    region: str | None = _setting(None, "Region of the services. Default: the function's region.", _region)
    account_id: str | None = _setting(
        None, "Id of the account that owns the queue. Default: the function's account.", _account
    )
    paiautoml_endpoint: str | None = _setting(
        None, "Base URL of PAI AutoML. Default: `https://paiautoml.<region>.aliyuncs.com`.", _endpoint
    )
    smq_endpoint: str | None = _setting(
        None, "Base URL of SMQ. Default: `https://<account>.mns.<region>.aliyuncs.com`.", _endpoint
    )
    eventbridge_endpoint: str | None = _setting(
        None,
        "Base URL of EventBridge, for events that are published there. Default: "
        "`https://<account>.eventbridge.<region>.aliyuncs.com`.",
        _endpoint,
    )
    store: str | None = _setting(
        None,
        "Where the records are stored: `tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE`, "
        "`redis://HOST:PORT/DB` (`rediss://` for TLS), or `sqlite:///PATH` for a single machine. Required on "
        "Function Compute; elsewhere the default is the file `hpoq.sqlite3`.",
        is_secret=True,
    )
    namespace: str = _setting(
        "",
        "Part of every key, to separate deployments that share a table of records, or an account in one region. Must "
        "never change. Default: `HPOQ_NAME`.",
        _at_most_characters(255),
    )
    output: str = _setting(
        "smq://hpo-results",
        "Where events are published: `smq://TOPIC`, `eventbridge://BUS`, `file:///PATH` (JSON Lines) or "
        "`stdout://`.",
        _destination,
    )
    queue: str = _setting(
        "hpo-requests",
        "The queue that requests come from; messages that must be retried are sent back to it.",
        _queue,
    )
    trigger: Kind | None = _setting(
        None,
        "The only event source to accept: "
        + ", ".join(f"`{kind}`" for kind in KINDS)
        + ". What the function sent itself is also accepted from a queue. Default: recognize the source by the shape "
        "of the event.",
        _one_of(KINDS),
    )
    batch_policy: Policy = _setting(
        "raise",
        "How messages are retried: `raise` fails the event, so that FC delivers all its messages again; "
        "`requeue` sends only the messages that need it back to the queue.",
        _one_of(get_args(Policy)),
    )
    requeue_delay_seconds: int = _setting(
        30, "Seconds before a message that was sent back is delivered again.", _whole(least=1, most=3600)
    )
    concurrency: int = _setting(
        16, "How many messages of one event are processed at the same time.", _whole(least=1, most=256)
    )
    max_attempts: int = _setting(
        10,
        "Number of attempts after which a message ends as `failed`. Only an attempt that was "
        "interrupted, or whose create has an unknown end, counts.",
        _whole(least=1),
    )
    max_age_hours: float = _setting(
        72.0, "Age after which a message ends as `failed`, counted from its first delivery.", _number(above=0)
    )
    dead_letter_queue: str | None = _setting(
        None, "Queue into which a message is put before it ends as `failed`. Default: it is not kept.", _queue
    )
    watch_queue: str | None = _setting(
        None,
        "Queue of the messages by which the function follows each experiment to its end and publishes "
        "the result. The function must have a trigger for it. Default: experiments are not followed.",
        _queue,
    )
    watch_min_seconds: int = _setting(
        60,
        "Shortest time between two checks of an experiment that is followed, in seconds.",
        _whole(least=1, most=86_400),
    )
    watch_max_seconds: int = _setting(
        1800,
        "Longest time between two checks of an experiment that is followed, in seconds.",
        _whole(least=1, most=86_400),
    )
    watch_max_days: float = _setting(
        30.0,
        "Days after which an experiment that has not ended is no longer followed; its result then "
        "has the status `UNKNOWN`.",
        _number(above=0),
    )
    marker: Marker = _setting(
        "both",
        "Where an experiment carries the key of its message: in the tag `hpoq-key`, in a suffix of its "
        "description, or in `both`.",
        _one_of(get_args(Marker)),
    )
    connect_timeout_seconds: float = _setting(3.0, "Time-out for connecting to a service.", _number(above=0))
    read_timeout_seconds: float = _setting(
        25.0, "Time-out for sending a request and reading its answer.", _number(above=0)
    )
    call_attempts: int = _setting(
        3, "How often a call is tried if it is safe to repeat it.", _whole(least=1, most=10)
    )
    lease_seconds: float = _setting(
        90.0, "How long a claim reserves its key for one instance.", _number(above=0, most=3600)
    )
    clock_skew_seconds: float = _setting(
        10.0, "How far the clocks of two instances may differ.", _number(least=1)
    )
    consistency_seconds: float = _setting(
        15.0, "How long the service may take to list a new experiment.", _number(least=1)
    )
    date_window_seconds: float = _setting(
        900.0,
        "How far the date of a request may differ from the service's clock before the service refuses "
        "it (`InvalidTimeStamp.Expired`). Creates are backdated within this window, so that a late copy expires "
        "soon. 0 turns backdating off.",
        _number(least=0, most=86_400),
    )
    retention_days: float = _setting(
        30.0, "How long the record of an ended message is kept.", _number(least=7, most=36_500)
    )
    list_page_size: int = _setting(
        50,
        "Page size of the listings in which an existing experiment is searched for.",
        _whole(least=1, most=100),
    )
    deadline_reserve_seconds: float = _setting(
        3.0, "Time reserved at the end of an invocation for saving and publishing results.", _number(least=0)
    )
    event_source: str | None = _setting(
        None, "CloudEvents `source` of the events. Default: the function's ARN.", _at_most_characters(1000)
    )
    opentelemetry: bool = _setting(
        default=False,
        description="Also export metrics and spans with OpenTelemetry. Needs `hpoq[otel]`; the destination is set by "
        "OpenTelemetry's own variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.",
        read=_flag,
    )
    log_level: LogLevel = _setting("INFO", "Lowest level that is logged.", _one_of(get_args(LogLevel)))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in `environ`. An empty variable counts as not set.

        Raises SettingsError with every problem, including unknown `HPOQ_` variables.
        """
        given = {
            name.removeprefix(PREFIX).lower(): text
            for name, text in environ.items()
            if name.startswith(PREFIX) and text != ""
        }
        if given.get("name") == _NO_NAME:
            del given["name"]
        name = given.get("name", "")
        if re.fullmatch(_NAME, name):  # what derives from an invalid name would be reported as well
            named = {
                "queue": f"hpo-requests-{name}",
                "output": f"smq://hpo-results-{name}",
                "namespace": name,
            }
            given = named | given
        values, problems = dict[str, object](), list[str]()
        known = {one.name: one for one in fields(cls)}
        for name in [name for name in known if name in given]:
            try:
                values[name] = known[name].metadata["read"](given[name])
            except ValueError as exc:
                problems.append(f"{_variable(name)} must be {exc}")
        problems += [_describe_unknown(name, known) for name in given if name not in known]
        settings = cls(**values)  # type: ignore[arg-type]
        problems = problems or list(settings._find_conflicts())
        if problems:
            raise SettingsError(problems)
        return settings

    def _find_conflicts(self) -> Iterator[str]:
        """Yield what is wrong with the settings together."""
        needed = (
            self.connect_timeout_seconds
            + self.read_timeout_seconds
            + self.clock_skew_seconds
            + self.consistency_seconds
        )
        if self.lease_seconds <= needed:
            yield (
                f"HPOQ_LEASE_SECONDS must be more than {needed:g}: the sum of HPOQ_CONNECT_TIMEOUT_SECONDS, "
                "HPOQ_READ_TIMEOUT_SECONDS, HPOQ_CLOCK_SKEW_SECONDS and HPOQ_CONSISTENCY_SECONDS; otherwise no "
                "create could ever be sent"
            )
        if self.dead_letter_queue == self.queue:
            yield "HPOQ_DEAD_LETTER_QUEUE must be a different queue from HPOQ_QUEUE"
        if self.watch_queue is not None and self.watch_queue in (self.queue, self.dead_letter_queue):
            yield "HPOQ_WATCH_QUEUE must be a different queue from HPOQ_QUEUE and HPOQ_DEAD_LETTER_QUEUE"
        if self.watch_min_seconds > self.watch_max_seconds:
            yield "HPOQ_WATCH_MIN_SECONDS must not be more than HPOQ_WATCH_MAX_SECONDS"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _describe_unknown(name: str, known: Iterable[str]) -> str:
    import difflib  # only needed for a misspelt setting

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {_variable(close[0])}?" if close else ""
    return f"{_variable(name)} is not a setting{hint}"
