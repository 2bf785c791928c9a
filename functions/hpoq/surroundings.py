"""Where an invocation runs: from the settings first, then its context, then FC's environment."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from fcruntime.context import Invocation
from fcruntime.dataclass import dataclass
from hpoq.cloud import paiautoml, smq
from hpoq.errors import SettingsError
from hpoq.settings import Settings


@dataclass(frozen=True)
class Surroundings:
    """Where an invocation runs: from the settings first, then its context, then FC's environment."""

    invocation: Invocation
    environ: Mapping[str, str]
    settings: Settings

    @property
    def request_id(self) -> str:
        return self.invocation.request_id or str(uuid.uuid4())

    @property
    def region(self) -> str | None:
        return self.settings.region or self.invocation.region or self.environ.get("FC_REGION")

    @property
    def account_id(self) -> str | None:
        return self.settings.account_id or self.invocation.account_id or self.environ.get("FC_ACCOUNT_ID")

    @property
    def source(self) -> str:
        """The function's ARN without a qualifier, so that it is one source across versions."""
        name = self.invocation.function_name or self.environ.get("FC_FUNCTION_NAME") or "hpoq"
        arn = f"acs:fc:{self.region or ''}:{self.account_id or ''}:functions/{name}"
        return self.settings.event_source or arn

    def paiautoml_endpoint(self) -> str:
        if self.settings.paiautoml_endpoint:
            return self.settings.paiautoml_endpoint
        return paiautoml.default_endpoint(_given(self.region, "HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT"))

    def smq_endpoint(self) -> str:
        if self.settings.smq_endpoint:
            return self.settings.smq_endpoint
        account = _given(self.account_id, "HPOQ_ACCOUNT_ID or HPOQ_SMQ_ENDPOINT")
        return smq.default_endpoint(account, _given(self.region, "HPOQ_REGION or HPOQ_SMQ_ENDPOINT"))


def _given(value: str | None, names: str) -> str:
    if not value:
        raise SettingsError([f"set {names}: the context does not tell"])
    return value


def store_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """An instance's own disk is no memory for a function: on FC the store must be chosen with open eyes."""
    if settings.store:
        return settings.store
    if environ.get("FC_FUNC_CODE_PATH") or environ.get("FC_INSTANCE_ID"):
        raise SettingsError(["HPOQ_STORE must be set on Function Compute: instances share no disk"])
    return "sqlite:///hpoq.sqlite3"
