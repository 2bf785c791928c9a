"""Finding the experiment that an earlier attempt may have made.

The service offers no idempotency token, so every create carries its key as a marker: the tag `hpoq-key`, or a
suffix of the description. A listing is never believed further than its rows: each row's marker is checked here,
and an empty answer to the tag filter, whose wire form is not documented beyond doubt, counts only if the filter
is seen to find another key; else it is confirmed by paging through all experiments made since the key was first
claimed.

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
from datetime import datetime, timedelta, timezone

from fcruntime.dataclass import dataclass
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


def find(
    client: PaiAutoMl, sought: Sought, *, thorough: bool, page_size: int, give_up_at: float
) -> Experiment | None:
    """The experiment that bears the key, if the service lists one.

    Unless `thorough`, only where it would be found at once, which says nothing if it is not. A thorough None is
    no proof while the key is in doubt. `give_up_at` is a time of the monotonic clock. Raises CallError where a
    listing fails, UnknownEnd where it cannot be relied on, Ambiguous where the marker cannot.
    """
    look = _Look(client, sought, page_size, give_up_at)
    filtered = look.by_tag(sought.key)
    found = sought.among(filtered or ()) or sought.among(look.newest())
    if found is not None or not thorough or (filtered == () and look.filter_works()):
        return found
    return look.by_time()


@dataclass
class _Look:
    """The listings of one search."""

    client: PaiAutoMl
    sought: Sought
    page_size: int
    give_up_at: float
    _newest: tuple[Experiment, ...] = ()

    def by_tag(self, key: str) -> tuple[Experiment, ...] | None:
        """What the service lists for `key`; None if it does not take the filter."""
        try:
            page = self.client.list_hpo_experiments(
                tags=[(TAG_KEY, key)], page_number=1, page_size=self.page_size, give_up_at=self.give_up_at
            )
        except (Invalid, Denied):
            # If it takes no listing at all, the next one says so.
            return None
        return page.experiments

    def newest(self) -> tuple[Experiment, ...]:
        """The first page of all that was made since."""
        self._newest = self._page(1).experiments
        return self._newest

    def filter_works(self) -> bool:
        """Whether the tag filter, empty for our key, finds another key that is seen to exist, and nothing else.

        Then its empty answer is as good as a reading of everything.
        """
        keys = (dict(row.tags).get(TAG_KEY) for row in self._newest)
        other = next((key for key in keys if key is not None), None)
        rows = self.by_tag(other) if other is not None else None
        return bool(rows) and all((TAG_KEY, other) in row.tags for row in rows or ())

    def by_time(self) -> Experiment | None:
        """Look through everything made since; raises Ambiguous if the marker may have been dropped."""
        markers_stay, unmarked = False, set[str]()
        for rows in read_through(self._page, self.page_size):
            found = self.sought.among(rows)
            if found is not None:
                return found
            markers_stay = markers_stay or any(row.tags or marked_with((), row.description) for row in rows)
            unmarked |= {row.experiment_id for row in rows if self.sought.may_be(row)}
        if unmarked and not markers_stay:
            raise _ambiguous(sorted(unmarked))
        return None

    def _page(self, number: int) -> ExperimentPage:
        return self.client.list_hpo_experiments(
            min_create_time=self.sought.earliest.strftime("%Y-%m-%d %H:%M:%S"),
            page_number=number,
            page_size=self.page_size,
            give_up_at=self.give_up_at,
        )


def _ambiguous(experiment_ids: list[str]) -> Ambiguous:
    message = (
        f"no experiment in the listing bears any tag, so the service may have dropped the marker, and one of "
        f"{len(experiment_ids)} may be this request's: {', '.join(experiment_ids[:_SHOWN])}; see whether it "
        "is, and where the service keeps no tags set HPOQ_MARKER=description"
    )
    return Ambiguous(message, service="paiautoml", operation="ListHpoExperiments")
