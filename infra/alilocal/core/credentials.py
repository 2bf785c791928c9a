"""Who may call: access keys, with or without a security token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from alilocal.core.jsonvalue import JsonValue
from alilocal.core.ram import Permission, Policy, forbids, permits

TokenProblem = Literal["missing", "mismatch", "expired"]


@dataclass(frozen=True)
class Credential:
    """An access key and whom it stands for.

    With `token_required` a call must bring `security_token`, without it may. `expires_at` is in seconds since
    the epoch and concerns calls that bring the token. `admin` sees the private experiments of everyone.
    `policies` are the RAM policies of its owner; None, like the account itself, may do everything. `session` ones
    narrow them. `arn` is the identity of one who assumed a role.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    user_id: str
    security_token: str | None = field(default=None, repr=False)
    token_required: bool = False
    expires_at: float | None = None
    active: bool = True
    admin: bool = False
    policies: tuple[Policy, ...] | None = None
    session: tuple[Policy, ...] | None = None
    arn: str | None = None

    def permits(self, permission: Permission) -> bool:
        """Whether RAM lets its owner do what needs `permission`."""
        bounds = (self.policies, self.session)
        return all(bound is None or permits(bound, permission) for bound in bounds)

    def denial(self, permission: Permission, account_id: str) -> dict[str, str]:
        """Why RAM does not let its owner do what needs `permission`, as the gateway tells it."""
        by_policies = self.policies is not None and not permits(self.policies, permission)
        bound = (self.policies if by_policies else self.session) or ()
        return {
            "AuthAction": permission.actions[0],
            "AuthPrincipalType": "SubUser" if self.arn is None else "AssumedRoleUser",
            "AuthPrincipalOwnerId": account_id,
            "AuthPrincipalDisplayName": (
                self.user_id
                if self.arn is None
                else self.arn.partition(":assumed-role/")[2].replace("/", ":")
            ),
            "NoPermissionType": "ExplicitDeny" if forbids(bound, permission) else "ImplicitDeny",
            "PolicyType": "AccountLevelIdentityBasedPolicy" if by_policies else "SessionPolicy",
        }

    def token_problem(self, token: str | None, now: float) -> TokenProblem | None:
        """What is wrong with the token that a call brought, None if nothing."""
        if token is None:
            return "missing" if self.token_required else None
        if token != self.security_token:
            return "mismatch"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None


PolicyDocument = Mapping[str, JsonValue]


def read_policies(documents: PolicyDocument | Sequence[PolicyDocument] | None) -> tuple[Policy, ...] | None:
    """The policies of one document or several, None for None; raises BadPolicy."""
    if documents is None:
        return None
    several = [documents] if isinstance(documents, Mapping) else documents
    return tuple(Policy.parse(document) for document in several)


class Credentials:
    """The access keys that a cloud knows."""

    def __init__(self) -> None:
        self._by_id: dict[str, Credential] = {}
        self.roles: dict[str, tuple[Policy, ...] | None] = {}

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
        policy: PolicyDocument | Sequence[PolicyDocument] | None = None,
        granted: tuple[Policy, ...] | None = None,
        session: tuple[Policy, ...] | None = None,
        arn: str | None = None,
    ) -> Credential:
        """Make a key known; one with a `security_token` is refused without it. Replaces a key of that id.

        `policy` is a RAM policy document, or several; without one, and without policies `granted`, the key may do
        everything. Raises BadPolicy.
        """
        credential = Credential(
            access_key_id,
            access_key_secret,
            user_id,
            security_token,
            token_required=security_token is not None,
            expires_at=expires_at,
            active=active,
            admin=admin,
            policies=granted if policy is None else read_policies(policy),
            session=session,
            arn=arn,
        )
        self.add(credential)
        return credential

    def role(self, name: str, policy: PolicyDocument | Sequence[PolicyDocument] | None = None) -> None:
        """Have a role, which AssumeRole gives keys of; `policy` as in `register`. Raises BadPolicy."""
        self.roles[name.lower()] = read_policies(policy)

    def role_policies(self, name: str) -> tuple[bool, tuple[Policy, ...] | None]:
        """Whether the role may be assumed, and its policies."""
        return not self.roles or name.lower() in self.roles, self.roles.get(name.lower())

    def forget(self, access_key_id: str) -> None:
        """Make a key unknown."""
        self._by_id.pop(access_key_id, None)

    def add(self, credential: Credential) -> None:
        self._by_id[credential.access_key_id] = credential

    def get(self, access_key_id: str) -> Credential | None:
        return self._by_id.get(access_key_id)

    def all(self) -> list[Credential]:
        """Every key, in the order in which they came."""
        return list(self._by_id.values())
