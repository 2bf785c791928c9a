"""The answers of Resource Manager."""

from __future__ import annotations

from datetime import datetime, timezone

from alilocal.core.jsonvalue import JsonObject
from alilocal.resourcemanager.model import LinkedRole


def role_members(role: LinkedRole, account_id: str) -> JsonObject:
    """Return the answer of CreateServiceLinkedRole."""
    created = datetime.fromtimestamp(role.created, timezone.utc)
    return {
        "Role": {
            "RoleId": role.role_id,
            "RoleName": role.name,
            "RolePrincipalName": f"{role.name.lower()}@role.{account_id}.onaliyunservice.com",
            "Arn": f"acs:ram::{account_id}:role/{role.name.lower()}",
            "Description": role.description,
            "IsServiceLinkedRole": True,
            "CreateDate": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    }
