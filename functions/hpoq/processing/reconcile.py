"""Find the experiment that an earlier attempt may have made.

The service offers no idempotency token, so every create carries its key as a marker: the tag `hpoq-key` and a
suffix of the description. A listing is never trusted beyond its rows: each row's marker is checked here. The wire
form of the tag filter is not documented beyond doubt. Its empty answer counts only if every create of this key
carried the marker in the tag and not in the description too, and if the filter is seen to find another key. Otherwise
all experiments made since the key was first claimed are read. That markers are kept is concluded only from a marker
that is seen in the same place.

**Three fences against a second experiment.** They add to each other, and none replaces another:

1. The lease: a create is sent only while its lease, less the clock skew, outlasts its whole read time-out. Both
   clocks are looked at before every write, and a connection whose end is unknown is reset, so that the kernel
   discards what it has not sent.
2. The search: before any further create, the doubt must have ended (one lease plus the consistency margin after
   the last send) and a search must have found nothing. Each later delivery of such a key searches again before it
   creates, because the earlier create may act after every margin.
3. The gateway's memory of nonces: all creates of one key carry the same signature nonce until an answer proves
   that the service did not act. A late copy, from a frozen instance, a proxy or a buffer, and the create of a
   later owner exclude each other. Creates are dated back almost to the end of the gateway's window, so that a
   late copy soon expires.

**Residual risk.** A second experiment can still come about if all fences fail together: the service takes longer
than the lease plus the consistency margin to carry out a create that it never answered, or lists it later than
that, and the gateway has forgotten the nonce by then (15 minutes by inference; not documented, nor whether it
compares the nonces of different access keys). It can also come about if the service never shows the experiment to
the credentials that search for it (another principal's PRIVATE ones), if it drops both markers from some experiments
only, if it states that the experiment is more than a day older than it is, or if somebody deletes the experiment, or
both of its markers, while its message is being retried. A proxy that sends a create again by itself can also cause
one, if the gateway throttles that copy before it looks at the nonce: such an answer proves nothing about the first
one. A rejection or a failure rests on the first two fences alone: it sends nothing that the nonce could collide with.
A clock that is off by more than the skew setting is noticed only if an answer of the store or the service carried a
date within the last minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from fcruntime.dataclass import dataclass
from fcruntime.jsonvalue import JsonObject
from hpoq.clock import Budget
from hpoq.cloud.experiments import Experiment, ExperimentPage, read_through
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.contract.finding import get_string
from hpoq.contract.identity import TAG_KEY, find_marker_keys, format_marker
from hpoq.errors import Ambiguous, Denied, Incomplete, Invalid, NoTimeLeft
from hpoq.idempotency.record import Record

_SHOWN = 3

ZONE_MARGIN = timedelta(days=1)
"""The zone of the listing's filter is not documented; a day to either side covers every one."""
_DATING_MARGIN_SECONDS = 60.0
_ALIKE_SECONDS = 3600
# How often most searches read the first page: as the newest one, and in two passes over the listing.
_READINGS = 3
# A shorter text that another one begins with is treated as a different name, unless it ends with an ellipsis.
_SHORTEST_CUT = 16


@dataclass(frozen=True)
class Sought:
    """The experiment that an earlier attempt may have made.

    `since` is when the key was first claimed, in seconds since the epoch; `name` and `workspace_id` are those of
    the request, empty if unknown. `tagged` and `described` say that every create of the key carried the marker in
    a tag, and in the description. `description_length` is the least length of a description with its marker, and
    `tag_count` the least number of tags with the marker among them.
    """

    key: str
    since: float
    name: str
    workspace_id: str
    tagged: bool
    described: bool
    description_length: int
    tag_count: int

    @classmethod
    def from_claim(cls, claim: Record, experiment: JsonObject, skew: float) -> Sought:
        """Return what is known of the experiment that a create of `claim` may have made from `experiment`.

        `skew` is how far the clocks of two instances may differ: the claim's may have been ahead.
        """
        tags = experiment.get("Tag")
        return cls(
            key=claim.key,
            since=claim.claimed_at - skew,
            name=get_string(experiment, "Name"),
            workspace_id=get_string(experiment, "WorkspaceId"),
            tagged=claim.tagged,
            described=claim.described,
            description_length=len(get_string(experiment, "Description")) + len(format_marker(claim.key)),
            tag_count=len(tags) + 1 if isinstance(tags, list) else 1,
        )

    @property
    def earliest(self) -> datetime:
        """The moment before which it was not created, whichever zone the service writes times in."""
        return datetime.fromtimestamp(self.since, timezone.utc) - ZONE_MARGIN

    def pick_from(self, rows: Iterable[Experiment]) -> Experiment | None:
        """Return the experiment that carries the key; of several the oldest, so that every search picks the same.

        An experiment from before the claim carries the key from an earlier time: a key is free again after its
        retention.
        """
        marked = [
            row
            for row in rows
            if self.key in find_marker_keys(row.tags, row.description) and not self._is_older(row)
        ]
        last = datetime.max.replace(tzinfo=timezone.utc)
        return min(marked, key=lambda row: (row.created_at or last, row.experiment_id), default=None)

    def could_be(self, row: Experiment) -> bool:
        """Return whether `row` could be the experiment of the key if the service had dropped its marker."""
        return (
            not find_marker_keys(row.tags, row.description)
            and not self._is_older(row)
            and not (self.tagged and self.described and self._is_dated_before(row))
            and _may_be_same(self.name, row.name)
            and _may_be_same(self.workspace_id, row.workspace_id)
        )

    def _is_dated_before(self, row: Experiment) -> bool:
        """Return whether `row` is older by the time it states, read as UTC.

        To be wrong about one of ours, the service would have to drop both markers and to write local time.
        """
        return row.created_at is not None and row.created_at.timestamp() < self.since - _DATING_MARGIN_SECONDS

    def _is_older(self, row: Experiment) -> bool:
        return row.created_at is not None and row.created_at < self.earliest


def find(
    client: PaiAutoMl, sought: Sought, *, thorough: bool, page_size: int, budget: Budget, now: float
) -> Experiment | None:
    """Return the experiment that carries the key, or None if the service lists none.

    Unless `thorough`, the search looks only where it would be found at once, and None says nothing. A thorough
    None proves nothing while the key is in doubt. The listings end before `budget` does. `now` is the time in seconds
    since the epoch. Raises CallError if a listing fails, Incomplete if it cannot be relied on, Ambiguous if the
    marker cannot.
    """
    # A cache between function and service may answer with an earlier listing. So no two searches, and no two passes
    # of one, send equal requests.
    earliest = sought.earliest - timedelta(seconds=int(now) % _ALIKE_SECONDS * _READINGS)
    # Without a workspace a service may list the default one only, so the request's own is searched as well.
    workspaces = [None, sought.workspace_id] if sought.workspace_id else [None]
    for workspace in workspaces:
        search = _Search(client, sought, page_size, budget, workspace, earliest)
        filtered = search.list_by_tag(sought.key)
        found = sought.pick_from(filtered or ()) or sought.pick_from(search.list_newest())
        # An empty filtered list proves absence only if the tag is the one marker. If a description may carry the
        # marker too, the tag may have been dropped, or not be indexed yet.
        by_tag_alone = filtered == () and sought.tagged and not sought.described
        is_enough = by_tag_alone and search.filter_works() if thorough else True
        if found is None and not is_enough:
            found = search.read_all()
        if found is not None:
            return found
    return None


@dataclass
class _Search:
    client: PaiAutoMl
    sought: Sought
    page_size: int
    budget: Budget
    workspace_id: str | None
    earliest: datetime
    _newest: tuple[Experiment, ...] = ()

    def list_by_tag(self, key: str) -> tuple[Experiment, ...] | None:
        """Return what the service lists for `key`, or None if it does not take the filter or answers unreliably."""
        try:
            page = self.client.list_hpo_experiments(
                tags=[(TAG_KEY, key)],
                workspace_id=self.workspace_id,
                min_create_time=self.earliest,
                page_number=1,
                page_size=self.page_size,
                budget=self.budget,
            )
        except (Invalid, Denied, Incomplete):
            # If the service refuses every listing, the next one raises the error.
            return None
        # An empty list with a positive count proves nothing.
        return None if page.total_count and not page.experiments else page.experiments

    def list_newest(self) -> tuple[Experiment, ...]:
        """Return the first page of everything that was made since the claim."""
        self._newest = self._page(1).experiments
        return self._newest

    def filter_works(self) -> bool:
        """Return whether the tag filter, empty for our key, finds another key that exists, and nothing else.

        Then its empty answer is as good as reading everything.
        """
        keys = (key for row in self._newest for key in find_marker_keys(row.tags, None))
        other = next(keys, None)
        rows = self.list_by_tag(other) if other is not None else None
        if not rows:
            return False
        return all(other in find_marker_keys(row.tags, None) for row in rows)

    def read_all(self) -> Experiment | None:
        """Read everything made since the claim.

        Raises Ambiguous if the marker may have been dropped, Incomplete if there is no time to read so much.
        """
        tags_stay = descriptions_stay = False
        unmarked = set[str]()
        for rows in read_through(self._page_in_time, self.page_size):
            found = self.sought.pick_from(rows)
            if found is not None:
                return found
            tags_stay = tags_stay or any(self._shows_marker_tag(row) for row in rows)
            descriptions_stay = descriptions_stay or any(self._shows_marker(row) for row in rows)
            unmarked |= {row.experiment_id for row in rows if self.sought.could_be(row)}
        markers_stay = (self.sought.tagged and tags_stay) or (self.sought.described and descriptions_stay)
        if unmarked and not markers_stay:
            raise _make_ambiguous(sorted(unmarked))
        return None

    def _shows_marker_tag(self, row: Experiment) -> bool:
        """Return whether a marker in the last of as many tags as ours was kept in `row`."""
        return bool(find_marker_keys(row.tags, None)) and len(row.tags) >= self.sought.tag_count

    def _shows_marker(self, row: Experiment) -> bool:
        """Return whether a marker at the end of a description as long as ours was kept in `row`."""
        description = row.description or ""
        return bool(find_marker_keys((), description)) and len(description) >= self.sought.description_length

    def _page_in_time(self, number: int) -> ExperimentPage:
        try:
            return self._page(number)
        except NoTimeLeft as exc:
            message = (
                "the listing is too long to be read within a claim; raise HPOQ_LIST_PAGE_SIZE or "
                "HPOQ_LEASE_SECONDS"
            )
            raise Incomplete(message, service=exc.service, operation=exc.operation) from exc

    def _page(self, number: int) -> ExperimentPage:
        if number == 1:
            self.earliest -= timedelta(seconds=1)
        return self.client.list_hpo_experiments(
            workspace_id=self.workspace_id,
            min_create_time=self.earliest,
            page_number=number,
            page_size=self.page_size,
            budget=self.budget,
        )


def _may_be_same(ours: str, theirs: str | None) -> bool:
    """Return whether two texts may be the same, although a service may have changed one in its listing.

    It may have trimmed it, changed its case, written other characters for punctuation, cut it, or left it out.
    """
    if not ours or not theirs:
        return True
    own, shown = (re.sub(r"[\W_]", "", text).casefold() for text in (ours, theirs))
    is_cut = len(shown) >= _SHORTEST_CUT or theirs.rstrip().endswith(("...", "\u2026"))
    return own == shown or (is_cut and own.startswith(shown))


def _make_ambiguous(experiment_ids: list[str]) -> Ambiguous:
    message = (
        f"no experiment in the listing shows that markers are kept, so one of {len(experiment_ids)} may be this "
        f"request's: {', '.join(experiment_ids[:_SHOWN])}"
    )
    return Ambiguous(message, service="paiautoml", operation="ListHpoExperiments")
