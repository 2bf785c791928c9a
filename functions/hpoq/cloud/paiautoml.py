"""The client of PAI AutoML, version 2022-08-28: experiments and nothing else.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-overview.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NoReturn, TypeVar

from fcruntime.jsonvalue import JsonValue
from hpoq.cloud.answers import Answer, read_json, scrub, text_member
from hpoq.cloud.caller import ServiceClient
from hpoq.cloud.classify import error_of
from hpoq.cloud.credentials import Credentials
from hpoq.cloud.endpoint import check_region
from hpoq.cloud.experiments import (
    CreatedExperiment,
    Experiment,
    ExperimentPage,
    Unreadable,
    read_experiment,
    read_page,
)
from hpoq.cloud.retry import harmless_to_repeat, surely_not_acted
from hpoq.cloud.signing import acs3_headers, canonical_query, percent_encode
from hpoq.cloud.transport import Response, SignedRequest
from hpoq.errors import UnknownEnd

T = TypeVar("T")

SERVICE = "paiautoml"
VERSION = "2022-08-28"
_PREFIX = "/api/automl/v1/hpo"
_JSON = "application/json; charset=utf-8"
_SECRET_KEY = re.compile(r"secret|access_?key|access_?id|token|password|monitor_config", re.IGNORECASE)


def default_endpoint(region: str, network: Literal["public", "vpc"] = "public") -> str:
    """The service's endpoint in `region`, on the internet or inside a VPC.

    Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-endpoint.
    """
    host = "paiautoml-vpc" if network == "vpc" else "paiautoml"
    return f"https://{host}.{check_region(region)}.aliyuncs.com"


class PaiAutoMl(ServiceClient):
    """Creates, finds and ends experiments.

    Every method takes `give_up_at`, a value of the monotonic clock by which it returns or raises, and raises
    CallError.
    """

    def create_hpo_experiment(
        self,
        body: Mapping[str, JsonValue],
        *,
        give_up_at: float | None = None,
        not_after: float | None = None,
    ) -> CreatedExperiment:
        """Create the experiment that `body`, a CreateHpoExperiment body, describes.

        `not_after`, in seconds since the epoch, ends it too: every try looks at the wall clock before it sends.
        Repeated only while the service has surely not acted. After UnknownEnd an experiment may exist: the
        service knows no idempotency token, so look for it before calling again.
        """
        data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
        secrets = tuple(_secrets(body))

        def read(response: Response, credentials: Credentials) -> CreatedExperiment:
            return _created(read_json(response), (*secrets, *credentials.secrets()))

        return self._caller.call(
            self._signer("CreateHpoExperiment", "POST", f"{_PREFIX}/experiment", body=data),
            read,
            may_retry=surely_not_acted,
            give_up_at=give_up_at,
            not_after=not_after,
        )

    def list_hpo_experiments(
        self,
        *,
        name: str | None = None,
        workspace_id: str | None = None,
        creator: str | None = None,
        status: str | None = None,
        accessibility: str | None = None,
        min_create_time: str | None = None,
        max_create_time: str | None = None,
        tags: Sequence[tuple[str, str]] = (),
        page_number: int = 1,
        page_size: int = 50,
        sort_by: str | None = None,
        order: Literal["ASC", "DESC"] | None = None,
        give_up_at: float | None = None,
    ) -> ExperimentPage:
        """One page of the experiments that match.

        Times have the form `yyyy-mm-dd hh:mm:ss`, their zone undocumented. `name` is a keyword, and the wire
        form of `tags` (one parameter holding JSON) is inferred from sibling services: check every row, for
        a filter may be ignored. A listing that cannot be read is an UnknownEnd, never an empty page.
        """
        wanted = {
            "Name": name,
            "WorkspaceId": workspace_id,
            "Creator": creator,
            "Status": status,
            "Accessibility": accessibility,
            "MinCreateTime": min_create_time,
            "MaxCreateTime": max_create_time,
            "Tag": _tag_filter(tags),
            "PageNumber": str(page_number),
            "PageSize": str(page_size),
            "SortBy": sort_by,
            "Order": order,
        }
        query = canonical_query((key, value) for key, value in wanted.items() if value is not None)
        sign = self._signer("ListHpoExperiments", "GET", f"{_PREFIX}/experiments", query=query)
        return self._on("ListHpoExperiments", sign, _page, names_resource=False, give_up_at=give_up_at)

    def get_hpo_experiment(self, experiment_id: str, *, give_up_at: float | None = None) -> Experiment:
        """The experiment of that id; raises NotFound if there is none for these credentials."""
        return self._of("GetHpoExperiment", "GET", experiment_id, "", _experiment, give_up_at)

    def stop_hpo_experiment(self, experiment_id: str, *, give_up_at: float | None = None) -> str | None:
        """Stop it and its trials, and return its status now, such as TERMINATING. Repeated like a read."""
        return self._of("StopHpoExperiment", "PUT", experiment_id, "/stop", _status, give_up_at)

    def delete_hpo_experiment(self, experiment_id: str, *, give_up_at: float | None = None) -> None:
        """Remove it from every listing. Repeated like a read, so NotFound may mean that it took two tries."""
        self._of("DeleteHpoExperiment", "PUT", experiment_id, "/delete", _status, give_up_at)

    def _of(
        self,
        operation: str,
        method: str,
        experiment_id: str,
        suffix: str,
        read: Callable[[Answer], T],
        give_up_at: float | None,
    ) -> T:
        if experiment_id in ("", ".", ".."):
            raise ValueError("not an experiment id")
        path = f"{_PREFIX}/experiment/{percent_encode(experiment_id)}{suffix}"
        sign = self._signer(operation, method, path)
        return self._on(operation, sign, read, names_resource=True, give_up_at=give_up_at)

    def _on(
        self,
        operation: str,
        sign: Callable[[Credentials], SignedRequest],
        read: Callable[[Answer], T],
        *,
        names_resource: bool,
        give_up_at: float | None,
    ) -> T:
        """A call that may be repeated."""

        def read_or_raise(response: Response, credentials: Credentials) -> T:
            answer = read_json(response)
            if not answer.is_success:
                secrets = credentials.secrets()
                raise error_of(
                    answer,
                    service=SERVICE,
                    operation=operation,
                    names_resource=names_resource,
                    secrets=secrets,
                )
            try:
                return read(answer)
            except Unreadable as exc:
                _unreadable(operation, answer, str(exc))

        return self._caller.call(sign, read_or_raise, may_retry=harmless_to_repeat, give_up_at=give_up_at)

    def _signer(
        self, operation: str, method: str, path: str, *, query: str = "", body: bytes = b""
    ) -> Callable[[Credentials], SignedRequest]:
        def sign(credentials: Credentials) -> SignedRequest:
            clock, endpoint = self._caller.transport.clock, self._caller.endpoint
            headers = acs3_headers(
                method=method,
                path=path,
                query=query,
                host=endpoint.host,
                action=operation,
                version=VERSION,
                body=body,
                content_type=_JSON if body else None,
                credentials=credentials,
                now=clock.now(),
                nonce=clock.new_id(),
            )
            headers |= {"Accept": "application/json", "User-Agent": "hpoq"}
            target = f"{path}?{query}" if query else path
            return SignedRequest(SERVICE, operation, method, endpoint, target, headers, body)

        return sign


def _created(answer: Answer, secrets: tuple[str, ...]) -> CreatedExperiment:
    """The id decides: with one, an experiment exists, whatever code stands beside it."""
    operation = "CreateHpoExperiment"
    experiment_id = text_member(answer.document, "ExperimentId")
    if 200 <= answer.status < 300 and experiment_id:
        remark = None if answer.code is None else scrub(f"{answer.code}: {answer.message}", secrets)
        return CreatedExperiment(experiment_id, answer.request_id, remark)
    if experiment_id or answer.is_success:
        _unreadable(
            operation, answer, "an id beside an error status" if experiment_id else "no experiment id"
        )
    raise error_of(answer, service=SERVICE, operation=operation, secrets=secrets)


def _page(answer: Answer) -> ExperimentPage:
    if not answer.is_json:
        raise Unreadable("not a JSON object")
    return read_page(answer.document, answer.request_id)


def _experiment(answer: Answer) -> Experiment:
    return read_experiment(answer.document)


def _status(answer: Answer) -> str | None:
    if not answer.is_json:
        raise Unreadable("not a JSON object")
    return text_member(answer.document, "Status")


def _unreadable(operation: str, answer: Answer, why: str) -> NoReturn:
    raise UnknownEnd(
        f"unreadable answer: {why}",
        service=SERVICE,
        operation=operation,
        code=answer.code,
        request_id=answer.request_id,
        http_status=answer.status,
    )


def _tag_filter(tags: Iterable[tuple[str, str]]) -> str | None:
    pairs = [{"Key": key, "Value": value} for key, value in tags]
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False) if pairs else None


def _secrets(value: JsonValue | Mapping[str, JsonValue], *, is_secret: bool = False) -> Iterator[str]:
    """Each text of a request that stands under a name of a credential, for the service may quote it back."""
    if isinstance(value, str) and is_secret:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, is_secret=is_secret)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _secrets(member, is_secret=is_secret or _SECRET_KEY.search(key) is not None)
