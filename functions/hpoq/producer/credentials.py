"""The standard chain of credentials, for producers and the command line; the function never uses it.

In this order, as the vendor's own tools do
(https://www.alibabacloud.com/help/en/sdk/developer-reference/v2-manage-python-access-credentials):

1. the variables ALIBABA_CLOUD_ACCESS_KEY_ID, _SECRET and _SECURITY_TOKEN
2. a role by OIDC: ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE
3. a profile of the vendor's command line, in ~/.aliyun/config.json: ALIBABA_CLOUD_PROFILE, or the current one
4. a profile of ~/.alibabacloud/credentials.ini or the file ALIBABA_CLOUD_CREDENTIALS_FILE, chosen in the same way
5. the role of this ECS instance, unless ALIBABA_CLOUD_ECS_METADATA_DISABLED is true
"""

from __future__ import annotations

import configparser
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import requests

from hpoq.cloud.connections import new_session
from hpoq.cloud.signing import (
    Credentials,
    CredentialsProvider,
    acs3_headers,
    canonical_query,
    from_environment,
)
from hpoq.errors import NoCredentials

_STS = "https://sts.aliyuncs.com"
_METADATA = "http://100.100.100.200"
_TIMEOUTS = (3.0, 10.0)
# On a machine that is not an ECS instance nothing answers at the address of the metadata.
_METADATA_TIMEOUTS = (0.5, 5.0)
_MARGIN_SECONDS = 180.0
_SESSION_NAME = "hpoq"


def standard_credentials(environ: Mapping[str, str] | None = None) -> CredentialsProvider:
    """Return a provider that uses the first source of the standard chain that has credentials.

    Temporary credentials are fetched again shortly before they expire. It raises NoCredentials with all reasons if
    no source has credentials.
    """
    chosen = os.environ if environ is None else environ
    return _Chain(chosen, _find_home(chosen))


def _find_home(environ: Mapping[str, str]) -> Path | None:
    """Return the user's folder, or None if there is none, as for most users of containers."""
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        return None


@dataclass
class _Chain:
    environ: Mapping[str, str] = field(repr=False)
    home: Path | None
    sts: str = _STS
    metadata: str = _METADATA
    now: Callable[[], float] = time.time
    _held: Credentials | None = field(default=None, repr=False)
    _expires: float = 0.0

    def __call__(self) -> Credentials:
        if self._held is not None and self.now() < self._expires - _MARGIN_SECONDS:
            return self._held
        reasons = []
        for source in (
            from_environment(self.environ),
            self._ask_oidc,
            self._read_profile,
            self._read_file,
            self._ask_ecs,
        ):
            try:
                found = source()
            except NoCredentials as exc:
                reasons.append(exc.message)
            else:
                if found is not None:
                    return found
        raise _missing("; ".join(reasons))

    def _ask_oidc(self) -> Credentials | None:
        names = ("ROLE_ARN", "OIDC_PROVIDER_ARN", "OIDC_TOKEN_FILE")
        role, provider, file = (self.environ.get(f"ALIBABA_CLOUD_{name}") for name in names)
        if not (role and provider and file):
            return None
        given = {"RoleArn": role, "OIDCProviderArn": provider, "OIDCToken": _read_text(Path(file)).strip()}
        moment = datetime.fromtimestamp(self.now(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        common = {"Action": "AssumeRoleWithOIDC", "Version": "2015-04-01", "Format": "JSON"}
        unsigned = {**common, "Timestamp": moment, "SignatureNonce": str(uuid.uuid4())}
        return self._hold(
            _call("POST", self.sts, params=unsigned, data={**given, "RoleSessionName": _SESSION_NAME})
        )

    def _read_profile(self) -> Credentials | None:
        if self.home is None:
            return None
        path = self.home / ".aliyun" / "config.json"
        if not _is_file(path):
            return None
        try:
            config = json.loads(_read_text(path))
            wanted = self.environ.get("ALIBABA_CLOUD_PROFILE") or config.get("current") or "default"
            profiles = {one["name"]: one for one in config["profiles"]}
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise _missing(f"{path} cannot be read: {type(exc).__name__}") from None
        profile = profiles.get(wanted)
        if profile is None:
            raise _missing(f"{path} has no profile {wanted}")
        return self._use(profile, str(profile.get("mode", "")), f"profile {wanted} of {path}")

    def _read_file(self) -> Credentials | None:
        named = self.environ.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
        paths = [Path(named)] if named else []
        if not named and self.home is not None:
            paths = [self.home / ".alibabacloud" / name for name in ("credentials.ini", "credentials")]
        path = next(filter(_is_file, paths), None)
        if path is None:
            return None
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(_read_text(path))
        except configparser.Error as exc:
            raise _missing(f"{path} cannot be read: {type(exc).__name__}") from None
        wanted = self.environ.get("ALIBABA_CLOUD_PROFILE") or "default"
        if not parser.has_section(wanted):
            raise _missing(f"{path} has no section {wanted}")
        section = dict(parser.items(wanted))
        renamed = {
            "sts_token": section.get("security_token"),
            "ram_role_arn": section.get("role_arn"),
            "ram_role_name": section.get("role_name"),
        }
        return self._use({**renamed, **section}, section.get("type", ""), f"section {wanted} of {path}")

    def _use(self, given: Mapping[str, Any], kind: str, place: str) -> Credentials:
        """Return the credentials of a profile or section. `kind` is its mode or type, in either spelling."""
        if kind.replace("_", "").lower() == "ecsramrole":
            return self._ask_metadata(str(given.get("ram_role_name") or ""))
        key_id, secret = given.get("access_key_id"), given.get("access_key_secret")
        if not key_id or not secret:
            raise _missing(f"{place} has no access key (its mode is {kind or 'not given'})")
        token = given.get("sts_token") or given.get("security_token") or None
        own = Credentials(str(key_id), str(secret), str(token) if token else None)
        role = given.get("ram_role_arn")
        return self._assume(own, str(role)) if role else own

    def _assume(self, own: Credentials, role: str) -> Credentials:
        query = canonical_query([("RoleArn", role), ("RoleSessionName", _SESSION_NAME)])
        headers = acs3_headers(
            method="POST",
            path="/",
            query=query,
            host=self.sts.partition("://")[2],
            action="AssumeRole",
            version="2015-04-01",
            body=b"",
            content_type=None,
            credentials=own,
            now=self.now(),
            nonce=str(uuid.uuid4()),
        )
        return self._hold(_call("POST", f"{self.sts}/?{query}", headers=headers))

    def _ask_ecs(self) -> Credentials | None:
        if self.environ.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true":
            return None
        return self._ask_metadata(self.environ.get("ALIBABA_CLOUD_ECS_METADATA", ""))

    def _ask_metadata(self, role: str) -> Credentials:
        """Return the credentials of this ECS instance's role, by version 2 of its metadata service."""
        url = f"{self.metadata}/latest"
        with new_session(1) as session:
            try:
                lifetime = {"X-aliyun-ecs-metadata-token-ttl-seconds": "300"}
                token = session.put(f"{url}/api/token", headers=lifetime, timeout=_METADATA_TIMEOUTS)
                headers = {"X-aliyun-ecs-metadata-token": token.text}
                roles = f"{url}/meta-data/ram/security-credentials/"
                role = role or session.get(roles, headers=headers, timeout=_METADATA_TIMEOUTS).text.strip()
                answer = session.get(roles + role, headers=headers, timeout=_METADATA_TIMEOUTS).json()
            except (requests.RequestException, ValueError):
                raise _missing("this machine is not an ECS instance with a role") from None
        if not isinstance(answer, dict) or answer.get("Code") != "Success":
            raise _missing("this ECS instance has no role")
        return self._hold({"Credentials": answer})

    def _hold(self, answer: Mapping[str, Any]) -> Credentials:
        """Return the credentials of an answer, and use them again until shortly before they expire."""
        found = answer.get("Credentials")
        members = {name: str(member) for name, member in found.items()} if isinstance(found, Mapping) else {}
        try:
            expires = datetime.fromisoformat(members["Expiration"].replace("Z", "+00:00"))
            held = Credentials(members["AccessKeyId"], members["AccessKeySecret"], members["SecurityToken"])
        except (KeyError, ValueError):
            raise _missing("the answer of the service has no credentials") from None
        self._held, self._expires = held, expires.timestamp()
        return held


def _call(method: str, url: str, **options: Any) -> dict[str, Any]:
    """Return the answer of STS as JSON. Raises NoCredentials with the service's code if it refuses."""
    with new_session(1, trust_environment=True) as session:
        try:
            answer = session.request(
                method,
                url,
                timeout=_TIMEOUTS,
                **{**options, "headers": {"Accept": "application/json", **options.get("headers", {})}},
            )
            document = answer.json()
        except (requests.RequestException, ValueError) as exc:
            raise _missing(f"STS did not answer: {type(exc).__name__}") from None
    if not isinstance(document, dict) or "Credentials" not in document:
        code = document.get("Code") if isinstance(document, dict) else None
        raise _missing(f"STS refused the role: {code or answer.status_code}")
    return document


def _is_file(path: Path) -> bool:
    """Return whether `path` is a file. Raises NoCredentials if that cannot be found out, as in another's folder."""
    try:
        return path.is_file()
    except OSError as exc:
        raise _missing(f"{path} cannot be read: {type(exc).__name__}") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as exc:
        raise _missing(f"{path} cannot be read: {type(exc).__name__}") from None


def _missing(message: str) -> NoCredentials:
    return NoCredentials(message, service="credentials", operation="resolve")
