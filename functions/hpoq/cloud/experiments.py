"""Experiments as PAI AutoML reports them: one, a page, or a complete listing.

A member is read leniently where the documentation contradicts itself, and strictly where a wrong reading could make
an experiment look absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import count

from fcruntime.dataclass import dataclass, field
from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.cloud.answers import Answer, find_member, text_member
from hpoq.errors import Incomplete, Invalid, NotFound

# The version of the service's API is of 2022.
_FIRST_YEAR = 2000
# The documentation shows ids of seven characters. An event must have room for one.
_LONGEST_ID = 255
# What programs write for a value that is missing.
_NO_IDS = frozenset({"0", "-1", "null", "none", "nil", "undefined", "nan"})


@dataclass(frozen=True)
class CreatedExperiment:
    """The result of a create.

    `remark` is an error code with its message that the service returned together with an id, else None. The
    experiment exists all the same.
    """

    experiment_id: str
    remark: str | None = None


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    `created_at` and `modified_at` are None if the time has an unknown form. A time without a zone is read as UTC; the
    documentation does not name the zone. `trials` is the number of trials by status, None if it is not stated.
    `configuration` is HpoExperimentConfiguration, which only Get states; its secrets may be masked.
    """

    experiment_id: str
    name: str | None
    description: str | None
    workspace_id: str | None
    status: str | None
    tags: tuple[tuple[str, str], ...]
    created_at: datetime | None
    deleted: bool
    modified_at: datetime | None = None
    trials: tuple[tuple[str, int], ...] | None = None
    configuration: JsonObject = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ExperimentPage:
    """One page of a listing. It is not documented whether `total_count` counts all matches or this page."""

    total_count: int | None
    experiments: tuple[Experiment, ...]


class Unreadable(ValueError):
    """An answer has an unknown form, so that nothing may be concluded from what it does not show."""


def read_page(answer: Answer) -> ExperimentPage:
    """Read a listing. Raises Unreadable unless each row is an experiment with an id."""
    count = read_total_count(answer)
    rows = find_member(answer.document, "Experiments")
    # Some serializers leave an empty list out, also that of a page behind the last one. Code that reads the whole
    # listing compares the count with the rows.
    if rows is None and count is not None:
        rows = []
    if not isinstance(rows, list):
        raise Unreadable("the list of experiments is missing")
    return ExperimentPage(count, tuple(read_experiment(row) for row in rows))


def read_total_count(answer: Answer) -> int | None:
    """Return the TotalCount of a listing, or None if it has none that is a number."""
    text = text_member(answer.document, "TotalCount")
    return int(text) if text is not None and text.isdecimal() else None


def read_experiment(row: JsonValue) -> Experiment:
    """Read one experiment. Raises Unreadable if it has no id, or if its tags have an undocumented form."""
    if not isinstance(row, dict):
        raise Unreadable("an experiment is not an object")
    experiment_id = read_experiment_id(row)
    if experiment_id is None:
        raise Unreadable("an experiment without an id")
    configuration = find_member(row, "HpoExperimentConfiguration")
    return Experiment(
        experiment_id=experiment_id,
        name=text_member(row, "Name"),
        description=text_member(row, "Description"),
        workspace_id=text_member(row, "WorkspaceId"),
        status=read_status(row),
        tags=_read_tags(find_member(row, "Tags")),
        created_at=read_time(text_member(row, "GmtCreateTime")),
        deleted=str(find_member(row, "Deleted")).lower() in ("1", "true"),
        modified_at=read_time(text_member(row, "GmtModifiedTime")),
        trials=_read_counts(find_member(row, "TrialStatus")),
        configuration=configuration if isinstance(configuration, dict) else {},
    )


def is_experiment_id(text: str) -> bool:
    """Return whether `text` can be the id of an experiment in a path, where dots alone name another path."""
    return text not in ("", ".", "..")


def names_another(members: JsonObject, name: str, experiment_id: str) -> bool:
    """Return whether the member `name` is the id of an experiment other than `experiment_id`.

    A missing one says nothing, and a service may change the case of an id.
    """
    found = text_member(members, name) or experiment_id
    return found.casefold() != experiment_id.casefold()


def read_experiment_id(members: JsonObject) -> str | None:
    """Return the id of the experiment that `members` describe, or None if they have none that can be one.

    A serializer writes 0 or `null` for an id that was not set. Taken for an id, the request would end as created
    without an experiment, and one that is too long for an event could never be announced.
    """
    text = text_member(members, "ExperimentId") or ""
    is_name = text.isprintable() and text == text.strip() and any(map(str.isalnum, text))
    return text if is_name and len(text) <= _LONGEST_ID and text.lower() not in _NO_IDS else None


def _read_tags(value: JsonValue) -> tuple[tuple[str, str], ...]:
    """Read tags. Missing tags mean none; tags in an undocumented form must not be mistaken for none.

    An object with a member per tag, and the names `TagKey` and `TagValue`, are what other services of the vendor use.
    """
    if value is None:
        return ()
    if isinstance(value, dict):
        return tuple((name, text_member({"Value": member}, "Value") or "") for name, member in value.items())
    if not isinstance(value, list):
        raise Unreadable("the tags of an experiment are not a list")
    pairs: list[tuple[str, str]] = []
    for tag in value:
        if not isinstance(tag, dict):
            raise Unreadable("a tag of an experiment is not an object")
        key, text = text_member(tag, "Key"), text_member(tag, "Value")
        key = text_member(tag, "TagKey") if key is None else key
        text = text_member(tag, "TagValue") if text is None else text
        # The documentation does not require a key, but one under another name must not be ignored.
        if key is None and tag.keys() - {"Key", "Value", "key", "value"}:
            raise Unreadable("a tag of an experiment has an unknown form")
        pairs += [] if key is None else [(key, text or "")]
    return tuple(pairs)


def _read_counts(value: JsonValue) -> tuple[tuple[str, int], ...] | None:
    """Read the number of trials by status, which is documented as a map of texts."""
    if not isinstance(value, dict):
        return None
    counts = [(status.upper(), str(count)) for status, count in value.items()]
    return tuple((status, int(count)) for status, count in counts if count.isdecimal())


def read_status(members: JsonObject) -> str | None:
    """Return the status of an experiment or a trial in capitals, as all are documented, or None if it has none."""
    status = text_member(members, "Status")
    return None if status is None else status.strip().upper()


def read_time(text: str | None) -> datetime | None:
    """Return the moment in `text`, or None if it has an unknown form or is a placeholder, such as the year 1 of Go.

    A placeholder must not make a new experiment look older than the claim that it belongs to.
    """
    if not text:
        return None
    # `fromisoformat` accepts `Z` and fractions of any length only since Python 3.11.
    seconds = re.sub(r"\.\d+", "", text.strip()).replace("T", " ")
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%z"):
        try:
            moment = datetime.strptime(seconds, form)  # noqa: DTZ007 - the zone is filled in below
        except ValueError:
            continue
        if moment.year < _FIRST_YEAR:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return None


_MAX_PASSES = 5

# One page of known rows is not the end: as many rows may have been created since the page before.
_MAX_STALE_PAGES = 3


def read_through(
    read_page: Callable[[int], ExperimentPage], page_size: int
) -> Iterator[tuple[Experiment, ...]]:
    """Yield the rows of every page, `read_page(1)` first, in at least two passes over the listing.

    Only an iteration that ends has shown every row that was there when it began; it raises Incomplete if one may be
    missing. Errors of `read_page` are not caught, except those of a service that refuses a page behind the last one.

    Neither what TotalCount counts, nor how a page beyond the last one is answered, nor the order of rows is
    documented, and rows move between pages while experiments are created and deleted. So the listing is read
    until a pass is complete by every sign there is and still shows each row of the pass before. A row can be
    skipped only if another one was deleted from a page already read, and that one is missing in the next pass.
    Rows that are created during a pass need not be in it: an account in which experiments are created all the time
    could never be read otherwise. So while the stated count only grows, a pass must reach that of its first page.
    """
    previous: set[str] | None = None
    for _ in range(_MAX_PASSES):
        current = _Pass(page_size)
        for number in count(1):
            try:
                page = read_page(number)
            except (Invalid, NotFound):
                if not current.has_shown_all:
                    raise
                break
            yield page.experiments
            if current.ends_with(page):
                break
        if current.is_complete and previous is not None and previous <= current.seen:
            return
        previous = current.seen if current.is_complete else None
    raise _make_incomplete("rows are missing from the listing")


@dataclass
class _Pass:
    """One pass over a listing: the ids that it has shown, and the counts that its pages stated."""

    page_size: int
    seen: set[str] = field(default_factory=set)
    counts: list[int] = field(default_factory=list)
    stale: int = 0

    @property
    def is_complete(self) -> bool:
        is_growing = self.counts == sorted(self.counts)
        return len(self.seen) >= (self.counts[0] if is_growing else max(self.counts))

    @property
    def has_shown_all(self) -> bool:
        """Whether exactly as many rows as the service counts were shown, so that it may refuse the next page.

        If there are more, it counts those of each page, and its refusal says nothing.
        """
        return any(self.counts) and self.is_complete and max(self.counts) >= len(self.seen)

    def ends_with(self, page: ExperimentPage) -> bool:
        """Return whether `page` is the last one. Raises Incomplete if that cannot be decided.

        A service may repeat its last page for every number beyond it, or ignore the page number. Only a short
        page together with a stated count distinguishes the two.
        """
        rows = {row.experiment_id for row in page.experiments}
        self.counts.append(page.total_count or 0)
        self.stale = 0 if rows - self.seen else self.stale + 1
        self.seen |= rows
        if not rows:
            return True
        if self.stale < _MAX_STALE_PAGES:
            return False
        if page.total_count is None or len(page.experiments) >= self.page_size:
            raise _make_incomplete("the listing repeats a page")
        return True


def _make_incomplete(why: str) -> Incomplete:
    return Incomplete(why, service="paiautoml", operation="ListHpoExperiments")
