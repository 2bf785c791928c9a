"""`hpoq resolve`: record what an operator found out about a key whose create is in doubt."""

from __future__ import annotations

from dataclasses import dataclass

import click

from hpoq.clock import Budget
from hpoq.cloud.experiments import is_experiment_id
from hpoq.cloud.paiautoml import PaiAutoMl, identify_place, is_elsewhere
from hpoq.contract.identity import find_marker_keys
from hpoq.errors import Ambiguous, CallError, Incomplete, NotFound
from hpoq.idempotency.record import Record
from hpoq.idempotency.store import Store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Standing
from hpoq.processing.reconcile import Sought, find
from hpoq.settings import Settings
from hpoqctl.output import json_option, print_change
from hpoqctl.recordview import NO_RECORD, format_time, name_end
from hpoqctl.services import (
    RefusedError,
    change_records,
    experiments_endpoint,
    find_one_key,
    key_options,
    open_experiments,
    read_settings,
    store_option,
    store_url,
    usage_errors,
)

# A search reads page after page, each within the read time-out of one call.
_SEARCH_SECONDS = 120.0


@dataclass(frozen=True)
class _Service:
    """PAI AutoML as the function knows it: its client, its endpoint, and the settings of the search."""

    client: PaiAutoMl
    endpoint: str
    settings: Settings


@dataclass(frozen=True)
class _Decision:
    """The operator's finding: the experiment's id, or None if none exists."""

    key: str
    experiment_id: str | None


@click.command(name="resolve")
@key_options
@click.option(
    "--none", "is_none", is_flag=True, help="No experiment exists: the next delivery may create it."
)
@click.option(
    "--experiment",
    "experiment_id",
    metavar="ID",
    help="This is the experiment of KEY: the next delivery announces it.",
)
@click.option(
    "--unchecked", is_flag=True, help="Do not ask the service, and do not wait for an earlier create."
)
@store_option
@click.option("--endpoint", metavar="URL", help="Use the records and experiments of a running `hpoq local`.")
@json_option
@usage_errors()
def command(
    key: str | None,
    message_id: str | None,
    source: str,
    producer_key: str | None,
    is_none: bool,
    experiment_id: str | None,
    unchecked: bool,
    url: str | None,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Record whether the experiment of KEY exists, if the result of its create is unknown.

    Use it when the log has operator.needed with the code Ambiguous, Incomplete or EndpointChanged: hpoq cannot find
    out whether an earlier create happened, so the message waits. Look for the experiment in the console of PAI, by
    name and time. Give --none if there is none, or its id with --experiment. A wrong --none leads to a second
    experiment.

    Only a key that no delivery holds and that has no outcome can be resolved. The service is asked first. With
    --experiment, the experiment must exist and must not carry another message's key. With --none, no experiment may
    carry the key, and no earlier create may still take effect. Afterwards the message has to be delivered again.

    Exit code 1 means that nothing was recorded.
    """
    if is_none == (experiment_id is not None):
        raise click.UsageError("Give either --none or --experiment ID.")
    if experiment_id is not None and not is_experiment_id(experiment_id):
        raise click.UsageError(f"{experiment_id!r} is not an experiment id. Give --experiment ID.")
    settings = read_settings()
    sought = find_one_key(key, message_id, source, producer_key, settings.namespace)
    decision = _Decision(sought, experiment_id)
    place = experiments_endpoint(settings, endpoint) if not unchecked else None
    service = _Service(open_experiments(place), place, settings) if place is not None else None
    reason, lines = change_records(
        store_url(settings, url, endpoint), lambda store, now: _record(store, service, decision, now)
    )
    found = "no experiment exists" if experiment_id is None else f"experiment {experiment_id}"
    print_change(sought, "resolved", reason, lines, f": {found}", as_json=as_json, experimentId=experiment_id)
    raise SystemExit(0 if reason is None else 1)


def _record(store: Store, service: _Service | None, decision: _Decision, now: float) -> list[str]:
    """Write the decision, and return sentences on what happens next. Raises RefusedError, StoreError."""
    record = _check_record(store.get(decision.key), now)
    if service is not None and decision.experiment_id is not None:
        _check_experiment(service, decision.experiment_id, record.key)
    elif service is not None:
        _check_absence(service, record, now)
    if decision.experiment_id is None:
        resolved = lifecycle.resolve_none(record, now)
    else:
        resolved = lifecycle.resolve_experiment(record, decision.experiment_id, now)
    if not store.replace(resolved, record.version):
        raise RefusedError(
            "a delivery has claimed the key in the meantime. See hpoq status, and run the command again if needed."
        )
    return _explain_result(record, decision, now)


def _check_record(record: Record | None, now: float) -> Record:
    if record is None:
        raise RefusedError(NO_RECORD)
    standing = lifecycle.find_standing(record, now)
    if standing is Standing.HELD:
        ends = format_time(record.lease_until)
        raise RefusedError(f"it is still being processed, until {ends}. Run the command again after that.")
    if standing is not Standing.ABANDONED:
        raise RefusedError(f"it has already ended as {name_end(record)}. There is nothing to resolve.")
    return record


def _check_experiment(service: _Service, experiment_id: str, key: str) -> None:
    try:
        found = service.client.get_hpo_experiment(experiment_id)
    except NotFound as exc:
        problem = f"experiment {experiment_id} does not exist, or these credentials may not see it."
        raise RefusedError(f"{problem} Give --unchecked to record it anyway.") from exc
    except CallError as exc:
        problem = f"experiment {experiment_id} could not be looked up ({exc})."
        raise RefusedError(f"{problem} Give --unchecked to record it anyway.") from exc
    keys = find_marker_keys(found.tags, found.description)
    if keys and key not in keys:
        problem = f"experiment {experiment_id} carries the key of another message, {', '.join(sorted(keys))}."
        raise RefusedError(f"{problem} Give --unchecked to record it anyway.")


def _check_absence(service: _Service, record: Record, now: float) -> None:
    """Raise RefusedError if an experiment carries the key of `record`, or if one may still appear."""
    if is_elsewhere(record.place, identify_place(service.endpoint)):
        place = str(record.place).partition("#")[0]
        problem = f"its create was sent to {place}, and the endpoint is now {service.endpoint}."
        raise RefusedError(f"{problem} Set HPOQ_PAIAUTOML_ENDPOINT={place}, or give --unchecked.")
    sought = Sought.from_claim(record, {}, service.settings.clock_skew_seconds)
    budget, page_size = Budget.lasting(_SEARCH_SECONDS), service.settings.list_page_size
    try:
        found = find(service.client, sought, thorough=True, page_size=page_size, budget=budget, now=now)
    except (Ambiguous, Incomplete):
        # The listing does not show it, which is why an operator had to find out.
        found = None
    except CallError as exc:
        problem = f"the service could not be searched for its experiment ({exc})."
        raise RefusedError(f"{problem} Give --unchecked to record it anyway.") from exc
    if found is not None:
        raise RefusedError(
            f"experiment {found.experiment_id} carries this key. Use --experiment {found.experiment_id}."
        )
    if lifecycle.is_in_doubt(record.doubt_until, now):
        ends = format_time(record.doubt_until or now)
        problem = f"an earlier create may still take effect until {ends}. Run the command again after that."
        raise RefusedError(f"{problem} Give --unchecked to record it anyway.")


def _explain_result(record: Record, decision: _Decision, now: float) -> list[str]:
    if decision.experiment_id is not None:
        lines = [f"The next delivery announces experiment {decision.experiment_id} and creates none."]
    else:
        lines = ["The next delivery creates the experiment."]
        if lifecycle.is_in_doubt(record.doubt_until, now):
            until = format_time(record.doubt_until or now)
            lines.append(
                f"Until {until} an earlier create may still take effect. Then there would be two experiments."
            )
    lines.append(
        "The message has to be delivered again. If it is in its queue, that happens by itself; if it is in the "
        f"dead-letter queue: hpoq redrive --match {decision.key}"
    )
    return lines
