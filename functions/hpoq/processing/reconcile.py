"""Finding the experiment that an earlier attempt may have made.

The service offers no idempotency token, so every create carries its key as a marker: the tag `hpoq-key`, or a
suffix of the description. A listing is never believed further than its rows: each row's marker is checked here,
and an empty answer to the tag filter, whose wire form is not documented beyond doubt, is confirmed by paging
through all experiments made since the key was first claimed.

**Residual risk.** A second experiment can still come about in three ways: the service takes longer than the
lease plus the consistency margin to carry out a create that it never answered; it lists a new experiment later
than that margin, or never shows it to the credentials that look for it (another principal's PRIVATE ones); or
the instance is frozen, or its clock off by more than the skew setting, in the instant between its last look at
the lease and the sending of the request. The first two are bounded by settings, the third is a window of
microseconds that only a token checked by the service could close.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone

from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.cloud.paiautoml import PaiAutoMl
from hpoq.errors import Denied, Invalid, UnknownEnd

TAG_KEY = "hpoq-key"

_IN_DESCRIPTION = re.compile(rf"\[{TAG_KEY}: ([0-9a-f-]{{36}})\]")

# The zone of the filter is not documented; a day to either side covers every one.
_ZONE_MARGIN = timedelta(days=1)


def description_marker(key: str) -> str:
    """The marker as it stands in a description."""
    return f"[{TAG_KEY}: {key}]"


def marked_with(tags: Iterable[tuple[str, str]], description: str | None) -> set[str]:
    """The keys whose markers an experiment with these tags and this description carries, wherever they stand."""
    in_tags = {value for name, value in tags if name == TAG_KEY}
    return in_tags | set(_IN_DESCRIPTION.findall(description or ""))


def bears(experiment: Experiment, key: str) -> bool:
    """Whether `experiment` carries the marker of `key`."""
    return key in marked_with(experiment.tags, experiment.description)


def find(
    client: PaiAutoMl, key: str, *, since: float, page_size: int, give_up_at: float
) -> Experiment | None:
    """The experiment that bears `key`, if the service lists one.

    `since` is when the key was first claimed (seconds since the epoch), `give_up_at` a time of the monotonic
    clock. Raises CallError where a listing fails. None is no proof while the key is in doubt.
    """
    return _by_tag(client, key, page_size, give_up_at) or _by_time(client, key, since, page_size, give_up_at)


def _by_tag(client: PaiAutoMl, key: str, page_size: int, give_up_at: float) -> Experiment | None:
    try:
        page = client.list_hpo_experiments(
            tags=[(TAG_KEY, key)], page_number=1, page_size=page_size, give_up_at=give_up_at
        )
    except (Invalid, Denied):
        # A service that does not take the filter; if it takes no listing at all, the next one says so.
        return None
    return _pick(page.experiments, key)


def _by_time(
    client: PaiAutoMl, key: str, since: float, page_size: int, give_up_at: float
) -> Experiment | None:
    """Look through everything made since; once more if rows that were counted were not seen.

    A row that is deleted meanwhile moves others to pages already read. Raises UnknownEnd if rows stay missing:
    what was not read is not absent.
    """
    earliest = (datetime.fromtimestamp(since, timezone.utc) - _ZONE_MARGIN).strftime("%Y-%m-%d %H:%M:%S")
    for _ in range(2):
        counts: list[int] = []
        seen: set[str] = set()
        for page in _pages(client, earliest, page_size, give_up_at):
            found = _pick(page.experiments, key)
            if found is not None:
                return found
            counts += [] if page.total_count is None else [page.total_count]
            seen |= {row.experiment_id for row in page.experiments}
        if len(seen) >= max(counts, default=0):
            return None
    raise UnknownEnd("rows are missing from the listing", service="paiautoml", operation="ListHpoExperiments")


def _pages(client: PaiAutoMl, earliest: str, page_size: int, give_up_at: float) -> Iterator[ExperimentPage]:
    """Page after page, up to one without a row not seen before.

    Rows move between pages while others are created, and what TotalCount counts is not documented, so neither
    a short page nor the count is taken for the end.
    """
    seen: set[str] = set()
    number = 1
    while True:
        page = client.list_hpo_experiments(
            min_create_time=earliest, page_number=number, page_size=page_size, give_up_at=give_up_at
        )
        yield page
        fresh = {row.experiment_id for row in page.experiments} - seen
        if not fresh:
            return
        seen |= fresh
        number += 1


def _pick(experiments: tuple[Experiment, ...], key: str) -> Experiment | None:
    """The bearer of `key`; should there be several, the oldest, so that every look picks the same one."""
    bearers = [experiment for experiment in experiments if bears(experiment, key)]
    oldest = datetime.max.replace(tzinfo=timezone.utc)
    return min(bearers, key=lambda e: (e.created_at or oldest, e.experiment_id), default=None)
