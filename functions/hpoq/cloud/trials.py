"""The trials of an experiment as PAI AutoML lists them.

Source: https://www.alibabacloud.com/help/en/pai/developer-reference/api-paiautoml-2022-08-28-listhpotrials.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.answers import Answer, find_member, text_member
from hpoq.cloud.experiments import Unreadable, names_another, read_status, read_time, read_total_count
from hpoq.errors import Invalid

_MOST_PAGES = 1000


@dataclass(frozen=True)
class Trial:
    """One trial. `metric` is its final metric, None if it has none that is a finite number.

    `seconds` are those from its creation to its last change, which for a trial that has ended is its end.
    """

    trial_id: str
    status: str
    metric: float | None
    hyperparameters: JsonObject | None
    seconds: float | None = None


@dataclass(frozen=True)
class TrialPage:
    """One page of a listing. `total_count` may be missing, and what it counts is not documented."""

    total_count: int | None
    trials: tuple[Trial, ...]


@dataclass
class TrialListing:
    """The trials of several pages by id.

    `is_complete` unless the service counts more than it lists, or the listing was broken off (`is_cut`).
    """

    counted: int
    by_id: dict[str, Trial] = field(default_factory=dict)
    is_cut: bool = False

    @property
    def is_complete(self) -> bool:
        return not self.is_cut and len(self.by_id) >= self.counted

    def add(self, page: TrialPage) -> bool:
        """Add the trials of `page`, and return whether one of them is new."""
        before = len(self.by_id)
        self.by_id |= {trial.trial_id: trial for trial in page.trials}
        self.counted = max(self.counted, page.total_count or 0)
        return len(self.by_id) > before


def read_all_trials(
    read_page: Callable[[int], TrialPage],
    page_size: int,
    expected: int | None = None,
    has_time: Callable[[], bool] = lambda: True,
) -> TrialListing:
    """Return the trials of every page, `read_page(1)` first.

    `expected` is the number of trials that the experiment itself states, if it does. Neither what TotalCount counts,
    nor the largest page, nor how a page beyond the last one is answered is documented. So a short page ends the
    listing only if the counts agree; otherwise a page without new trials does, or one that is refused. `has_time`
    is called before each further page.
    """
    listing = TrialListing(counted=expected or 0)
    for number in range(1, _MOST_PAGES + 1):
        try:
            page = read_page(number)
        except Invalid:
            if number == 1:
                raise
            break
        has_new = listing.add(page)
        has_counts = page.total_count is not None and expected is not None
        is_last = len(page.trials) < page_size and has_counts and listing.is_complete
        if is_last or not has_new:
            break
        if not has_time():
            listing.is_cut = True
            break
    return listing


def read_trial_page(experiment_id: str, answer: Answer) -> TrialPage:
    """Read a page. Raises Unreadable unless each row is a trial with an id, and of this experiment if it says so."""
    count = read_total_count(answer)
    rows = find_member(answer.document, "Trials")
    if rows is None and count == 0:
        rows = []
    if not isinstance(rows, list):
        raise Unreadable("the list of trials is missing")
    return TrialPage(count, tuple(_read_trial(experiment_id, row) for row in rows))


def _read_trial(experiment_id: str, row: JsonValue) -> Trial:
    if not isinstance(row, dict) or not (trial_id := text_member(row, "TrialId")):
        raise Unreadable("a trial without an id")
    if names_another(row, "ExperimentId", experiment_id):
        raise Unreadable("a trial of another experiment")
    values = _read_json(find_member(row, "Hyperparam"))
    return Trial(
        trial_id,
        read_status(row) or "UNKNOWN",
        _read_metric(find_member(row, "FinalMetric")),
        values if isinstance(values, dict) else None,
        _read_seconds(row),
    )


def _read_seconds(row: JsonObject) -> float | None:
    created_at, modified_at = (
        read_time(text_member(row, f"Gmt{name}Time")) for name in ("Create", "Modified")
    )
    return None if created_at is None or modified_at is None else (modified_at - created_at).total_seconds()


def _read_metric(value: JsonValue) -> float | None:
    """Read a final metric: a number, its text, or an object with it, also as text. The documentation has several."""
    value = _read_json(value)
    if isinstance(value, dict):
        value = _read_json(value.get("default"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _read_json(value: JsonValue) -> JsonValue:
    """Return the JSON value in a text, None if it has none, or `value` itself if it is not a text."""
    if not isinstance(value, str):
        return value
    try:
        found: JsonValue = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found
