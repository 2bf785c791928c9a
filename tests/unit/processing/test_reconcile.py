import pytest

from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.errors import Invalid, UnknownEnd
from hpoq.processing.reconcile import bears, description_marker, find

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"


def row(number, *, key=None, description=None):
    tags = (("team", "x"), ("hpoq-key", key)) if key else ()
    return Experiment(f"s{number:06}", "n", description, "1", "1", "RUNNING", tags, None, deleted=False)


class Listing:
    """A service that lists what it is told to, page by page."""

    def __init__(self, rows, *, by_tag=(), deleted_after_page=None, count_pages=False):
        self.rows = list(rows)
        self.by_tag = by_tag
        self.deleted_after_page = deleted_after_page
        self.count_pages = count_pages
        self.calls = []

    def list_hpo_experiments(self, *, tags=(), min_create_time=None, page_number, page_size, give_up_at):
        self.calls.append(("tag" if tags else "time", page_number))
        if tags:
            if isinstance(self.by_tag, Exception):
                raise self.by_tag
            return ExperimentPage(len(self.by_tag), tuple(self.by_tag), "r")
        start = (page_number - 1) * page_size
        page = tuple(self.rows[start : start + page_size])
        total = len(page) if self.count_pages else len(self.rows)
        if page_number == self.deleted_after_page:
            self.rows.pop(0)
            self.deleted_after_page = None
        return ExperimentPage(total, page, "r")


def look(listing, page_size=3):
    return find(listing, KEY, since=1.8e9, page_size=page_size, give_up_at=0.0)


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


@pytest.mark.parametrize("count_pages", [True, False])
def test_all_pages_are_read(count_pages):
    """Whatever TotalCount counts, paging ends at a page without anything new."""
    listing = Listing(map(row, range(9)), count_pages=count_pages)
    assert look(listing) is None
    once = [("time", 1), ("time", 2), ("time", 3), ("time", 4)]
    assert listing.calls[1:] in (once, once * 2)


def test_a_row_that_moves_to_a_page_already_read():
    """A deletion while the pages are read moves the bearer forward; a second reading finds it."""
    rows = [*map(row, range(3)), row(3, key=KEY), *map(row, range(4, 6))]
    assert look(Listing(rows, deleted_after_page=1)).experiment_id == "s000003"


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
    assert bears(row(1, key=KEY), KEY)
    assert bears(row(1, description=f"mine {description_marker(KEY)}"), KEY)
    assert not bears(row(1, description="mine"), KEY)
