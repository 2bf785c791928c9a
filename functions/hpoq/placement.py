"""Where an invocation runs: its region, account, endpoints, store and name."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cached_property

from fcruntime.context import Invocation
from fcruntime.dataclass import dataclass
from hpoq.cloud import paiautoml, smq
from hpoq.errors import SettingsError
from hpoq.settings import Settings


@dataclass(frozen=True)
class Placement:
    """Where an invocation runs.

    Each value comes from the settings if it is set there, else from the invocation's context, else from the
    environment variables of FC.
    """

    invocation: Invocation
    environ: Mapping[str, str]
    settings: Settings

    @cached_property
    def request_id(self) -> str:
        """FC's request id, or one random id for the whole invocation if the context has none."""
        return self.invocation.request_id or str(uuid.uuid4())

    @property
    def region(self) -> str | None:
        """The region, or None if it is unknown."""
        return self.settings.region or self.invocation.region or self.environ.get("FC_REGION")

    @property
    def account_id(self) -> str | None:
        """The id of the account that owns the queue, or None if it is unknown."""
        return self.settings.account_id or self.own_account_id

    @property
    def own_account_id(self) -> str | None:
        """The id of the function's account, in which it creates experiments, or None if it is unknown."""
        return self.invocation.account_id or self.environ.get("FC_ACCOUNT_ID")

    @property
    def source(self) -> str:
        """The CloudEvents source: the function's ARN, without a qualifier so that all versions are one source."""
        name = self.invocation.function_name or self.environ.get("FC_FUNCTION_NAME") or "hpoq"
        arn = f"acs:fc:{self.region or ''}:{self.account_id or ''}:functions/{name}"
        return self.settings.event_source or arn

    def paiautoml_endpoint(self) -> str:
        """Return the endpoint of PAI AutoML. Raises SettingsError if it is neither set nor known."""
        if self.settings.paiautoml_endpoint:
            return self.settings.paiautoml_endpoint
        region = _require(self.region, "region", "HPOQ_REGION or HPOQ_PAIAUTOML_ENDPOINT")
        return paiautoml.default_endpoint(region)

    def smq_endpoint(self) -> str:
        """Return the endpoint of SMQ. Raises SettingsError if it is neither set nor known."""
        if self.settings.smq_endpoint:
            return self.settings.smq_endpoint
        return smq.default_endpoint(*self._locate("HPOQ_SMQ_ENDPOINT"))

    def eventbridge_endpoint(self) -> str:
        """Return the endpoint of EventBridge. Raises SettingsError if it is neither set nor known."""
        if self.settings.eventbridge_endpoint:
            return self.settings.eventbridge_endpoint
        from hpoq.cloud import eventbridge  # for this output only

        return eventbridge.default_endpoint(*self._locate("HPOQ_EVENTBRIDGE_ENDPOINT"))

    def _locate(self, endpoint: str) -> tuple[str, str]:
        """Return the account and the region, which need not be known if the setting `endpoint` is set."""
        account_id = _require(self.account_id, "account", f"HPOQ_ACCOUNT_ID or {endpoint}")
        return account_id, _require(self.region, "region", f"HPOQ_REGION or {endpoint}")


def _require(value: str | None, what: str, settings: str) -> str:
    if not value:
        raise SettingsError([f"The {what} is not known. Set {settings}."])
    return value


def store_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return the URL of the store: HPOQ_STORE, or a file in the current directory.

    On Function Compute there is no default. Each instance has a disk of its own that is lost with it, so records
    kept there would not prevent a second experiment. Raises SettingsError.
    """
    if settings.store:
        return settings.store
    if environ.get("FC_FUNC_CODE_PATH") or environ.get("FC_INSTANCE_ID"):
        message = (
            "HPOQ_STORE is not set. On Function Compute instances share no disk: set it, for example to "
            "tablestore://INSTANCE.REGION.ots.aliyuncs.com/TABLE."
        )
        raise SettingsError([message])
    return "sqlite:///hpoq.sqlite3"
