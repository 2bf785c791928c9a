from datetime import datetime, timedelta, timezone

import pytest

from hpoq.cloud.experiments import Experiment, ExperimentPage
from hpoq.contract.identity import format_marker
from hpoq.errors import Ambiguous, Denied, Incomplete, Invalid, NoTimeLeft, UnknownEnd
from hpoq.processing.reconcile import Sought, find

KEY = "9619c93e-fafb-5042-80f4-bfc8c78519f2"
SINCE = 1_800_000_000.0
DAY = 86_400


def row(
    number, *, key=None, description=None, tags=(("team", "x"),), name="n", created=None, workspace_id="1"
):
    tags = (*tags, ("hpoq-key", key)) if key else tags
    at = None if created is None else datetime.fromtimestamp(created, timezone.utc)
    return Experiment(f"s{number:06}", name, description, workspace_id, "RUNNING", tags, at, deleted=False)


class Listing:
    """A service that lists `rows` page by page, and `by_tag` for the tag filter."""

    def __init__(self, rows, *, by_tag=(), excess=0):
        self.rows = list(rows)
        self.excess = excess
        self.by_tag = by_tag
        self.calls = []
        self.workspaces = []
        self.since, self.since_by_tag = set(), set()

    def list_hpo_experiments(
        self, *, tags=(), workspace_id=None, min_create_time=None, page_number, page_size, budget
    ):
        self.calls.append(("tag" if tags else "time", page_number))
        self.workspaces.append(workspace_id)
        (self.since_by_tag if tags else self.since).add(min_create_time)
        if tags:
            if isinstance(self.by_tag, Exception):
                raise self.by_tag
            rows = self.by_tag(dict(tags)["hpoq-key"]) if callable(self.by_tag) else self.by_tag
            return ExperimentPage(len(rows), tuple(rows))
        if isinstance(self.rows, Exception):
            raise self.rows
        start = (page_number - 1) * page_size
        return ExperimentPage(len(self.rows) + self.excess, tuple(self.rows[start : start + page_size]))


OTHER = KEY[:-1] + "0"
REFUSAL = Invalid("no Tag", service="paiautoml", operation="ListHpoExperiments")


def look(
    listing,
    name="n",
    *,
    thorough=True,
    tagged=True,
    described=True,
    workspace_id=None,
    length=0,
    tag_count=0,
    now=0.0,
):
    sought = Sought(KEY, SINCE, name, workspace_id, tagged, described, length, tag_count)
    return find(listing, sought, thorough=thorough, page_size=3, budget=None, now=now)


def filtering(*rows):
    """A tag filter that works."""
    return lambda key: [row for row in rows if ("hpoq-key", key) in row.tags]


def test_the_tag_filter_finds_the_marked_experiment():
    """If the filter works, one call finds the experiment."""
    listing = Listing([], by_tag=[row(1, key=KEY)])
    assert look(listing).experiment_id == "s000001"
    assert listing.calls == [("tag", 1)]


def test_a_row_counts_only_by_its_own_marker():
    """A filter that lets others through does not make an experiment of another key ours."""
    others = row(2, key=OTHER)
    assert look(Listing([row(1), others], by_tag=[row(1), others])) is None


def test_an_empty_filtered_list_is_confirmed_by_paging():
    """The filter's wire form is inferred, so its empty answer is no proof."""
    assert look(Listing([*map(row, range(10)), row(11, key=KEY)])).experiment_id == "s000011"


def test_a_refused_filter_falls_back_to_paging():
    """A service that takes no tag filter is read page by page."""
    assert look(Listing([row(1, key=KEY)], by_tag=REFUSAL)).experiment_id == "s000001"


@pytest.mark.parametrize(
    "refusal",
    [
        REFUSAL,
        *(kind("no", service="paiautoml", operation="ListHpoExperiments") for kind in (Denied, Incomplete)),
    ],
)
def test_a_filter_that_is_refused_for_our_key_alone_is_not_an_empty_answer(refusal):
    """Even if the filter then finds another key, its refusal says nothing about ours: everything is read."""
    rows = [row(8, key=OTHER), *map(row, range(1, 7)), row(9, key=KEY)]

    def by_tag(key):
        if key == KEY:
            raise refusal
        return [rows[0]]

    found = look(Listing(rows, by_tag=by_tag), described=False)
    assert found is not None
    assert found.experiment_id == "s000009"


@pytest.mark.parametrize("place", ["the filtered list", "the listing"])
def test_a_listing_that_fails_is_not_absence(place):
    """An error is an error, never an empty list."""
    broken = UnknownEnd("x", service="paiautoml", operation="ListHpoExperiments")
    listing = Listing([], by_tag=broken)
    if place == "the listing":
        listing = Listing([])
        listing.rows = broken
    with pytest.raises(UnknownEnd):
        look(listing)


def test_a_listing_that_does_not_add_up_is_incomplete():
    """A listing that counts one row more than it shows is never read to its end, so nothing is absent."""
    listing = Listing([row(1, key=OTHER), row(2)], excess=1)
    with pytest.raises(Incomplete):
        look(listing)


def test_the_marker_counts_wherever_it_stands():
    """An experiment made before the marker setting was changed is still found."""
    marked = row(1, description=f"mine {format_marker(KEY)}", tags=())
    assert look(Listing([marked])).experiment_id == "s000001"


def test_the_oldest_of_several_marked_experiments_is_taken():
    """Every search picks the same one."""
    rows = [row(2, key=KEY, created=SINCE + 9), row(1, key=KEY, created=SINCE + 5), row(3, key=KEY)]
    assert look(Listing([], by_tag=rows)).experiment_id == "s000001"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_that_are_as_old_each_search_takes_the_same(order):
    """Listings may have any order."""
    rows = [row(number, key=KEY, created=SINCE + 5) for number in order]
    assert look(Listing([], by_tag=rows)).experiment_id == "s000001"


def test_a_marked_experiment_from_before_the_first_claim_is_not_taken():
    """A key that was free again and is used anew does not adopt the experiment of its earlier use."""
    old = row(1, key=KEY, created=SINCE - 30 * DAY)
    assert look(Listing([], by_tag=[old])) is None
    assert look(Listing([], by_tag=[row(1, key=KEY, created=SINCE - DAY / 2)])) is not None


# A service that may drop markers.

UNMARKED = row(1, tags=())
MARKED = f"text {format_marker(OTHER)}"


def test_a_service_that_shows_no_marker_is_ambiguous():
    """If no row shows that markers are kept, an experiment of the same name may be ours."""
    with pytest.raises(Ambiguous, match="one of 1 may be this request's: s000001"):
        look(Listing([UNMARKED, row(2, tags=(), name="another")]))


@pytest.mark.parametrize(
    ("tagged", "described", "sign", "settled"),
    [
        (True, True, {"key": OTHER}, True),
        (True, True, {"tags": (("team", "x"),)}, False),
        (True, True, {"tags": (), "description": MARKED}, True),
        (True, True, {"tags": (), "description": "text"}, False),
        (True, False, {"key": OTHER}, True),
        (True, False, {"tags": (("team", "x"),)}, False),
        (True, False, {"tags": (), "description": MARKED}, False),
        (False, True, {"key": OTHER}, False),
        (False, True, {"tags": (), "description": MARKED}, True),
        (False, True, {"tags": (), "description": "text"}, False),
        (False, False, {"description": MARKED}, False),
    ],
)
def test_a_kept_marker_is_trusted_only_where_our_creates_carry_it(tagged, described, sign, settled):
    """A row with a marker in a tag proves that tags are kept, one with it in its description that descriptions are.

    Other tags may have been set later, by another operation. The proof counts only if every create of the key
    carried its marker there.
    """
    listing = Listing([UNMARKED, row(2, name="another", **sign)])
    if settled:
        assert look(listing, tagged=tagged, described=described) is None
    else:
        with pytest.raises(Ambiguous):
            look(listing, tagged=tagged, described=described)


@pytest.mark.parametrize(("excess", "settled"), [(0, True), (1, False)])
def test_a_kept_marker_says_nothing_about_longer_descriptions(excess, settled):
    """A service that cuts descriptions off keeps the marker of a short one and drops that of a long one."""
    listing = Listing([UNMARKED, row(2, tags=(), name="another", description=MARKED)])
    if settled:
        assert look(listing, tagged=False, length=len(MARKED) + excess) is None
    else:
        with pytest.raises(Ambiguous):
            look(listing, tagged=False, length=len(MARKED) + excess)


@pytest.mark.parametrize("name", [" n", "N ", "n"])
def test_a_name_that_the_service_trimmed_may_be_ours(name):
    """Names compare without surrounding white space and case, which a service may change."""
    with pytest.raises(Ambiguous):
        look(Listing([UNMARKED]), name=name)


class Workspaces(Listing):
    """A service whose tag filter works, and which lists `default` unless a listing names the workspace of `named`."""

    def __init__(self, default, named):
        super().__init__([])
        self.default, self.named = default, named

    def list_hpo_experiments(self, *, workspace_id=None, **query):
        self.rows = self.default if workspace_id is None else self.named
        self.by_tag = filtering(*self.rows)
        return super().list_hpo_experiments(workspace_id=workspace_id, **query)


def test_the_workspace_of_the_request_is_searched_too():
    """A service may list the default workspace alone if a listing names none."""
    ours = row(1, key=KEY)
    listing = Workspaces([], [ours])
    assert look(listing, workspace_id="1") == ours
    assert set(listing.workspaces) == {None, "1"}
    assert look(Workspaces([], [ours])) is None


@pytest.mark.parametrize("thorough", [True, False])
def test_a_search_that_is_enough_in_the_default_workspace_says_nothing_about_another(thorough):
    """That the tag filter works there proves only that the experiment is not there."""
    ours = row(1, key=KEY)
    listing = Workspaces([row(2, key=OTHER)], [ours])
    assert look(listing, workspace_id="1", thorough=thorough, described=False) == ours


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, tags=(), name="another")],
        [row(1, tags=(), created=SINCE - 2 * DAY)],
        [row(1, tags=(), created=SINCE - DAY / 2)],
        [UNMARKED, row(2, name="another", key=OTHER)],
        [UNMARKED, row(2, tags=(), description=format_marker(OTHER))],
        [row(1, tags=(), description=format_marker(OTHER))],
    ],
)
def test_what_cannot_be_ours_does_not_disturb(rows):
    """Another name, an older experiment, another key's, or a service seen to keep markers: absence is absence."""
    assert look(Listing(rows)) is None


def test_a_dropped_marker_and_local_time_together_are_not_assumed():
    """The stated time rules a row out only if both markers would have to be missing from it."""
    listing = Listing([row(1, tags=(), created=SINCE - DAY / 2)])
    assert look(listing) is None
    for places in ({"tagged": False}, {"described": False}):
        with pytest.raises(Ambiguous):
            look(listing, **places)


@pytest.mark.parametrize(("age", "may_be_ours"), [(DAY, True), (DAY + 1, False)])
@pytest.mark.parametrize("places", [{"tagged": False}, {"described": False}])
def test_an_unmarked_experiment_from_more_than_a_day_before_the_claim_is_not_ours(age, may_be_ours, places):
    """No time zone explains a day, so what is older is ruled out even if one dropped marker would do."""
    listing = Listing([row(1, tags=(), created=SINCE - age)])
    if may_be_ours:
        with pytest.raises(Ambiguous):
            look(listing, **places)
    else:
        assert look(listing, **places) is None


def test_an_unmarked_experiment_of_another_workspace_is_not_ours():
    """The service does not move experiments, so the workspace of the request rules others out."""
    listing = Listing([UNMARKED])
    assert look(listing, workspace_id="7") is None
    with pytest.raises(Ambiguous):
        look(listing, workspace_id=UNMARKED.workspace_id)


def test_a_request_without_a_name_may_be_any():
    """What the request does not state cannot rule an experiment out."""
    with pytest.raises(Ambiguous):
        look(Listing([row(1, tags=(), name="whatever the service made of it")]), name=None)


# A tag filter that is seen to work.


def test_a_filter_that_finds_another_key_is_trusted():
    """If it finds another key that exists, its empty answer is enough for a key that is marked by tags alone."""
    rows = [*map(row, range(1, 100)), row(100, key=OTHER)][::-1]
    listing = Listing(rows, by_tag=filtering(*rows))
    assert look(listing, described=False) is None
    assert listing.calls == [("tag", 1), ("time", 1), ("tag", 1)]


def test_a_filter_is_not_trusted_where_a_description_has_the_marker():
    """A tag that was dropped or is not indexed yet hides nothing: the description is read."""
    ours = row(9, description=format_marker(KEY))
    rows = [*map(row, range(10, 100)), row(8, key=OTHER), ours][::-1]
    assert look(Listing(rows, by_tag=filtering(row(8, key=OTHER)))) == ours


def test_a_filter_is_not_trusted_for_a_key_that_went_untagged():
    """An experiment whose create carried no tag cannot be found by one, so everything is read."""
    ours = row(9, description=format_marker(KEY))
    rows = [row(8, key=OTHER), *map(row, range(1, 7)), ours]
    listing = Listing(rows, by_tag=filtering(*rows))
    assert look(listing, tagged=False).experiment_id == "s000009"


@pytest.mark.parametrize(
    "by_tag", [lambda _: [], lambda key: [row(1), row(2, key=OTHER)] if key == OTHER else []]
)
def test_a_filter_that_does_not_find_another_key_is_not_trusted(by_tag):
    """A filter that finds nothing at all, or more than it should, proves nothing: everything is read."""
    rows = [row(2, key=OTHER), *map(row, range(3, 9)), row(9, key=KEY)]
    found = look(Listing(rows, by_tag=by_tag), described=False)
    assert found is not None
    assert found.experiment_id == "s000009"


def test_a_search_that_need_not_conclude_reads_one_page():
    """A search that is not thorough asks only where the experiment would be found at once."""
    listing = Listing([*map(row, range(9)), row(9, key=KEY)])
    assert look(listing, thorough=False) is None
    assert listing.calls == [("tag", 1), ("time", 1)]
    assert look(Listing([row(1, key=KEY)], by_tag=REFUSAL), thorough=False).experiment_id == "s000001"


def test_the_first_created_of_several_marked_experiments_is_taken():
    """The time decides, not the order of the ids."""
    rows = [row(1, key=KEY, created=SINCE + 9), row(2, key=KEY, created=SINCE + 5), row(3, key=KEY)]
    assert look(Listing(rows)).experiment_id == "s000002"


def test_a_marked_experiment_from_a_day_before_the_claim_is_taken():
    """The service may write times in a zone that is a day behind."""
    assert look(Listing([row(1, key=KEY, created=SINCE - DAY)])) is not None
    assert look(Listing([row(1, key=KEY, created=SINCE - DAY - 1)])) is None


def test_any_row_of_the_first_page_can_show_that_the_filter_works():
    """If one of them carries another key, and the filter finds it by that, nothing more is read."""
    rows = [row(1), row(8, key=OTHER), *map(row, range(2, 6))]
    listing = Listing(rows, by_tag=filtering(*rows))
    assert look(listing, described=False) is None
    assert ("time", 2) not in listing.calls


def test_without_another_key_the_filter_is_asked_for_ours_alone():
    """If no row of the first page carries a key, there is nothing to test the filter with."""
    listing = Listing([row(number, name="another") for number in range(6)])
    assert look(listing, described=False) is None
    assert listing.calls.count(("tag", 1)) == 1


def test_the_marker_of_another_key_rules_an_experiment_out():
    """An experiment with the request's name and another key is not the one, wherever its marker stands."""
    assert look(Listing([row(1, key=OTHER)]), tagged=False) is None


@pytest.mark.parametrize(("age", "may_be_ours"), [(60, True), (61, False)])
def test_an_unmarked_experiment_from_a_minute_before_the_claim_is_not_ours(age, may_be_ours):
    """Clocks differ a little, but a stated time rules out what is older, if both markers would be missing."""
    listing = Listing([row(1, tags=(), created=SINCE - age)])
    if may_be_ours:
        with pytest.raises(Ambiguous):
            look(listing)
    else:
        assert look(listing) is None


LONG = "Train resnet-50 on images"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        *(("N", theirs) for theirs in (" N", "n ", "", None)),
        *(
            (LONG, theirs)
            for theirs in ("train_resnet_50_on_images", "Train resnet-50 on i", "Tr...", "Tr\u2026 ")
        ),
    ],
)
def test_a_text_that_the_service_changed_cut_or_left_out_may_be_ours(ours, theirs):
    """White space, case and punctuation do not count, a text may be cut, and a missing one rules nothing out."""
    listing = Listing([row(1, tags=(), name=theirs)])
    with pytest.raises(Ambiguous):
        look(listing, name=ours)
    listing = Listing([row(1, tags=(), name="n", workspace_id=theirs)])
    with pytest.raises(Ambiguous):
        look(listing, workspace_id=ours)


@pytest.mark.parametrize("theirs", ["Train resnet-50 on", LONG + "2", "Train..2", LONG[1:]])
def test_another_name_is_not_ours(theirs):
    """A name that ours only begins with is another one if it is short, and so is one that begins with ours."""
    assert look(Listing([row(1, tags=(), name=theirs)]), name=LONG) is None


@pytest.mark.parametrize(("shown", "is_proof"), [(3, True), (2, False)])
def test_a_marker_among_fewer_tags_does_not_show_that_ours_was_kept(shown, is_proof):
    """A service may list a few tags of each experiment, and the marker is the last one."""
    others = row(2, key=OTHER, tags=(("team", "x"),) * (shown - 1))
    listing = Listing([row(1, tags=(("team", "x"),) * 2), others])
    if is_proof:
        assert look(listing, tag_count=3) is None
    else:
        with pytest.raises(Ambiguous):
            look(listing, tag_count=3)


def test_two_searches_do_not_ask_alike():
    """A cache cannot answer a search with the listing of an earlier one, and none leaves anything out.

    Nor can it answer the second pass over the listing with the first one.
    """
    listings = [Listing([row(1, key=OTHER)]) for _ in range(3)]
    for listing, now in zip(listings, (SINCE, SINCE + 1, SINCE + 3599), strict=True):
        look(listing, now=now)
        assert len(listing.since) == 3
    asked = set.union(*(listing.since for listing in listings))
    earliest = datetime.fromtimestamp(SINCE - DAY, timezone.utc)
    assert len(asked) == 9
    assert not any(moment.microsecond for moment in asked), "the service may not read parts of a second"
    assert max(asked) <= earliest
    assert min(asked) > earliest - timedelta(hours=4)


def test_every_listing_is_of_one_workspace_and_begins_a_day_before_the_claim():
    """The zone of the service's filter is not documented; each workspace is asked by tag and by time."""
    listing = Listing([])
    assert look(listing, workspace_id="7") is None
    asked = set(zip((kind for kind, _ in listing.calls), listing.workspaces, strict=True))
    assert asked == {("tag", None), ("time", None), ("tag", "7"), ("time", "7")}
    earliest = datetime.fromtimestamp(SINCE, timezone.utc) - timedelta(days=1)
    assert listing.since == {earliest - timedelta(seconds=seconds) for seconds in (1, 2, 3)}
    assert listing.since_by_tag == {earliest}


@pytest.mark.parametrize(("tagged", "described"), [(False, False), (True, True)])
def test_a_working_filter_is_trusted_only_for_keys_that_are_in_tags_alone(tagged, described):
    """For a key that may be in a description, everything is read, even if the filter finds another key."""
    rows = [row(8, key=OTHER), *map(row, range(1, 7)), row(9, key=KEY)]
    listing = Listing(rows, by_tag=lambda key: [rows[0]] if key == OTHER else [])
    assert look(listing, tagged=tagged, described=described).experiment_id == "s000009"


def test_an_ambiguous_search_names_up_to_three_experiments_in_order():
    """The error says which call it came from and where an operator may look."""
    with pytest.raises(Ambiguous) as caught:
        look(Listing([row(number, tags=()) for number in range(40, 0, -1)]))
    assert "one of 40 may be this request's: s000001, s000002, s000003" in str(caught.value)
    assert "s000004" not in str(caught.value)
    assert str(caught.value).startswith("paiautoml ListHpoExperiments: ")


@pytest.mark.parametrize("places", [(True, True), (True, False), (False, True)])
def test_a_marker_is_found_in_any_case(places):
    """A service may change the case of what it stores: a marker in capitals is ours all the same."""
    tagged, described = places
    marks = {"tags": (("HPOQ-KEY", KEY.upper()),)} if tagged else {"tags": ()}
    marks |= {"description": format_marker(KEY).upper()} if described else {}
    found = look(Listing([row(1, **marks)]), tagged=tagged, described=described)
    assert found.experiment_id == "s000001"


def test_an_empty_filtered_list_that_counts_rows_is_not_believed():
    """A count without its rows contradicts itself, so everything is read."""

    class Counting(Listing):
        def list_hpo_experiments(self, *, tags=(), **options):
            page = super().list_hpo_experiments(tags=tags, **options)
            is_ours = tags and dict(tags)["hpoq-key"] == KEY
            return ExperimentPage(1, ()) if is_ours else page

    rows = [row(8, key=OTHER), *map(row, range(1, 7)), row(9, key=KEY)]
    assert look(Counting(rows, by_tag=filtering(*rows)), described=False).experiment_id == "s000009"


class Slow(Listing):
    """A service that takes so long for a page that the time of a search ends before the page `last`."""

    last = 3

    def list_hpo_experiments(self, *, page_number, **options):
        if page_number == self.last:
            raise NoTimeLeft("no time", service="paiautoml", operation="ListHpoExperiments")
        return super().list_hpo_experiments(page_number=page_number, **options)


def test_a_listing_that_is_too_long_to_be_read_is_incomplete():
    """The next search would not end either, so it is not a matter of one invocation's time."""
    with pytest.raises(Incomplete, match="HPOQ_LIST_PAGE_SIZE"):
        look(Slow([row(number, key=OTHER) for number in range(9)]))


def test_a_search_that_has_no_time_for_its_first_page_says_nothing_about_the_listing():
    """It began too late in its invocation."""
    slow = Slow([])
    slow.last = 1
    with pytest.raises(NoTimeLeft):
        look(slow)
