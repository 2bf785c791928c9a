"""The checks of `hpoq doctor`. They change nothing; what cannot be checked that way is reported as skipped."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import requests

from hpoq.cloud import paiautoml
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.transport import ClockReading
from hpoq.errors import CallError, NoCredentials, SettingsError
from hpoq.settings import Settings
from hpoqctl.doctor.checkup import CONNECT_SECONDS, READ_SECONDS, Check, Finding, Subject, explain_failure
from hpoqctl.doctor.storechecks import check_store
from hpoqctl.output import count_of
from hpoqctl.queueclient import QueueAttributes, QueueClient

_EXPERIMENTS = "paiautoml"
_QUEUE = "smq"
_BUS = "eventbridge"


def check_credentials(subject: Subject) -> Iterator[Finding]:
    """Check that there are credentials to sign with."""
    try:
        found = subject.credentials()
    except NoCredentials as exc:
        fix = (
            "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or run `aliyun configure`; "
            "on FC, give the function a role"
        )
        yield Finding("credentials", "problem", exc.message, fix)
        return
    kind = "an access key" if found.security_token is None else "temporary credentials, which expire"
    yield Finding("credentials", "ok", f"{kind}; its id is {found.masked_id}")


def check_log_level(subject: Subject) -> Iterator[Finding]:
    """Check that the alerts and the dashboard find the lines that they read."""
    level = subject.settings.log_level
    if level not in ("DEBUG", "INFO"):
        fix = "set HPOQ_LOG_LEVEL to INFO: the alerts and the dashboard read lines of that level"
        yield Finding("log level", "warning", f"only lines of the level {level} and above are logged", fix)


def check_output(subject: Subject) -> Iterator[Finding]:
    """Check that the events outlast an instance."""
    if subject.settings.output.startswith("file:"):
        fix = "set HPOQ_OUTPUT to smq://TOPIC; on FC, instances share no disk, and their files are lost with them"
        yield Finding("output", "warning", "events are written to a file", fix)


def check_endpoints(subject: Subject) -> Iterator[Finding]:
    """Check that the endpoints are configured, or the region and the account that they derive from."""
    placement = subject.placement
    endpoints = [(_EXPERIMENTS, placement.paiautoml_endpoint), (_QUEUE, placement.smq_endpoint)]
    if _find_bus(subject) is not None:
        endpoints.append((_BUS, placement.eventbridge_endpoint))
    for client, endpoint in endpoints:
        try:
            yield Finding(f"{client} endpoint", "ok", str(Endpoint.parse(endpoint())))
        except SettingsError as exc:
            yield Finding(f"{client} endpoint", "problem", "it is not configured", str(exc))


def check_experiments(subject: Subject) -> Iterator[Finding]:
    """Check that PAI AutoML can be reached and lists experiments, and compare the clocks."""
    url = _find_endpoint(subject.placement.paiautoml_endpoint)
    if url is None:
        return
    yield from _check_reachability(subject, _EXPERIMENTS, url)
    try:
        page = subject.client(paiautoml.PaiAutoMl, url).list_hpo_experiments(page_size=1)
    except CallError as exc:
        action = "paiautoml:ListHpoExperiments"
        yield explain_failure("list experiments", exc, action=action, absent="check that this region has PAI")
    else:
        yield Finding("list experiments", "ok", f"{count_of(page.total_count or 0, 'experiment')} found")
        yield from _check_nonces(subject, url)
    seen = "not tried, because it costs money; it requires paiautoml:CreateHpoExperiment"
    yield Finding("create experiments", "skipped", seen)


def _check_nonces(subject: Subject, url: str) -> Iterator[Finding]:
    """Check that the gateway refuses a nonce that it has seen, with two requests that only read."""
    check = "repeated nonce"
    client, nonce = subject.client(paiautoml.PaiAutoMl, url), uuid.uuid4().hex
    try:
        client.list_hpo_experiments(page_size=1, nonce=nonce)
    except CallError as exc:
        yield Finding(check, "skipped", str(exc))
        return
    try:
        client.list_hpo_experiments(page_size=1, nonce=nonce)
    except CallError as exc:
        if exc.code == "SignatureNonceUsed":
            yield Finding(check, "ok", "a request with a used nonce is refused")
        else:
            yield Finding(check, "skipped", str(exc))
    else:
        advice = (
            "keep HPOQ_LEASE_SECONDS at its default or higher. The gateway does not stop a late copy of a create, "
            "which could make a second experiment; leases and searches still protect against it"
        )
        yield Finding(check, "warning", "a request with a used nonce is accepted", advice)


def check_messaging(subject: Subject) -> Iterator[Finding]:
    """Check that SMQ can be reached and that the queue, the dead-letter queue and the topic exist."""
    url = _find_endpoint(subject.placement.smq_endpoint)
    if url is None:
        return
    yield from _check_reachability(subject, _QUEUE, url)
    client = subject.client(QueueClient, url)
    queue = subject.settings.queue
    try:
        yield from _check_queue(subject, client.get_queue_attributes(queue))
    except CallError as exc:
        yield explain_failure(
            f"queue {queue}",
            exc,
            action="mns:GetQueueAttributes",
            absent=f"create the queue {queue}, or set HPOQ_QUEUE",
            is_needed=False,
        )
    if subject.settings.batch_policy == "requeue":
        seen = f"not tried, because {queue} would get the message; it requires mns:SendMessage"
        yield Finding("send messages back", "skipped", seen)
    yield from _check_dead_letter_queue(client, subject.settings)
    watch = subject.settings.watch_queue
    if watch is not None:
        yield from _check_watch_queue(subject, client, watch)
        seen = f"not tried, because the message would stay in {watch}; it requires mns:SendMessage"
        yield Finding("send watch messages", "skipped", seen)
    scheme, _, topic = subject.settings.output.partition("://")
    if scheme != "smq":
        return
    try:
        client.call("GetTopicAttributes", "GET", f"/topics/{topic}", lambda _: None)
    except CallError as exc:
        yield explain_failure(
            f"topic {topic}",
            exc,
            action="mns:GetTopicAttributes",
            absent=f"create the topic {topic}, or set HPOQ_OUTPUT",
            is_needed=False,
        )
    else:
        yield Finding(f"topic {topic}", "ok", "it exists")
    seen = "not tried, because consumers would receive the event; it requires mns:PublishMessage"
    yield Finding("publish events", "skipped", seen)


def check_bus(subject: Subject) -> Iterator[Finding]:
    """Check that EventBridge can be reached, if events are published there."""
    bus = _find_bus(subject)
    url = None if bus is None else _find_endpoint(subject.placement.eventbridge_endpoint)
    if url is None:
        return
    yield from _check_reachability(subject, _BUS, url)
    seen = (
        f"not tried, because consumers of the bus {bus} would receive it; it requires eventbridge:PutEvents"
    )
    yield Finding("publish events", "skipped", seen)


def _find_bus(subject: Subject) -> str | None:
    """Return the bus that events are published to, or None if they go elsewhere."""
    scheme, _, bus = subject.settings.output.partition("://")
    return bus if scheme == "eventbridge" else None


def _check_queue(subject: Subject, found: QueueAttributes) -> Iterator[Finding]:
    check = f"queue {subject.settings.queue}"
    waiting = (
        f"{count_of(found.active_messages or 0, 'message')} waiting, {found.inactive_messages or 0} received"
    )
    yield Finding(check, "ok", f"visibility time-out {found.visibility_timeout} s; {waiting}")
    kept_hours, tried_hours = (found.retention_period or math.inf) / 3600, subject.settings.max_age_hours
    if tried_hours >= kept_hours:
        seen = f"the queue keeps a message for {kept_hours:g} h, and it may be tried for {tried_hours:g} h"
        fix = (
            f"set HPOQ_MAX_AGE_HOURS to less than {kept_hours:g}, or raise the queue's MessageRetentionPeriod"
        )
        yield Finding("queue retention", "warning", seen, fix)
    yield from _compare_timeouts("queue", subject, found)


def _compare_timeouts(queue: str, subject: Subject, found: QueueAttributes) -> Iterator[Finding]:
    """Check that a message stays invisible for as long as the function may take."""
    visibility, timeout = found.visibility_timeout, subject.function_timeout
    if visibility is None or timeout is None:
        return
    check = f"{queue} and function time-outs"
    seen = f"visibility time-out {visibility} s, function {timeout:g} s"
    if visibility <= timeout:
        fix = f"set the queue's VisibilityTimeout to more than {timeout:g}. Otherwise running messages return"
        yield Finding(check, "problem", seen, fix)
    else:
        yield Finding(check, "ok", seen)


def _check_dead_letter_queue(client: QueueClient, settings: Settings) -> Iterator[Finding]:
    """Check that a dead-letter queue is set and exists. If it does not exist, no message can be given up."""
    queue = settings.dead_letter_queue
    if queue is None:
        seen = "HPOQ_DEAD_LETTER_QUEUE is not set, so a message that ends as failed is not kept"
        yield Finding("dead-letter queue", "warning", seen, "set it, and grant mns:SendMessage on the queue")
        return
    check = f"dead-letter queue {queue}"
    try:
        found = client.get_queue_attributes(queue)
    except CallError as exc:
        absent = f"create the queue {queue}, or set HPOQ_DEAD_LETTER_QUEUE"
        yield explain_failure(check, exc, action="mns:GetQueueAttributes", absent=absent, is_needed=False)
    else:
        yield Finding(check, "ok", f"it contains {count_of(found.active_messages or 0, 'message')}")
        kept_days = ((found.retention_period or 0) / 3600 + settings.max_age_hours) / 24
        if settings.retention_days <= kept_days:
            seen = (
                f"a message may be redriven {kept_days:g} days after its first delivery, without its record"
            )
            fix = f"set HPOQ_RETENTION_DAYS to more than {kept_days:g}. Otherwise a redrive can create again"
            yield Finding("record retention", "warning", seen, fix)
    seen = f"not tried, because the message would stay in {queue}; it requires mns:SendMessage"
    yield Finding("send dead letters", "skipped", seen)


def _check_watch_queue(subject: Subject, client: QueueClient, queue: str) -> Iterator[Finding]:
    """Check that the watch queue exists. Without it, no message of a new experiment can end."""
    check = f"watch queue {queue}"
    try:
        found = client.get_queue_attributes(queue)
    except CallError as exc:
        absent = f"create the queue {queue}, or set HPOQ_WATCH_QUEUE"
        yield explain_failure(check, exc, action="mns:GetQueueAttributes", absent=absent, is_needed=False)
        return
    waiting = (found.active_messages or 0) + (found.delayed_messages or 0)
    yield Finding(check, "ok", f"it contains {count_of(waiting, 'message')}, one per followed experiment")
    yield from _compare_timeouts("watch queue", subject, found)


def check_timeouts(subject: Subject) -> Iterator[Finding]:
    """Check that the function's time-out is longer than a create takes and longer than a lease."""
    settings, timeout, check = subject.settings, subject.function_timeout, "function time-out"
    call = settings.connect_timeout_seconds + settings.read_timeout_seconds
    needed = call + settings.deadline_reserve_seconds
    if timeout is None:
        yield Finding(check, "skipped", "give --function-timeout to compare it with lease and requests")
    elif timeout < needed:
        fix = f"set it to at least {needed:g} s, or lower HPOQ_READ_TIMEOUT_SECONDS. A create may take {call:g} s"
        yield Finding(check, "problem", f"{timeout:g} s", fix)
    elif timeout <= settings.lease_seconds:
        fix = f"set it to more than HPOQ_LEASE_SECONDS ({settings.lease_seconds:g}), to outlast another claim"
        yield Finding(check, "warning", f"{timeout:g} s", fix)
    else:
        seen = f"{timeout:g} s > lease {settings.lease_seconds:g} s > requests {call:g} s"
        yield Finding(check, "ok", seen)


def _find_endpoint(endpoint: Callable[[], str]) -> str | None:
    """Return the endpoint, or None if it is missing or invalid, which `check_endpoints` reports."""
    try:
        return str(Endpoint.parse(endpoint()))
    except SettingsError:
        return None


def _check_reachability(subject: Subject, service: str, url: str) -> Iterator[Finding]:
    """Check that the service answers, with any status, and compare its clock with this machine's."""
    address = Endpoint.parse(url).url("/")
    check = f"reach {service}"
    before = subject.clock.now()
    try:
        answer = requests.get(
            address,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            headers={"User-Agent": "hpoq"},
        )
    except requests.RequestException as exc:
        fix = f"check the connection from this machine to {urlsplit(url).netloc}: DNS, VPC, proxy, firewall"
        yield Finding(check, "problem", f"{url}: {type(exc).__name__}", fix)
        return
    yield Finding(check, "ok", f"{url} answered in {answer.elapsed.total_seconds() * 1000:.0f} ms")
    yield _compare_clocks(subject, service, ClockReading.from_answer(answer.headers, before, subject.clock))


def _compare_clocks(subject: Subject, service: str, reading: ClockReading | None) -> Finding:
    """Report the smallest difference of the clocks that explains the date of the answer."""
    check, allowed = f"clock against {service}", subject.settings.clock_skew_seconds
    if reading is None:
        return Finding(check, "skipped", "its answer contains no date")
    error = reading.find_error()
    direction = "ahead" if error > 0 else "behind"
    seen = f"this machine is {abs(error):.1f} s {direction}" if error else "no difference"
    seen = f"{seen}; HPOQ_CLOCK_SKEW_SECONDS is {allowed:g}"
    if abs(error) > allowed:
        return Finding(
            check, "problem", seen, "set the clock of this machine; until then no create is accepted"
        )
    return Finding(check, "ok", seen)


CHECKS: tuple[Check, ...] = (
    check_log_level,
    check_output,
    check_credentials,
    check_endpoints,
    check_experiments,
    check_messaging,
    check_bus,
    check_store,
    check_timeouts,
)
