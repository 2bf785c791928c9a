"""What `hpoq send` does before it sends: check every request, and add missing keys with `--key auto`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import click

from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import compute_fingerprint
from hpoq.contract.stop import StopRequest
from hpoqctl.checking import TOO_LARGE, Checked, KeyCheck, check_document, derive_own_key, format_result
from hpoqctl.files import Document
from hpoqctl.output import console, count_of, notes, print_json

_UNPROTECTED = (
    "{requests} without an idempotencyKey. Sending the same again creates another experiment. To prevent that, "
    "add a key or use --key auto."
)


@dataclass(frozen=True)
class Outgoing:
    """A request to send; `request` is None if it is invalid.

    An invalid request is rejected under the key of its message, even if it has an idempotencyKey.
    """

    document: Document
    request: ExperimentRequest | StopRequest | None

    @property
    def is_protected(self) -> bool:
        """Whether the request can be sent again without a second experiment, by its own key or its CloudEvent's."""
        creates_nothing = isinstance(self.request, StopRequest) or (self.request and self.request.dry_run)
        return bool(creates_nothing) or derive_own_key(self.document.data, self.request, "") is not None


def prepare_requests(
    documents: Iterable[Document], *, key: str | None, check: bool, as_json: bool
) -> list[Outgoing]:
    """Return the requests to send. With `check`, an invalid one ends the command, with what `hpoq check` prints.

    Warnings are printed to standard error. `key` is "auto" to derive missing keys. Raises click.BadParameter for a
    file that cannot be read as a request at all.
    """
    keys = KeyCheck()
    checked = [keys.add(_check_size(check_document(document))) for document in documents]
    invalid = [one for one in checked if not one.valid]
    if check and invalid:
        _print_invalid(checked, invalid, as_json=as_json)
        raise SystemExit(1)
    for one in checked:
        if one.document.problem:
            place, problem = one.document.place, one.document.problem[0]
            raise click.BadParameter(f"{place}: {problem.message}", param_hint="FILE")
        if check and one.warnings and not as_json:
            for line in format_result(one):
                notes().print(line)
    outgoing = [_add_key(one) if key == "auto" else _make_outgoing(one) for one in checked]
    # An invalid one is rejected, whatever its key is.
    unprotected = sum(one.request is not None and not one.is_protected for one in outgoing)
    if unprotected and not as_json:
        notes().print(_UNPROTECTED.format(requests=count_of(unprotected, "request")), markup=False)
    return outgoing


def _check_size(checked: Checked) -> Checked:
    """Make the warning about the size a violation: what is sent goes through SMQ."""
    large = [one for one in checked.warnings if one.violation.rule == TOO_LARGE]
    others = [one for one in checked.warnings if one.violation.rule != TOO_LARGE]
    return replace(checked, violations=[*checked.violations, *large], warnings=others)


def _print_invalid(checked: Sequence[Checked], invalid: Sequence[Checked], *, as_json: bool) -> None:
    if as_json:
        print_json({"sent": [], "files": [one.as_row() for one in checked]})
        return
    for one in invalid:
        for line in format_result(one):
            console().print(line)
    verb = "is" if len(invalid) == 1 else "are"
    which = "the request" if len(checked) == 1 else f"{len(invalid)} of {len(checked)} requests"
    notes().print(f"Nothing was sent, because {which} {verb} invalid.", style="red", markup=False)


def _make_outgoing(checked: Checked) -> Outgoing:
    return Outgoing(checked.document, checked.parsed.request if checked.parsed else None)


def _add_key(checked: Checked) -> Outgoing:
    """Return the request with a key that is derived from its experiment, unless it has one already."""
    outgoing = _make_outgoing(checked)
    request = outgoing.request
    if not isinstance(request, ExperimentRequest) or outgoing.is_protected:
        return outgoing
    key = derive_producer_key(request)
    document = {**request.wire(), "idempotencyKey": key}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    keyed = request.model_copy(update={"idempotency_key": key})
    return Outgoing(replace(outgoing.document, data=body), keyed)


def derive_producer_key(request: ExperimentRequest) -> str:
    """Return an idempotencyKey that two requests share if and only if they ask for the same experiment."""
    return f"auto-{compute_fingerprint(request.wire())[:32]}"
