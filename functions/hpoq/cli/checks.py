"""The checks of `hpoq doctor`. None of them changes anything; what cannot be tried so is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests

from hpoq.cli.checkup import CONNECT_SECONDS, READ_SECONDS, Check, Finding, Subject, failed
from hpoq.cli.storechecks import store
from hpoq.cloud import paiautoml, smq
from hpoq.cloud.endpoint import Endpoint
from hpoq.cloud.smq_messages import QueueAttributes
from hpoq.errors import CallError, NoCredentials, SettingsError

_EXPERIMENTS = "paiautoml"
_QUEUE = "smq"


def credentials(subject: Subject) -> Iterator[Finding]:
    """Whether there is anything to sign with."""
    try:
        found = subject.credentials()
    except NoCredentials as exc:
        mend = "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET; on FC, give the function a role"
        yield Finding("credentials", "problem", exc.message, mend)
        return
    kind = (
        "an access key" if found.security_token is None else "temporary credentials, which end by themselves"
    )
    yield Finding("credentials", "ok", f"{kind}: {found!r}")


def place(subject: Subject) -> Iterator[Finding]:
    """Whether region and account are known, as far as endpoints need them."""
    around = subject.around
    for client, endpoint in ((_EXPERIMENTS, around.paiautoml_endpoint), (_QUEUE, around.smq_endpoint)):
        try:
            yield Finding(f"{client} endpoint", "ok", endpoint())
        except SettingsError as exc:
            yield Finding(f"{client} endpoint", "problem", "nothing tells it", str(exc))


def experiments(subject: Subject) -> Iterator[Finding]:
    """Whether PAI AutoML is reached, keeps our time and lists experiments."""
    url = _told(subject.around.paiautoml_endpoint)
    if url is None:
        return
    yield from _reached(subject, _EXPERIMENTS, url)
    try:
        page = subject.client(paiautoml.PaiAutoMl, url).list_hpo_experiments(page_size=1)
    except CallError as exc:
        action = "paiautoml:ListHpoExperiments"
        yield failed("list experiments", exc, action=action, absent="see whether PAI is there in this region")
    else:
        yield Finding("list experiments", "ok", f"{page.total_count or 0} experiments are listed")
    seen = "not tried, for it costs money; needs paiautoml:CreateHpoExperiment"
    yield Finding("create experiments", "skipped", seen)


def messages(subject: Subject) -> Iterator[Finding]:
    """Whether SMQ is reached, and has the queue and the topic."""
    url = _told(subject.around.smq_endpoint)
    if url is None:
        return
    yield from _reached(subject, _QUEUE, url)
    client = subject.client(smq.Smq, url)
    queue = subject.settings.queue
    try:
        yield from _queue(subject, client.get_queue_attributes(queue))
    except CallError as exc:
        yield failed(
            f"queue {queue}",
            exc,
            action="mns:GetQueueAttributes",
            absent=f"create the queue {queue}, or set HPOQ_QUEUE",
            is_needed=False,
        )
    scheme, _, topic = subject.settings.output.partition("://")
    if scheme != "smq":
        return
    try:
        client.call("GetTopicAttributes", "GET", f"/topics/{topic}", lambda _: None, b"", None)
    except CallError as exc:
        yield failed(
            f"topic {topic}",
            exc,
            action="mns:GetTopicAttributes",
            absent=f"create the topic {topic}, or set HPOQ_OUTPUT",
            is_needed=False,
        )
    else:
        yield Finding(f"topic {topic}", "ok", "it is there")
    seen = "not tried, for consumers would see it; needs mns:PublishMessage"
    yield Finding("publish events", "skipped", seen)


def _queue(subject: Subject, found: QueueAttributes) -> Iterator[Finding]:
    check = f"queue {subject.settings.queue}"
    waiting = f"{found.active_messages or 0} messages wait, {found.inactive_messages or 0} are with consumers"
    yield Finding(check, "ok", f"visibility time-out {found.visibility_timeout} s; {waiting}")
    visibility, timeout = found.visibility_timeout, subject.function_timeout
    if visibility is None or timeout is None:
        return
    seen = f"visibility time-out {visibility} s, function {timeout:g} s"
    if visibility <= timeout:
        mend = f"set the queue's VisibilityTimeout to more than {timeout:g}, or messages come again while in work"
        yield Finding("queue and function time-outs", "problem", seen, mend)
    else:
        yield Finding("queue and function time-outs", "ok", seen)


def arithmetic(subject: Subject) -> Iterator[Finding]:
    """Whether the function's time-out leaves room for a create, and a lease fits into it."""
    settings, timeout, check = subject.settings, subject.function_timeout, "function time-out"
    call = settings.connect_timeout_seconds + settings.read_timeout_seconds
    needed = call + settings.deadline_reserve_seconds
    if timeout is None:
        yield Finding(check, "skipped", "give --function-timeout to have it held against lease and requests")
    elif timeout < needed:
        mend = (
            f"give it at least {needed:g} s, or lower HPOQ_READ_TIMEOUT_SECONDS: a create may take {call:g} s"
        )
        yield Finding(check, "problem", f"{timeout:g} s", mend)
    elif timeout <= settings.lease_seconds:
        mend = f"with more than HPOQ_LEASE_SECONDS, {settings.lease_seconds:g}, a call can wait out another's claim"
        yield Finding(check, "warning", f"{timeout:g} s", mend)
    else:
        seen = f"{timeout:g} s > lease {settings.lease_seconds:g} s > requests {call:g} s"
        yield Finding(check, "ok", seen)


def _told(endpoint: Callable[[], str]) -> str | None:
    try:
        return endpoint()
    except SettingsError:
        return None


def _reached(subject: Subject, service: str, url: str) -> Iterator[Finding]:
    """Whether an answer comes, whatever it says, and how far the service's clock is from ours."""
    where = Endpoint.parse(url)
    check = f"reach {service}"
    try:
        answer = requests.get(
            where.url("/"),
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            headers={"User-Agent": "hpoq"},
        )
    except requests.RequestException as exc:
        mend = f"see whether this machine reaches {urlsplit(url).netloc} (name, VPC, proxy, firewall)"
        yield Finding(check, "problem", f"{url}: {type(exc).__name__}", mend)
        return
    yield Finding(check, "ok", f"{url} answers, in {answer.elapsed.total_seconds() * 1000:.0f} ms")
    try:
        skew = subject.clock.now() - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        yield Finding(f"clock against {service}", "skipped", "its answer has no date")
        return
    allowed = subject.settings.clock_skew_seconds
    seen = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}, HPOQ_CLOCK_SKEW_SECONDS is {allowed:g}"
    # A date has whole seconds, and took its time to get here.
    if abs(skew) > allowed + 2:
        yield Finding(f"clock against {service}", "problem", seen, "set this machine's clock")
    else:
        yield Finding(f"clock against {service}", "ok", seen)


CHECKS: tuple[Check, ...] = (credentials, place, experiments, messages, store, arithmetic)
