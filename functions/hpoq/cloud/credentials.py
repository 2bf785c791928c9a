"""What requests are signed with, and where it comes from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeAlias

from fcruntime.dataclass import dataclass
from hpoq.errors import NoCredentials


@dataclass(frozen=True)
class Credentials:
    """An access key, with the security token that belongs to it if it is a temporary one.

    Its text forms show a masked id and nothing else. Raises NoCredentials if a part is empty or could not
    stand in an HTTP header.
    """

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None

    def __post_init__(self) -> None:
        if not self.access_key_id or not self.access_key_secret or self.security_token == "":
            raise _missing("an access key needs both an id and a secret, and no empty token")
        if not all(part.isascii() and part.isprintable() and " " not in part for part in self._parts()):
            raise _missing("the access key holds spaces, control or non-ASCII characters")

    def secrets(self) -> tuple[str, ...]:
        """The parts that must never be shown."""
        return self._parts()[1:]

    def _parts(self) -> tuple[str, ...]:
        parts = (self.access_key_id, self.access_key_secret)
        return parts if self.security_token is None else (*parts, self.security_token)

    def __repr__(self) -> str:
        masked = f"{self.access_key_id[:4]}***" if len(self.access_key_id) > 8 else "***"
        return f"Credentials({masked})"


CredentialsProvider: TypeAlias = Callable[[], Credentials]
"""Gives the credentials of the moment; asked before each attempt, so that rotated ones are picked up."""


def from_environment(environ: Mapping[str, str] | None = None) -> CredentialsProvider:
    """From ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.

    The names are those of the vendor's own `alibabacloud-credentials`; as there, empty means absent.
    """
    source = os.environ if environ is None else environ

    def provide() -> Credentials:
        values = [source.get(f"ALIBABA_CLOUD_{name}") for name in _ENVIRONMENT_NAMES]
        return _made(values, "the ALIBABA_CLOUD_ACCESS_KEY_* variables are not set")

    return provide


def from_context(fc_context: object) -> CredentialsProvider:
    """From `context.credentials` of Function Compute, its names in snake or camel case, or a mapping.

    The 3.12 runtime hands over a context without them, others one with empty strings; both mean none.
    """

    def provide() -> Credentials:
        held = getattr(fc_context, "credentials", None)
        values = [_named(held, names) for names in _CONTEXT_NAMES]
        return _made(values, "the function's context carries no credentials")

    return provide


def chain(*providers: CredentialsProvider) -> CredentialsProvider:
    """The first of `providers` that has credentials; raises NoCredentials naming what each of them lacked."""

    def provide() -> Credentials:
        lacking: list[str] = []
        for provider in providers:
            try:
                return provider()
            except NoCredentials as exc:
                lacking.append(exc.message)
        raise _missing("; ".join(lacking) or "no source of credentials is configured")

    return provide


_ENVIRONMENT_NAMES = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
_CONTEXT_NAMES = (
    ("access_key_id", "accessKeyId"),
    ("access_key_secret", "accessKeySecret"),
    ("security_token", "securityToken"),
)


def _named(held: object, names: tuple[str, ...]) -> str | None:
    for name in names:
        value = held.get(name) if isinstance(held, Mapping) else getattr(held, name, None)
        if isinstance(value, str) and value.strip():
            return value
    return None


def _made(values: list[str | None], otherwise: str) -> Credentials:
    key_id, secret, token = (value.strip() if value else "" for value in values)
    if not key_id or not secret:
        raise _missing(otherwise)
    return Credentials(key_id, secret, token or None)


def _missing(message: str) -> NoCredentials:
    return NoCredentials(message, service="credentials", operation="resolve")
