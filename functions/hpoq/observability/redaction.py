"""Keeping secrets out of whatever leaves the function.

Two nets: the values that are known to be secret (the credentials at hand, those in a request) are cut out of any
text, and members whose name says that they hold a secret are blanked whatever they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MASK = "***"
_SHORTEST = 4

_known: ContextVar[frozenset[str]] = ContextVar("hpoq_secrets", default=frozenset())

_SECRET_NAMES = ("secret", "password", "token", "authorization", "access_key", "accesskey", "access_id")


def redact(text: str, secrets: Iterable[str]) -> str:
    """`text` with every one of `secrets` masked; the longest first, since one may contain another.

    A secret of fewer than four characters is left: masking it would garble every text and hide nothing.
    """
    for secret in sorted((s for s in secrets if len(s) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


@contextmanager
def known_secrets(secrets: Iterable[str]) -> Iterator[None]:
    """Within this context, and in contexts copied from it, log lines are cleared of `secrets` too."""
    token = _known.set(_known.get() | frozenset(secrets))
    try:
        yield
    finally:
        _known.reset(token)


def redact_known(text: str) -> str:
    """`text` without the secrets that the current context knows."""
    return redact(text, _known.get())


def is_secret_name(name: str) -> bool:
    """Whether a member of this name is blanked whatever it holds."""
    lowered = name.lower().replace("-", "_")
    return any(word in lowered for word in _SECRET_NAMES)
