"""Who may call: access keys, with or without a security token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

TokenProblem = Literal["missing", "mismatch", "expired"]


@dataclass(frozen=True)
class Credential:
    """An access key and whom it stands for.

    With `token_required` a call must bring `security_token`, without it may. `expires_at` is in seconds since
    the epoch and concerns calls that bring the token. `admin` sees the private experiments of everyone.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    user_id: str
    security_token: str | None = field(default=None, repr=False)
    token_required: bool = False
    expires_at: float | None = None
    active: bool = True
    admin: bool = False

    def token_problem(self, token: str | None, now: float) -> TokenProblem | None:
        """What is wrong with the token that a call brought, None if nothing."""
        if token is None:
            return "missing" if self.token_required else None
        if token != self.security_token:
            return "mismatch"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None


class Credentials:
    """The access keys that a cloud knows."""

    def __init__(self) -> None:
        self._by_id: dict[str, Credential] = {}

    def register(
        self,
        access_key_id: str,
        access_key_secret: str,
        *,
        user_id: str,
        security_token: str | None = None,
        expires_at: float | None = None,
        active: bool = True,
        admin: bool = False,
    ) -> Credential:
        """Make a key known; one with a `security_token` is refused without it. Replaces a key of that id."""
        credential = Credential(
            access_key_id,
            access_key_secret,
            user_id,
            security_token,
            token_required=security_token is not None,
            expires_at=expires_at,
            active=active,
            admin=admin,
        )
        self.add(credential)
        return credential

    def add(self, credential: Credential) -> None:
        self._by_id[credential.access_key_id] = credential

    def get(self, access_key_id: str) -> Credential | None:
        return self._by_id.get(access_key_id)
