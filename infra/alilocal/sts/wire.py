"""The answers of STS.

Source: https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-assumerole and
...-getcalleridentity.
"""

from __future__ import annotations

import time

from alilocal.core.jsonvalue import JsonObject
from alilocal.sts.model import Identity, RoleSession


def session_members(session: RoleSession, account_id: str) -> JsonObject:
    """Return the answer of AssumeRole."""
    return {
        "AssumedRoleUser": {
            "Arn": f"acs:ram::{account_id}:role/{session.role}/{session.name}",
            "AssumedRoleId": f"3{account_id}:{session.name}",
        },
        "Credentials": {
            "AccessKeyId": session.credential.access_key_id,
            "AccessKeySecret": session.credential.access_key_secret,
            "SecurityToken": session.credential.security_token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(session.expires_at)),
        },
    }


def identity_members(identity: Identity) -> JsonObject:
    """Return the answer of GetCallerIdentity."""
    account, user = identity.account_id, identity.user_id
    if identity.role is not None:
        return {
            "IdentityType": "AssumedRoleUser",
            "AccountId": account,
            "RoleId": f"3{account}",
            "PrincipalId": f"3{account}:{identity.session}",
            "Arn": f"acs:ram::{account}:assumed-role/{identity.role}/{identity.session}",
        }
    is_account = user == account
    return {
        "IdentityType": "Account" if is_account else "RAMUser",
        "AccountId": account,
        "UserId": user,
        "PrincipalId": user,
        "Arn": f"acs:ram::{account}:{'root' if is_account else f'user/{user}'}",
    }
