"""What `hpoq doctor` examines, and what it says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from fcruntime.context import Invocation
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Clock
from hpoq.cloud.connections import new_session
from hpoq.cloud.credentials import CredentialsProvider
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.cloud.retry import RetryPolicy
from hpoq.cloud.smq import Smq
from hpoq.cloud.transport import Transport
from hpoq.errors import CallError, Denied, NoCredentials, NotFound, Throttled, Unavailable
from hpoq.settings import Settings
from hpoq.surroundings import Surroundings

Verdict: TypeAlias = Literal["ok", "warning", "problem", "skipped"]
Client = TypeVar("Client", PaiAutoMl, Smq)

CONNECT_SECONDS, READ_SECONDS = 3.0, 5.0
_ABOUT_TIME = re.compile(r"timestamp|timeexpired|requesttimetooskewed", re.IGNORECASE)
_ABOUT_KEYS = re.compile(r"accesskey|token|signature|credential|authfail", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """What a check saw, and exactly what to mend if anything is to be."""

    check: str
    verdict: Verdict
    seen: str
    mend: str = ""

    def as_json(self) -> JsonObject:
        """For machines."""
        return {"check": self.check, "verdict": self.verdict, "seen": self.seen, "mend": self.mend or None}


@dataclass(frozen=True)
class Subject:
    """An environment of the function; `store` is where it keeps records, `function_timeout` in seconds."""

    settings: Settings
    environ: Mapping[str, str]
    credentials: CredentialsProvider
    clock: Clock
    store: str | None
    function_timeout: float | None

    @property
    def around(self) -> Surroundings:
        """Where the function would run, were it told by its environment alone."""
        return Surroundings(Invocation(), self.environ, self.settings)

    def client(self, kind: type[Client], endpoint: str) -> Client:
        """A client that tries each call once, and soon gives up."""
        return kind(
            Transport(new_session(1), self.clock),
            endpoint,
            self.credentials,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retry=RetryPolicy(attempts=1),
        )


Check: TypeAlias = Callable[[Subject], Iterable[Finding]]


def examine(subject: Subject, checks: Sequence[Check]) -> list[Finding]:
    """What all `checks` find, in their order; they run side by side, for each may wait for its time-out."""
    with ThreadPoolExecutor(len(checks), "doctor") as pool:
        found = [pool.submit(_findings, check, subject) for check in checks]
        return [finding for one in found for finding in one.result()]


def _findings(check: Check, subject: Subject) -> list[Finding]:
    return list(check(subject))


def failed(check: str, exc: CallError, *, action: str, absent: str, is_needed: bool = True) -> Finding:
    """The finding for a call that `exc` ended.

    `action` is the RAM action that it takes, `absent` what to do where the thing is not there. If the function
    itself can do without the call, it is not `is_needed`.
    """
    seen = str(exc)
    if isinstance(exc, NoCredentials):
        return Finding(check, "skipped", "there is nothing to sign with")
    if isinstance(exc, NotFound):
        return Finding(check, "problem", seen, absent)
    if isinstance(exc, Denied):
        code = exc.code or ""
        if _ABOUT_TIME.search(code):
            return Finding(check, "problem", seen, "set this machine's clock")
        if _ABOUT_KEYS.search(code):
            return Finding(check, "problem", seen, "give an access key, or a role, that exists and is active")
        if not is_needed:
            return Finding(check, "warning", seen, f"to have it checked, grant {action} to who runs this")
        return Finding(check, "problem", seen, f"grant the RAM action {action}")
    if isinstance(exc, Throttled):
        return Finding(check, "warning", seen, "run it again")
    if isinstance(exc, Unavailable):
        return Finding(check, "problem", seen, "see the finding on how it is reached")
    return Finding(check, "problem", seen, "run it again; if it stays, ask the service's support")
