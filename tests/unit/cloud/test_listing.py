import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoq.cloud.experiments import Experiment, ExperimentPage, read_through
from hpoq.errors import Incomplete, Invalid, NotFound, UnknownEnd
from support.budget import examples


def row(number):
    return Experiment(f"s{number:06}", None, None, None, None, (), None, deleted=False)


class Service:
    """Lists its rows, newest last, and lets `change` act on them after each page that it hands out."""

    def __init__(self, rows, *, size=3, change=None, total="all", beyond="empty", refusal=Invalid):
        self.rows = [row(number) for number in rows]
        self.size = size
        self.change = change or (lambda rows, page: None)
        self.total = total
        self.beyond = beyond
        self.refusal = refusal
        self.pages = 0

    def page(self, number):
        self.pages += 1
        last = max(1, -(-len(self.rows) // self.size))
        if self.beyond == "first":
            number = 1
        elif self.beyond == "last":
            number = min(number, last)
        elif self.beyond == "refused" and number > last:
            raise self.refusal("out of range", service="paiautoml", operation="ListHpoExperiments")
        rows = tuple(self.rows[(number - 1) * self.size : number * self.size])
        total = {"all": len(self.rows), "page": len(rows), "none": None}[self.total]
        self.change(self.rows, self.pages)
        return ExperimentPage(total, rows)


def read(service):
    """Return the ids that a whole reading shows."""
    pages = itertools.chain.from_iterable(read_through(service.page, service.size))
    return {experiment.experiment_id for experiment in pages}


def ids(*numbers):
    return {f"s{number:06}" for number in numbers}


@pytest.mark.parametrize("total", ["all", "page", "none"])
@pytest.mark.parametrize("length", [0, 1, 3, 7, 9])
def test_all_rows(length, total):
    """Whatever TotalCount counts, a listing that stands still is read whole."""
    assert read(Service(range(length), total=total)) == ids(*range(length))


@pytest.mark.parametrize("length", [1, 7])
def test_a_last_page_that_is_repeated(length):
    """A service that answers with its last page for any beyond it comes to an end too."""
    assert read(Service(range(length), beyond="last")) == ids(*range(length))


@pytest.mark.parametrize("length", [0, 1, 3, 7, 9])
@pytest.mark.parametrize("refusal", [Invalid, NotFound])
def test_a_page_behind_the_last_one_that_is_refused(length, refusal):
    """Once all rows that the service counts were shown, its refusal of a further page is the end."""
    assert read(Service(range(length), beyond="refused", refusal=refusal)) == ids(*range(length))


def read_script(*passes, size=2):
    """Return what a reading shows if each pass over the listing has its script of pages, later ones the last script.

    A page is the stated count and the numbers of its rows, or an error to raise.
    """
    begun = []

    def read_page(number):
        if number == 1:
            begun.append(number)
        page = passes[min(len(begun), len(passes)) - 1][number - 1]
        if isinstance(page, Exception):
            raise page
        return ExperimentPage(page[0], tuple(map(row, page[1])))

    pages = itertools.chain.from_iterable(read_through(read_page, size))
    return {experiment.experiment_id for experiment in pages}


MISSES_ONE = [(3, [1, 2]), (3, [])]
COMPLETE = [(2, [1, 2]), (2, [])]
REFUSED = Invalid("out of range", service="paiautoml", operation="ListHpoExperiments")


def test_a_reading_gives_up_after_five_passes():
    """A listing is read if the fourth pass and the fifth agree; later ones are not waited for."""
    assert read_script(*[MISSES_ONE] * 3, COMPLETE) == ids(1, 2)
    with pytest.raises(Incomplete) as caught:
        read_script(*[MISSES_ONE] * 4, COMPLETE)
    assert (caught.value.service, caught.value.operation) == ("paiautoml", "ListHpoExperiments")


def test_two_passes_that_follow_one_another_must_be_complete():
    """A complete pass proves nothing beside one that was not, before it or after it."""
    with pytest.raises(Incomplete):
        read_script(MISSES_ONE, COMPLETE, MISSES_ONE, COMPLETE, MISSES_ONE)
    with pytest.raises(Incomplete):
        read_script(COMPLETE, *[[(2, [3, 4]), (2, [])], COMPLETE] * 2)


@pytest.mark.parametrize(
    ("counts", "is_read"), [((2, 2), True), ((2, 3), True), ((3, 2), False), ((2, 3, 2), False)]
)
def test_the_count_that_a_pass_must_reach(counts, is_read):
    """If the count only grows, rows are being created, and the first count suffices; otherwise the largest counts."""
    script = [
        (counts[0], [1]),
        *((count, [2]) for count in counts[1:-1]),
        (counts[-1], [2]),
        (counts[-1], []),
    ]
    if is_read:
        assert read_script(script) == ids(1, 2)
    else:
        with pytest.raises(Incomplete):
            read_script(script)


def test_a_refusal_after_a_page_without_a_count():
    """It is enough if one page has stated how many rows there are."""
    assert read_script([(4, [1, 2]), (None, [3, 4]), REFUSED]) == ids(1, 2, 3, 4)


def test_a_refusal_before_all_counted_rows_were_shown():
    """A service that refuses a page although rows are missing has not shown its end."""
    with pytest.raises(Invalid):
        read_script([(5, [1, 2]), (5, [3, 4]), REFUSED])
    with pytest.raises(Invalid):
        read_script([REFUSED])


def test_a_repeated_last_page_is_read_three_times_more():
    """As many rows may have been created since the page before as a page has, so one known page is not the end."""
    service = Service(range(7), beyond="last")
    read(service)
    assert service.pages == 2 * (3 + 3)


def test_new_rows_behind_known_ones_go_on():
    """Known pages that do not follow one another do not end a pass."""
    pages = [[1, 2], [1, 2], [1, 2], [3, 4], [1, 2], [3, 4], [5], [5], [5], [5]]
    assert read_script([(5, page) for page in pages]) == ids(1, 2, 3, 4, 5)


@pytest.mark.parametrize("total", ["page", "none"])
def test_a_refused_page_without_a_count_of_all_rows(total):
    """Without such a count a refusal, such as that of too large a number, says nothing."""
    with pytest.raises(Invalid):
        read(Service(range(7), beyond="refused", total=total))


@pytest.mark.parametrize("total", ["all", "page", "none"])
def test_page_numbers_that_are_ignored(total):
    """A service that repeats the first page has not shown the others, so the listing is incomplete."""
    with pytest.raises(UnknownEnd):
        read(Service(range(7), beyond="first", total=total))


def test_a_short_page_that_is_repeated_without_a_count():
    """Only a count distinguishes a repeated last page from page numbers that are ignored."""
    with pytest.raises(UnknownEnd):
        read(Service(range(2), beyond="first", total="none"))


def test_a_page_of_new_rows_between_two_pages():
    """If a whole page of rows is created between two reads, a page repeats, and the reading goes on after it."""

    def insert(rows, page):
        if page == 1:
            rows[:0] = [row(number) for number in (90, 91, 92)]

    assert ids(*range(7)) <= read(Service(range(7), change=insert))


def test_counted_rows_that_are_never_shown():
    """A count that is larger than the number of rows means that some are missing."""
    service = Service(range(2))
    shown = service.page
    with pytest.raises(UnknownEnd):
        list(read_through(lambda number: ExperimentPage(3, shown(number).experiments), 3))


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("total", ["all", "page", "none"])
def test_rows_that_are_created_all_the_time(total, newest_first):
    """An account in which an experiment is created between any two pages can be read nevertheless."""

    def insert(rows, page):
        if page < 200:
            rows.insert(0 if newest_first else len(rows), row(1000 + page))

    assert ids(*range(20)) <= read(Service(range(20), size=5, change=insert, total=total))


def test_one_gone_and_one_new_leave_the_count_as_it_was():
    """A deletion moves a row to a page already read; a creation hides it from the count, not from the reading."""

    def swap(rows, page):
        if page == 1:
            rows.pop(0)
            rows.append(row(90))

    assert ids(3) <= read(Service(range(6), change=swap))


def test_a_listing_that_never_stands_still():
    """If each pass misses rows of the last, nothing can be concluded."""

    def churn(rows, page):
        rows.pop(0)
        rows.append(row(1000 + page))

    with pytest.raises(UnknownEnd):
        read(Service(range(6), change=churn))


@settings(max_examples=examples(100), deadline=None)
@given(
    length=st.integers(0, 9),
    size=st.integers(1, 4),
    changes=st.lists(st.tuples(st.sampled_from(["gone", "new"]), st.integers(0, 9)), max_size=12),
    total=st.sampled_from(["all", "page", "none"]),
    newest_first=st.booleans(),
)
def test_what_stays_is_seen(length, size, changes, total, newest_first):
    """However rows come and go, a row that is there all the time is seen, or the reading fails."""
    stays = row(500)
    pending = list(changes)
    fresh = itertools.count(600)

    def change(rows, _page):
        if pending:
            kind, at = pending.pop(0)
            if kind == "new":
                rows.insert(0 if newest_first else len(rows), row(next(fresh)))
            elif at < len(rows) and rows[at] is not stays:
                rows.pop(at)

    service = Service(range(length), size=size, change=change, total=total)
    service.rows.insert(length // 2, stays)
    try:
        seen = read(service)
    except UnknownEnd:
        return
    assert stays.experiment_id in seen
