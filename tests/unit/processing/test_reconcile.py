from datetime import datetime, timezone

import pytest

from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.contract.marker import description_marker
from hpoq.errors import Ambiguous, Invalid, UnknownEnd
from hpoq.processing.reconcile import Sought, find

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"
SINCE = 1_800_000_000.0
DAY = 86_400


def row(number, *, key=None, description=None, tags=(("team", "x"),), name="n", created=None):
    tags = (*tags, ("hpoq-key", key)) if key else tags
    at = None if created is None else datetime.fromtimestamp(created, timezone.utc)
    return Experiment(f"s{number:06}", name, description, "1", "1", "RUNNING", tags, at, deleted=False)


class Listing:
    """A service that lists what it is told to, page by page."""

    def __init__(self, rows, *, by_tag=()):
        self.rows = list(rows)
        self.by_tag = by_tag
        self.calls = []

    def list_hpo_experiments(self, *, tags=(), min_create_time=None, page_number, page_size, give_up_at):
        self.calls.append(("tag" if tags else "time", page_number))
        if tags:
            if isinstance(self.by_tag, Exception):
                raise self.by_tag
            rows = self.by_tag(dict(tags)["hpoq-key"]) if callable(self.by_tag) else self.by_tag
            return ExperimentPage(len(rows), tuple(rows), "r")
        start = (page_number - 1) * page_size
        return ExperimentPage(len(self.rows), tuple(self.rows[start : start + page_size]), "r")


def look(listing, name="n", *, thorough=True):
    return find(listing, Sought(KEY, SINCE, name, "1"), thorough=thorough, page_size=3, give_up_at=0.0)


def test_found_by_tag():
    """Where the filter works, one call finds the bearer."""
    listing = Listing([], by_tag=[row(1, key=KEY)])
    assert look(listing).experiment_id == "s000001"
    assert listing.calls == [("tag", 1)]


def test_rows_are_not_believed():
    """A filter that lets others through names nobody else's experiment."""
    assert look(Listing([row(2)], by_tag=[row(1), row(2, key=KEY[:-1] + "0")])) is None


def test_an_empty_filtered_list_is_confirmed_by_paging():
    """The filter's wire form is inferred, so its empty answer is no proof."""
    assert look(Listing([*map(row, range(10)), row(11, key=KEY)])).experiment_id == "s000011"


def test_a_refused_filter_falls_back_to_paging():
    """A service that takes no tag filter is read page by page."""
    refusal = Invalid("no Tag", service="paiautoml", operation="ListHpoExperiments")
    assert look(Listing([row(1, key=KEY)], by_tag=refusal)).experiment_id == "s000001"


def test_a_listing_that_fails_is_no_absence():
    """An error is an error, never an empty list."""
    broken = UnknownEnd("x", service="paiautoml", operation="ListHpoExperiments")
    with pytest.raises(UnknownEnd):
        look(Listing([], by_tag=broken))


def test_the_marker_counts_wherever_it_stands():
    """A change of the marker setting loses no experiment made before it."""
    marked = row(1, description=f"mine {description_marker(KEY)}", tags=())
    assert look(Listing([marked])).experiment_id == "s000001"


def test_of_several_bearers_the_oldest():
    """Every look picks the same one."""
    rows = [row(2, key=KEY, created=SINCE + 9), row(1, key=KEY, created=SINCE + 5), row(3, key=KEY)]
    assert look(Listing([], by_tag=rows)).experiment_id == "s000001"


def test_a_bearer_of_another_life():
    """A key that was free again and is used anew does not adopt the experiment of its first life."""
    old = row(1, key=KEY, created=SINCE - 30 * DAY)
    assert look(Listing([], by_tag=[old])) is None
    assert look(Listing([], by_tag=[row(1, key=KEY, created=SINCE - DAY / 2)])) is not None


def test_a_service_that_drops_tags():
    """Where nothing bears any tag, an experiment of the same name may be the one: nobody can tell."""
    with pytest.raises(Ambiguous, match=r"s000001.*HPOQ_MARKER=description"):
        look(Listing([row(1, tags=()), row(2, tags=(), name="another")]))


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, tags=(), name="another")],
        [row(1, tags=(), created=SINCE - 2 * DAY)],
        [row(1, tags=()), row(2, name="another", key=KEY[:-1] + "0")],
        [row(1, tags=()), row(2, tags=(), description=description_marker(KEY[:-1] + "0"))],
    ],
)
def test_what_cannot_be_the_one(rows):
    """Another name, an older one, or a service seen to keep markers: then absence is absence."""
    assert look(Listing(rows)) is None


def test_a_request_without_a_name_may_be_any():
    """What the request does not say tells nothing apart."""
    with pytest.raises(Ambiguous):
        look(Listing([row(1, tags=(), name="whatever the service made of it")]), name=None)


OTHER = KEY[:-1] + "0"


def filtering(*rows):
    """A tag filter that works."""
    return lambda key: [row for row in rows if ("hpoq-key", key) in row.tags]


def test_a_filter_that_is_seen_to_work_is_believed():
    """If it finds another key that exists, its empty answer for ours is enough, however long the listing."""
    rows = [*map(row, range(1, 100)), row(100, key=OTHER)][::-1]
    listing = Listing(rows, by_tag=filtering(*rows))
    assert look(listing) is None
    assert listing.calls == [("tag", 1), ("time", 1), ("tag", 1)]


@pytest.mark.parametrize(
    "by_tag", [lambda _: [], lambda key: [row(1), row(2, key=OTHER)] if key == OTHER else []]
)
def test_a_filter_that_does_not_find_the_other_is_not(by_tag):
    """A filter that finds nothing at all, or more than it should, proves nothing: everything is read."""
    rows = [row(2, key=OTHER), *map(row, range(3, 9)), row(9, key=KEY)]
    assert look(Listing(rows, by_tag=by_tag)).experiment_id == "s000009"


def test_a_glance():
    """A look that cannot conclude anything asks only where the experiment would be found at once."""
    listing = Listing([*map(row, range(9)), row(9, key=KEY)])
    assert look(listing, thorough=False) is None
    assert listing.calls == [("tag", 1), ("time", 1)]
    refusal = Invalid("no Tag", service="paiautoml", operation="ListHpoExperiments")
    assert look(Listing([row(1, key=KEY)], by_tag=refusal), thorough=False).experiment_id == "s000001"
