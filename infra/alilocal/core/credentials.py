"""The access keys that may call, with or without a security token, and their permissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from alilocal.core.jsonvalue import JsonValue
from alilocal.core.ram import Permission, Policy, forbids, permits

# Those of every local cloud. They are here so that a program can name them without loading the services.
ACCOUNT_ID = "1000000000000001"
ACCESS_KEY_ID = "alilocal-access-key-id"
ACCESS_KEY_SECRET = "alilocal-access-key-secret"  # noqa: S105 - public, and valid for this cloud only
SECURITY_TOKEN = "alilocal-security-token"  # noqa: S105
REGION = "cn-local"

TokenProblem = Literal["missing", "mismatch", "expired"]


@dataclass(frozen=True)
class Credential:
    """An access key and the identity of its owner.

    With `token_required` a call must have `security_token`; otherwise it may have it. `expires_at` is in seconds
    since the epoch, and applies to calls with the token. `admin` can see everybody's private experiments. `policies`
    are the owner's RAM policies; with None, like the account itself, the owner may do everything. `session` policies
    narrow them. `arn` is set for a key that was given to a role.
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
        """Return whether RAM grants `permission` to the owner."""
        bounds = (self.policies, self.session)
        return all(bound is None or permits(bound, permission) for bound in bounds)

    def denial(self, permission: Permission, account_id: str) -> dict[str, str]:
        """Return why RAM does not grant `permission`, in the gateway's form."""
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
        """Return what is wrong with the security token of a call, or None if it is valid."""
        if token is None:
            return "missing" if self.token_required else None
        if token != self.security_token:
            return "mismatch"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None


PolicyDocument = Mapping[str, JsonValue]


def read_policies(documents: PolicyDocument | Sequence[PolicyDocument] | None) -> tuple[Policy, ...] | None:
    """Read one policy document or several; None stays None. Raises BadPolicy."""
    if documents is None:
        return None
    several = [documents] if isinstance(documents, Mapping) else documents
    return tuple(Policy.parse(document) for document in several)


class Credentials:
    """The access keys and roles of a cloud. `visitors` are further keys, which are valid but not listed."""

    def __init__(self, visitors: Sequence[Credential] = ()) -> None:
        self._visitors = visitors
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
        """Register a key, replacing one with the same id. If it has a `security_token`, calls must have it too.

        `policy` is a RAM policy document, or several. Without one, and without `granted` policies, the key may do
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
        """Define a role that AssumeRole can assume; `policy` is as in `register`. Raises BadPolicy."""
        self.roles[name.lower()] = read_policies(policy)

    def role_policies(self, name: str) -> tuple[bool, tuple[Policy, ...] | None]:
        """Return whether the role can be assumed, and its policies."""
        return not self.roles or name.lower() in self.roles, self.roles.get(name.lower())

    def forget(self, access_key_id: str) -> None:
        """Forget a key."""
        self._by_id.pop(access_key_id, None)

    def add(self, credential: Credential) -> None:
        """Add a key, replacing one with the same id."""
        self._by_id[credential.access_key_id] = credential

    def get(self, access_key_id: str) -> Credential | None:
        """Return a key, or None if it is unknown."""
        found = self._by_id.get(access_key_id)
        return found or next((one for one in self._visitors if one.access_key_id == access_key_id), None)

    def list(self) -> Sequence[Credential]:
        """Return all keys, in the order in which they were added."""
        return [*self._by_id.values()]
