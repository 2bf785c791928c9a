"""The client of PAI AutoML, API version 2022-08-28: the operations on experiments.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-overview.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeVar

from fcruntime.jsonvalue import JsonValue, write_compact
from hpoq.clock import Budget
from hpoq.cloud.answers import Answer, error_of, make_unreadable, read_json, scrub
from hpoq.cloud.caller import ServiceClient, is_own_answer
from hpoq.cloud.endpoint import Endpoint, check_region
from hpoq.cloud.experiments import (
    CreatedExperiment,
    Experiment,
    ExperimentPage,
    Unreadable,
    is_experiment_id,
    names_another,
    read_experiment,
    read_experiment_id,
    read_page,
    read_status,
)
from hpoq.cloud.signing import Credentials, acs3_headers, canonical_query, percent_encode
from hpoq.cloud.transport import AnswerMisplaced, Response
from hpoq.errors import ClockOff, Incomplete, Unavailable, UnknownEnd
from hpoq.observability.secret_names import find_secrets

if TYPE_CHECKING:
    from datetime import datetime

    from hpoq.cloud.trials import TrialPage

T = TypeVar("T")

SERVICE = "paiautoml"
VERSION = "2022-08-28"
_PREFIX = "/api/automl/v1/hpo"
_JSON = "application/json; charset=utf-8"
_NEW_ID = rb'"[Ee]xperimentId"\s*:\s*("[^"]*"|[^\s,}]*)'
# A create on a connection that the gateway is closing just then has an unknown end, and its message waits until that
# doubt is over: 105 s. A handshake costs far less. No gateway is known that closes a connection within a second, and
# in a busy batch the next create follows sooner.
_MAX_IDLE_SECONDS = 1.0


def default_endpoint(region: str, network: Literal["public", "vpc"] = "public") -> str:
    """Return the service's endpoint in `region`, on the internet or inside a VPC.

    Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-endpoint.
    """
    host = "paiautoml-vpc" if network == "vpc" else "paiautoml"
    return f"https://{host}.{check_region(region)}.aliyuncs.com"


def identify_place(endpoint: str, account_id: str | None = None) -> str:
    """Return what identifies the experiments of an account at `endpoint`.

    The spelling of the endpoint does not matter, nor whether it is in the VPC.
    """
    place = str(Endpoint.parse(endpoint)).replace("://paiautoml-vpc.", "://paiautoml.")
    return f"{place}#{account_id}" if account_id else place


def is_elsewhere(place: str | None, present: str | None) -> bool:
    """Return whether the experiments at `place` cannot be seen at `present`, as far as both are known."""
    if place is None or present is None:
        return False
    # The account may be missing.
    return any(one != other for one, other in zip(place.split("#"), present.split("#"), strict=False))


class PaiAutoMl(ServiceClient):
    """Creates, finds and stops experiments, and lists their trials.

    Every method raises CallError, and returns or raises before its `budget` ends.
    """

    service = SERVICE

    def create_hpo_experiment(
        self,
        body: Mapping[str, JsonValue],
        *,
        nonce: str,
        backdate_seconds: float = 0.0,
        max_clock_error: float | None = None,
        is_ours: Callable[[str], bool] = lambda _: True,
        budget: Budget | None = None,
    ) -> CreatedExperiment:
        """Create the experiment that `body`, a CreateHpoExperiment body, describes.

        The request is repeated only after Unavailable, when nothing was sent. After UnknownEnd an experiment may
        exist: the service has no idempotency token, so search for the experiment before calling again.

        `nonce` is the signature nonce. The gateway refuses one that it has seen (an UnknownEnd with the code
        SignatureNonceUsed), so a caller that keeps the nonce is protected from late copies of the request.
        `backdate_seconds` is subtracted from the date of the request, so that a delayed copy expires sooner.

        `is_ours` says whether the experiment with the id in an answer can be that of this request. If not, or if a
        success has no id, a proxy may have delivered another request's answer: the end is unknown, and the
        connection is not used again.

        Raises ClockOff, before connecting, if this machine's clock is off by more than `max_clock_error` seconds.
        """
        operation = "CreateHpoExperiment"
        data = write_compact(body).encode()

        def read(response: Response, credentials: Credentials) -> CreatedExperiment:
            return _read_created(response, chain(find_secrets(body), credentials.secrets()))

        path = f"{_PREFIX}/experiment"
        return self._call(
            operation,
            "POST",
            path,
            self._make_signer(
                operation, "POST", path, body=data, nonce=nonce, backdate_seconds=backdate_seconds
            ),
            read,
            body=data,
            retry_on=(Unavailable,),
            budget=budget,
            max_idle_seconds=_MAX_IDLE_SECONDS,
            check=partial(self._check_clock, operation, max_clock_error),
            is_own=partial(_is_answer_to_create, is_ours),
        )

    def list_hpo_experiments(
        self,
        *,
        workspace_id: str | None = None,
        min_create_time: datetime | None = None,
        tags: Sequence[tuple[str, str]] = (),
        page_number: int = 1,
        page_size: int = 50,
        nonce: str | None = None,
        budget: Budget | None = None,
    ) -> ExperimentPage:
        """Return one page of the experiments that match.

        The zone in which the service reads `min_create_time` is not documented. The wire form of `tags` (one
        parameter that contains JSON) is inferred from sibling services, so check every row: the service may ignore a
        filter. A listing that cannot be read is an UnknownEnd, never an empty page.
        `nonce` is the signature nonce; if it is None, every try gets a new one.
        """
        earliest = None if min_create_time is None else min_create_time.strftime("%Y-%m-%d %H:%M:%S")
        parameters = {
            "WorkspaceId": workspace_id,
            "MinCreateTime": earliest,
            "Tag": _tag_filter(tags),
            "PageNumber": str(page_number),
            "PageSize": str(page_size),
        }
        query = canonical_query((key, value) for key, value in parameters.items() if value is not None)
        return self._read_call(
            "ListHpoExperiments",
            "GET",
            f"{_PREFIX}/experiments",
            read_page,
            query=query,
            nonce=nonce,
            names_resource=False,
            budget=budget,
        )

    def get_hpo_experiment(self, experiment_id: str, *, budget: Budget | None = None) -> Experiment:
        """Return one experiment. Raises NotFound if these credentials see none with this id."""
        path, read = experiment_path(experiment_id), partial(_read_experiment, experiment_id)
        return self._read_call("GetHpoExperiment", "GET", path, read, budget=budget)

    def list_hpo_trials(
        self,
        experiment_id: str,
        *,
        page_number: int = 1,
        page_size: int = 100,
        order: Literal["ASC", "DESC"] | None = None,
        budget: Budget | None = None,
    ) -> TrialPage:
        """Return one page of the trials of an experiment, sorted by their final metric if `order` is not None.

        `FINAL_METRIC` is named in the Chinese documentation only, so the service may refuse it with Invalid, or
        ignore it.
        """
        from hpoq.cloud.trials import read_trial_page  # few messages need it

        sort = [] if order is None else [("SortBy", "FINAL_METRIC"), ("Order", order)]
        query = canonical_query([("PageNumber", str(page_number)), ("PageSize", str(page_size)), *sort])
        path, read = f"{experiment_path(experiment_id)}/trials", partial(read_trial_page, experiment_id)
        return self._read_call("ListHpoTrials", "GET", path, read, query=query, budget=budget)

    def stop_hpo_experiment(self, experiment_id: str, *, budget: Budget | None = None) -> str | None:
        """Stop an experiment and its trials, and return its status now, such as TERMINATING.

        The call is repeated like a read.
        """
        path, read = f"{experiment_path(experiment_id)}/stop", partial(_read_stopped, experiment_id)
        return self._read_call("StopHpoExperiment", "PUT", path, read, budget=budget)

    def _read_call(
        self,
        operation: str,
        method: str,
        path: str,
        read: Callable[[Answer], T],
        *,
        query: str = "",
        nonce: str | None = None,
        names_resource: bool = True,
        budget: Budget | None,
    ) -> T:
        """Make a call that may be repeated, and return what `read` makes of its answer."""

        def read_or_raise(response: Response, credentials: Credentials) -> T:
            answer = read_json(response)
            if not answer.is_success:
                raise error_of(
                    answer,
                    service=SERVICE,
                    operation=operation,
                    names_resource=names_resource,
                    secrets=credentials.secrets(),
                )
            try:
                return read(answer)
            except Unreadable as exc:
                raise _make_unreadable(operation, answer, str(exc)) from exc

        signer = self._make_signer(operation, method, path, query=query, nonce=nonce)
        target = f"{path}?{query}" if query else path
        return self._call(operation, method, target, signer, read_or_raise, budget=budget)

    def _check_clock(self, operation: str, max_error: float | None) -> None:
        error = self._transport.clock_error()
        if max_error is None or abs(error) <= max_error:
            return
        side = "ahead of" if error > 0 else "behind"
        raise ClockOff(
            f"this machine's clock is {abs(error):.0f} s {side} the servers' clocks, more than the"
            f" {max_error:g} s that are safe; set the clock",
            service=SERVICE,
            operation=operation,
        )

    def _make_signer(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        nonce: str | None = None,
        backdate_seconds: float = 0.0,
    ) -> Callable[[Credentials], Mapping[str, str]]:
        """Return the function that signs one try of a call and returns its headers."""
        clock, host = self._transport.clock, self._endpoint.host

        def sign(credentials: Credentials) -> Mapping[str, str]:
            headers = acs3_headers(
                method=method,
                path=path,
                query=query,
                host=host,
                action=operation,
                version=VERSION,
                body=body,
                content_type=_JSON if body else None,
                credentials=credentials,
                now=clock.now() - backdate_seconds,
                nonce=nonce or clock.new_id(),
            )
            return headers | {
                "Accept": "application/json",
                "Cache-Control": "no-store",
                "User-Agent": "hpoq",
            }

        return sign


def experiment_path(experiment_id: str) -> str:
    """Return the path of an experiment. Raises ValueError if the text cannot be an id."""
    if not is_experiment_id(experiment_id):
        raise ValueError(f"{experiment_id!r} is not an experiment id")
    return f"{_PREFIX}/experiment/{percent_encode(experiment_id)}"


def _read_created(response: Response, secrets: Iterable[str]) -> CreatedExperiment:
    """Return the created experiment. With an id in the answer it exists, even if there is also an error code."""
    operation, answer = "CreateHpoExperiment", read_json(response)
    # Of members with one name, Python reads the last. Written twice alike, it is certain all the same.
    if len(set(re.findall(_NEW_ID, response.body))) > 1:
        raise _make_unreadable(operation, answer, "several experiment ids")
    experiment_id = read_experiment_id(answer.document)
    if 200 <= answer.status < 300 and experiment_id:
        remark = None if answer.code is None else scrub(f"{answer.code}: {answer.message}", secrets)
        return CreatedExperiment(experiment_id, remark)
    if experiment_id or answer.is_success:
        why = "an experiment id with an error status" if experiment_id else "no experiment id"
        raise _make_unreadable(operation, answer, why)
    raise error_of(answer, service=SERVICE, operation=operation, creates=True, secrets=secrets)


def _is_answer_to_create(is_ours: Callable[[str], bool], response: Response) -> bool:
    """Return whether the connection that delivered the answer to a create may be used again.

    Raises AnswerMisplaced if it is the answer to an earlier create.
    """
    experiment_id = read_experiment_id(response.document or {})
    if experiment_id is not None and not is_ours(experiment_id):
        raise AnswerMisplaced(errno.EBADMSG, "the answer to an earlier create")
    # A success without an id may be the answer to a listing. Then the next one is that of this create.
    names_experiment = experiment_id is not None or not read_json(response).is_success
    return names_experiment and is_own_answer(response)


def _read_experiment(experiment_id: str, answer: Answer) -> Experiment:
    experiment = read_experiment(answer.document)
    if names_another(answer.document, "ExperimentId", experiment_id):
        raise Unreadable("another experiment")
    return experiment


def _read_stopped(experiment_id: str, answer: Answer) -> str | None:
    if not answer.is_json:
        raise Unreadable("not a JSON object")
    if names_another(answer.document, "ExpId", experiment_id):
        raise Unreadable("another experiment")
    return read_status(answer.document)


def _make_unreadable(operation: str, answer: Answer, why: str) -> UnknownEnd:
    # A listing whose form has changed stays unreadable, so an operator has to know.
    kind = Incomplete if operation == "ListHpoExperiments" else UnknownEnd
    return make_unreadable(answer, why, service=SERVICE, operation=operation, kind=kind)


def _tag_filter(tags: Iterable[tuple[str, str]]) -> str | None:
    pairs = [{"Key": key, "Value": value} for key, value in tags]
    return json.dumps(pairs, separators=(",", ":"), ensure_ascii=False) if pairs else None
