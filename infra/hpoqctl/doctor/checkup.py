"""What all checks of `hpoq doctor` share: the environment that they examine, and their findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from fcruntime.context import Invocation
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Clock
from hpoq.cloud.answers import FOREIGN_ANSWER
from hpoq.cloud.caller import RetryPolicy, ServiceClient
from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import CredentialsProvider
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, Denied, NoCredentials, NotFound, Throttled, Unavailable
from hpoq.placement import Placement
from hpoq.settings import Settings

Verdict: TypeAlias = Literal["ok", "warning", "problem", "skipped"]
Client = TypeVar("Client", bound=ServiceClient)

CONNECT_SECONDS, READ_SECONDS = 3.0, 5.0
_ABOUT_TIME = re.compile(r"timestamp|timeexpired|requesttimetooskewed", re.IGNORECASE)
_ABOUT_ENDPOINT = re.compile(r"action|api\.|product|protocol|version|method|header", re.IGNORECASE)
_ABOUT_PERMISSION = re.compile(r"^(forbidden(\.ram)?)?$|nopermission|accessdenied", re.IGNORECASE)
_ABOUT_KEYS = re.compile(r"accesskey|token|signature|credential|authfail", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """What a check observed, and how to fix it. `fix` is empty if there is nothing to fix."""

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""

    def as_json(self) -> JsonObject:
        """Return the finding for machines. Its members keep their names."""
        return {"check": self.check, "verdict": self.verdict, "seen": self.seen, "fix": self.fix or None}


@dataclass(frozen=True)
class Subject:
    """The environment under examination: `store` is the URL of the records, `function_timeout` is in seconds."""

    settings: Settings
    environ: Mapping[str, str]
    credentials: CredentialsProvider
    clock: Clock
    store: str | None
    function_timeout: float | None

    @property
    def placement(self) -> Placement:
        """Where the function runs, by its settings and environment variables alone, without FC's context."""
        return Placement(Invocation(), self.environ, self.settings)

    def client(self, kind: type[Client], endpoint: str) -> Client:
        """Return a client with short time-outs that does not retry."""
        return kind(
            Transport(new_session(1, trust_environment=True), self.clock),
            endpoint,
            self.credentials,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retry=RetryPolicy(attempts=1),
        )


Check: TypeAlias = Callable[[Subject], Iterable[Finding]]


def examine(subject: Subject, checks: Sequence[Check]) -> list[Finding]:
    """Run all `checks` and return their findings in the order of `checks`.

    They run concurrently, since each may have to wait for a time-out.
    """
    with ThreadPoolExecutor(len(checks), "doctor") as pool:
        found = pool.map(lambda check: list(check(subject)), checks)
        return [finding for findings in found for finding in findings]


def explain_failure(
    check: str, exc: CallError, *, action: str, absent: str, is_needed: bool = True
) -> Finding:
    """Return the finding for a call that failed with `exc`.

    `action` is the RAM action that the call requires, and `absent` says how to fix a missing resource. `is_needed` is
    False if the function itself does not make this call.
    """
    seen = str(exc)
    if isinstance(exc, NoCredentials):
        return Finding(check, "skipped", "there are no credentials")
    if isinstance(exc, NotFound):
        return Finding(check, "problem", seen, absent)
    if isinstance(exc, Denied):
        code, grant = exc.code or "", f"grant the RAM action {action} to these credentials"
        if _ABOUT_PERMISSION.search(code) and not is_needed:
            return Finding(check, "warning", seen, f"to run this check, {grant}")
        return Finding(check, "problem", seen, _explain_denial(code, grant))
    if isinstance(exc, Throttled):
        return Finding(check, "warning", seen, "run it again later")
    if isinstance(exc, Unavailable):
        return Finding(check, "problem", seen, "first make the service reachable from this machine")
    if FOREIGN_ANSWER in seen:
        fix = "find the proxy or load balancer that answers instead of the service, or correct the endpoint"
        return Finding(check, "problem", seen, fix)
    return Finding(
        check, "problem", seen, "run it again; if the error persists, contact the support of the service"
    )


def _explain_denial(code: str, grant: str) -> str:
    """Return how to fix a call that was refused with `code`; `grant` is what to do if a permission is missing."""
    if _ABOUT_PERMISSION.search(code):
        return grant
    if _ABOUT_TIME.search(code):
        return "set the clock of this machine"
    if _ABOUT_KEYS.search(code):
        return "use an access key or a role that exists and is active"
    if _ABOUT_ENDPOINT.search(code):
        return "correct the endpoint or the region in the settings; a proxy may also have changed the call"
    return f"look up {code}, which may be about the account or a quota. For a permission, {grant}"
