"""Finding the experiment that an earlier attempt may have made.

The service offers no idempotency token, so every create carries its key as a marker: the tag `hpoq-key`, or a
suffix of the description. A listing is never believed further than its rows: each row's marker is checked here,
and an empty answer to the tag filter, whose wire form is not documented beyond doubt, is confirmed by paging
through all experiments made since the key was first claimed.

**Residual risk.** A second experiment can still come about in these ways. The service takes longer than the
lease plus the consistency margin to carry out a create that it never answered. It lists a new experiment later
than that margin, or never shows it to the credentials that look for it (another principal's PRIVATE ones). It
keeps no marker: where no experiment in the listing bears any tag, one that could be the request's is reported
as ambiguous and nothing is created, but a service that drops tags from some experiments only would go
unnoticed. The instance is frozen, or its clock is off by more than the skew setting, between its last look at
both clocks, right before the first byte leaves, and the arrival of that byte: a client cannot call back what it
has handed to the network. Or somebody deletes the experiment while its message is still being retried. Settings
bound the first two; only a token that the service checks could close the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.cloud.listing import read_through
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.contract.marker import TAG_KEY, marked_with
from hpoq.errors import Ambiguous, Denied, Invalid

_SHOWN = 3

# The zone of the filter is not documented; a day to either side covers every one.
_ZONE_MARGIN = timedelta(days=1)


@dataclass(frozen=True)
class Sought:
    """The experiment that an earlier attempt may have made.

    `since` is when the key was first claimed, in seconds since the epoch; `name` and `workspace_id` are those
    of the request.
    """

    key: str
    since: float
    name: str | None
    workspace_id: str | None

    @property
    def earliest(self) -> datetime:
        """The moment before which it was surely not created, whichever zone the service writes times in."""
        return datetime.fromtimestamp(self.since, timezone.utc) - _ZONE_MARGIN

    def among(self, rows: Iterable[Experiment]) -> Experiment | None:
        """The bearer of the key; should there be several, the oldest, so that every look picks the same one.

        What was created before the claim bears the key from another life: a key is free again after its
        retention.
        """
        bearers = [
            row
            for row in rows
            if self.key in marked_with(row.tags, row.description) and not self._is_older(row)
        ]
        last = datetime.max.replace(tzinfo=timezone.utc)
        return min(bearers, key=lambda row: (row.created_at or last, row.experiment_id), default=None)

    def may_be(self, row: Experiment) -> bool:
        """Whether `row` could be it, had the service dropped the marker."""
        return (
            not self._is_older(row)
            and self.name in (None, row.name or self.name)
            and self.workspace_id in (None, row.workspace_id or self.workspace_id)
        )

    def _is_older(self, row: Experiment) -> bool:
        return row.created_at is not None and row.created_at < self.earliest


def find(client: PaiAutoMl, sought: Sought, *, page_size: int, give_up_at: float) -> Experiment | None:
    """The experiment that bears the key, if the service lists one.

    `give_up_at` is a time of the monotonic clock. Raises CallError where a listing fails, UnknownEnd where it
    cannot be relied on, Ambiguous where the marker cannot. None is no proof while the key is in doubt.
    """
    return _by_tag(client, sought, page_size, give_up_at) or _by_time(client, sought, page_size, give_up_at)


def _by_tag(client: PaiAutoMl, sought: Sought, page_size: int, give_up_at: float) -> Experiment | None:
    try:
        page = client.list_hpo_experiments(
            tags=[(TAG_KEY, sought.key)], page_number=1, page_size=page_size, give_up_at=give_up_at
        )
    except (Invalid, Denied):
        # A service that does not take the filter; if it takes no listing at all, the next one says so.
        return None
    return sought.among(page.experiments)


def _by_time(client: PaiAutoMl, sought: Sought, page_size: int, give_up_at: float) -> Experiment | None:
    """Look through everything made since; raises Ambiguous if the marker may have been dropped."""
    earliest = sought.earliest.strftime("%Y-%m-%d %H:%M:%S")

    def read_page(number: int) -> ExperimentPage:
        return client.list_hpo_experiments(
            min_create_time=earliest, page_number=number, page_size=page_size, give_up_at=give_up_at
        )

    markers_stay, unmarked = False, set()
    for rows in read_through(read_page, page_size):
        found = sought.among(rows)
        if found is not None:
            return found
        markers_stay = markers_stay or any(row.tags or marked_with((), row.description) for row in rows)
        unmarked |= {row.experiment_id for row in rows if sought.may_be(row)}
    if unmarked and not markers_stay:
        raise _ambiguous(sorted(unmarked))
    return None


def _ambiguous(experiment_ids: list[str]) -> Ambiguous:
    message = (
        f"no experiment in the listing bears any tag, so the service may have dropped the marker, and one of "
        f"{len(experiment_ids)} may be this request's: {', '.join(experiment_ids[:_SHOWN])}; see whether it "
        "is, and where the service keeps no tags set HPOQ_MARKER=description"
    )
    return Ambiguous(message, service="paiautoml", operation="ListHpoExperiments")
