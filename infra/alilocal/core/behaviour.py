"""Switches for what the documentation leaves open, and for what a client must cope with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints


@dataclass
class Behaviour:
    """How the services of one cloud behave; each member may be set at any time.

    Setting an unknown member raises AttributeError, a value outside a member's choices ValueError.
    """

    list_lag_seconds: float = 0.0
    """A new experiment stays unseen by List and Get for so long."""
    tag_filter: Literal["honoured", "ignored", "refused"] = "honoured"
    """What ListHpoExperiments does with `Tag`."""
    create_tags: Literal["accepted", "dropped", "refused"] = "accepted"
    """What CreateHpoExperiment does with `Tag`."""
    error_status: Literal[200, 400] = 200
    """The HTTP status of errors that PAI AutoML itself reports, as opposed to its gateway."""
    error_keys: Literal["pascal", "lower"] = "pascal"
    """How the gateway spells the members of an error body."""
    success_code: bool = False
    """Whether a success carries `Code: SUCCESS`."""
    strict_required: bool = True
    """Whether an experiment's configuration must have its documented members."""
    mask_configuration: bool = True
    """Whether GetHpoExperiment masks secrets in HpoExperimentConfiguration, as ConfigIni always does."""
    update_configuration: Literal["replaced", "merged"] = "replaced"
    """What UpdateHpoExperiment does with the configuration: take the new one, or its sections over the old ones."""
    trial_success: Literal["as_documented", "SUCCEEDED", "FINISHED"] = "as_documented"
    """How a trial that went well is called; the documentation says SUCCEEDED of ListHpoTrials and FINISHED of
    GetHpoTrial."""
    name_filter: Literal["keyword", "exact"] = "keyword"
    """What ListHpoExperiments compares `Name` with: any part of a name, or the whole of it."""
    several_tags: Literal["all", "any"] = "all"
    """Of several tags that ListHpoExperiments is asked for, how many an experiment must bear."""
    most_per_page: int = 100
    """The largest PageSize of ListHpoExperiments."""
    large_page: Literal["refused", "clamped"] = "refused"
    """What becomes of a larger one."""
    total_count: Literal["matches", "page"] = "matches"
    """What TotalCount of ListHpoExperiments counts: all that match, or the rows of the page."""
    delete_running: Literal["accepted", "refused"] = "accepted"
    """Whether an experiment that has not ended can be deleted."""
    unknown_members: Literal["dropped", "refused"] = "dropped"
    """What creating and updating an experiment do with members of the body that are not documented."""
    wrong_action: Literal["refused", "ignored"] = "refused"
    """What a call with an x-acs-action that does not fit its path is."""
    put_events_status: Literal[409, 400] = 409
    """The HTTP status of a call of PutEvents that is refused for its events."""
    invalid_events: Literal["entry", "call"] = "entry"
    """Whether an event that is not as it must be fails by itself, or the call with it."""
    event_error_keys: Literal["lower", "pascal"] = "lower"
    """How errors of the first generation of PutEvents spell their members."""
    event_success_code: Literal["absent", "Success"] = "absent"
    """The ErrorCode of an event that was put."""
    event_entry_order: Literal["kept", "reversed"] = "kept"
    """The order of PutEvents' entries, which a caller must not rely on."""
    delete_missing: Literal["accepted", "refused"] = "refused"
    """Whether deleting a queue, topic or subscription that does not exist is an error."""
    time_expired_status: Literal[400, 408] = 408
    """The HTTP status of SMQ's TimeExpired, where the documentation contradicts itself."""
    expired_receipt: Literal["MessageNotExist", "ReceiptHandleError"] = "MessageNotExist"
    """SMQ's answer to a receipt handle whose time is over."""
    partial_batch_status: Literal[400, 404, 500] = 500
    """The HTTP status of a batch of sent messages of which some failed."""
    dead_letter_id: Literal["new", "kept"] = "new"
    """Whether a message that a queue's dead-letter policy moves gets a new id."""
    plain_body: Literal["accepted", "refused"] = "accepted"
    """What a queue does with a body that is not base64, where the documentation contradicts itself."""
    zero_visibility: Literal["accepted", "refused"] = "accepted"
    """What ChangeMessageVisibility does with 0, which the vendor's SDK lets through."""
    group_id: Literal["carried", "refused"] = "carried"
    """What a queue, none of which is FIFO here, does with MessageGroupId."""
    pushed_properties: Literal["kept", "dropped"] = "kept"
    """Whether a message's properties go with it from a topic to a queue."""
    expired_row: Literal["absent", "present"] = "absent"
    """What a condition of Tablestore on a row's existence sees of one that has expired, until it is written anew."""

    def __setattr__(self, name: str, value: object) -> None:
        known = _CHOICES.get(name)
        if known is None:
            raise AttributeError(f"no such behaviour: {name}; there are {', '.join(sorted(_CHOICES))}")
        if known and value not in known:
            raise ValueError(f"{name}: {value!r} is none of {', '.join(map(repr, known))}")
        least = None if known else _LEAST[name]
        if least is not None and not (type(value) in (int, type(least)) and least <= value < math.inf):  # type: ignore[operator]
            raise ValueError(f"{name}: {value!r} is no number from {least} on")
        super().__setattr__(name, value)


def choices(hint: object) -> tuple[bool | int | str, ...]:
    """What a switch of that type can be; nothing for a number."""
    return (True, False) if hint is bool else get_args(hint)


_LEAST: dict[str, int | float] = {"list_lag_seconds": 0.0, "most_per_page": 1}
_CHOICES = {name: choices(hint) for name, hint in get_type_hints(Behaviour).items()}
