import io
import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from hpoq.clock import Limits
from hpoq.cloud.caller import RetryPolicy
from hpoq.cloud.experiments import CreatedExperiment, Experiment, ExperimentPage
from hpoq.contract.identity import MOST_TAGS, TAG_KEY, derive_key, format_marker
from hpoq.contract.request import parse_request
from hpoq.errors import Ambiguous, ClockOff, Denied, Invalid, NoTimeLeft, Throttled, Unavailable, UnknownEnd
from hpoq.observability import logs
from hpoq.observability.measures import Measures, collect_into
from hpoq.processing import lifecycle
from hpoq.processing.creation import (
    Created,
    Creator,
    GivenUp,
    Marking,
    Postponed,
    Refused,
    compute_backdating,
    create_nonce,
)
from hpoq.processing.ledger import ClaimLost
from hpoq.processing.lifecycle import Delivery, Terms
from hpoq.processing.pace import Pace
from hpoq.testing import FakeClock
from support.request import make_document

DOCUMENT = make_document()
EXPERIMENT = parse_request(json.dumps(DOCUMENT).encode()).document["experiment"]
KEY = derive_key("smq", "M1")
OTHER = derive_key("smq", "M2")
TERMS = Terms(lease=90, skew=10, consistency=15, retention=1000, max_attempts=3, read=25)
PAGE = 3
PLACE = "https://paiautoml.cn-hangzhou.aliyuncs.com"


def error(kind, code=None, message="no"):
    return kind(message, service="paiautoml", operation="CreateHpoExperiment", code=code, request_id="r-9")


def experiment(number, key=None):
    tags = (("team", "x"),) if key is None else ((TAG_KEY, key),)
    return Experiment(f"s{number:03}", "n", None, "1", "RUNNING", tags, None, deleted=False)


class Service:
    """A service whose creates answer as listed, and whose listings show `rows` from their moment on.

    Its tag filter is ignored. A create and a listing take `create_seconds` and `list_seconds`; what a listing shows
    is decided when it begins.
    """

    def __init__(self, clock, *answers, rows=(), list_seconds=0.0, create_seconds=0.0):
        self.clock = clock
        self.answers = list(answers)
        self.rows = list(rows)
        self.list_seconds = list_seconds
        self.create_seconds = create_seconds
        self.creates = []
        self.sent_at = []
        self.listed_at = []
        self.filtered = []
        self.ahead = 0.0

    def present_time(self):
        return self.correct_time(self.clock.now())

    def correct_time(self, moment):
        return moment - self.ahead

    def clock_error(self):
        return self.ahead

    def create_hpo_experiment(self, body, **options):
        self.creates.append((body, options))
        self.sent_at.append(self.clock.now())
        self.clock.advance(self.create_seconds)
        answer = self.answers.pop(0) if self.answers else "s-new"
        if isinstance(answer, Exception):
            raise answer
        made = answer if isinstance(answer, CreatedExperiment) else CreatedExperiment(answer)
        if not options["is_ours"](made.experiment_id):
            raise error(UnknownEnd)
        return made

    def list_hpo_experiments(
        self, *, page_number, page_size, budget, tags=(), workspace_id=None, min_create_time=None
    ):
        now = self.clock.now()
        self.listed_at.append(now)
        if tags:
            self.filtered.append(workspace_id)
        self.clock.advance(self.list_seconds)
        if isinstance(self.rows, Exception):
            raise self.rows
        rows = [row for row, moment in self.rows if moment <= now]
        start = (page_number - 1) * page_size
        return ExperimentPage(len(rows), tuple(rows[start : start + page_size]))

    @property
    def nonces(self):
        return [options["nonce"] for _, options in self.creates]


class Records:
    """Where a creator saves its claim; `saved` holds what was written, in order."""

    def __init__(self, failure=None):
        self.saved = []
        self.failure = failure

    def save(self, record):
        if self.failure:
            raise self.failure
        self.saved.append(record)
        return record


@pytest.fixture
def clock():
    return FakeClock(10_000.0)


def make(clock, client, *, save=None, seconds=290.0, attempts=3, in_tag=True, in_description=True, pace=None):
    ends_at = clock.monotonic() + seconds
    return Creator(
        client,
        clock,
        TERMS,
        Limits(ends_at + 3, ends_at, 28.0),
        Marking(in_tag, in_description, PAGE),
        RetryPolicy(attempts=attempts),
        PLACE,
        save or Records().save,
        pace or Pace(clock),
    )


def claim(clock, **changes):
    made = lifecycle.claim(Delivery(KEY, "f", "m-1", "b-1", place=PLACE), "owner", clock.now(), TERMS)
    return replace(made, **changes)


def test_an_answer_with_the_experiment_of_another_message_is_not_believed(clock):
    """A connection that delivers an answer twice gives each request the answer to the one before it."""
    service = Service(clock, "s-first", "s-first", "s-first", rows=[(experiment(2, OTHER), 0)])
    creator = make(clock, service)
    assert creator.attempt(EXPERIMENT, claim(clock), None).experiment_id == "s-first"
    ending = creator.attempt(EXPERIMENT, claim(clock, key=OTHER), None)
    assert (ending.experiment_id, ending.adopted) == ("s002", True)
    # The same message may create again, for example after an operator's decision.
    assert not creator.attempt(EXPERIMENT, claim(clock), None).adopted


def test_a_marker_proves_more_than_an_answer(clock):
    """An experiment that is found belongs to the key it carries, even if another create got its answer first."""
    service = Service(clock, "s001", error(UnknownEnd), "s001", rows=[(experiment(1, OTHER), 0)])
    creator = make(clock, service)
    creator.attempt(EXPERIMENT, claim(clock), None)
    assert creator.attempt(EXPERIMENT, claim(clock, key=OTHER), None).adopted
    assert isinstance(creator.attempt(EXPERIMENT, claim(clock), None), Postponed)


# What a create carries.


@pytest.mark.parametrize(
    ("written", "described"),
    [({}, format_marker(KEY)), ({"Description": "mine"}, f"mine {format_marker(KEY)}")],
)
def test_the_marker_is_added_and_the_rest_is_sent_as_written(clock, written, described):
    """What the producer wrote is kept: a repeated attempt begins with it again."""
    request = {**EXPERIMENT, **written, "Tag": [{"Key": "a"}]}
    service = Service(clock)
    make(clock, service).attempt(request, claim(clock), None)
    ((body, _),) = service.creates
    marked = [{"Key": "a"}, {"Key": TAG_KEY, "Value": KEY}]
    assert body == {**request, "Tag": marked, "Description": described}
    assert request["Tag"] == [{"Key": "a"}]


@pytest.mark.parametrize("earlier", [(True, False), (False, True), (False, False), (True, True)])
@pytest.mark.parametrize("now", [(True, False), (False, True), (True, True)])
def test_a_create_carries_its_own_markers_whatever_earlier_ones_carried(clock, earlier, now):
    """The record says what all creates so far carried, before the create is sent; this one goes by the settings."""
    service, records = Service(clock), Records()
    made = claim(clock, tagged=earlier[0], described=earlier[1])
    creator = make(clock, service, save=records.save, in_tag=now[0], in_description=now[1])
    ending = creator.attempt(EXPERIMENT, made, None)
    ((body, _),) = service.creates
    assert ("Tag" in body, KEY in body.get("Description", "")) == now
    narrowed = (earlier[0] and now[0], earlier[1] and now[1])
    assert (ending.claim.tagged, ending.claim.described) == narrowed
    assert [(one.tagged, one.described) for one in records.saved] == (
        [narrowed] if narrowed != earlier else []
    )


BOTH, TAG, DESCRIPTION, NEITHER = (True, True), (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("settings", "earlier", "carried"),
    [
        (BOTH, BOTH, BOTH),
        (BOTH, TAG, TAG),
        (BOTH, DESCRIPTION, DESCRIPTION),
        (BOTH, NEITHER, DESCRIPTION),
        (TAG, BOTH, TAG),
        (TAG, DESCRIPTION, TAG),
        (TAG, NEITHER, DESCRIPTION),
        (DESCRIPTION, BOTH, DESCRIPTION),
        (DESCRIPTION, TAG, DESCRIPTION),
        (DESCRIPTION, NEITHER, DESCRIPTION),
    ],
)
def test_an_uncertain_key_does_not_try_a_marker_again_that_an_earlier_create_lacked(
    clock, settings, earlier, carried
):
    """A refusal of the marker must not use up the nonce of an uncertain key. At least one marker is carried."""
    service = Service(clock)
    made = claim(clock, uncertain=True, tagged=earlier[0], described=earlier[1])
    make(clock, service, in_tag=settings[0], in_description=settings[1]).attempt(EXPERIMENT, made, None)
    ((body, _),) = service.creates
    assert ("Tag" in body, KEY in body.get("Description", "")) == carried


def test_the_endpoint_of_a_create_is_on_record_first(clock):
    """A record from before, or one without a doubt at another endpoint, names the one of its next create."""
    for place in (None, "https://elsewhere"):
        records = Records()
        ending = make(clock, Service(clock), save=records.save).attempt(
            EXPERIMENT, claim(clock, place=place), None
        )
        assert [one.place for one in records.saved] == [ending.claim.place] == [PLACE]


@pytest.mark.parametrize("uncertain", [False, True])
def test_a_doubt_at_another_endpoint_waits(clock, uncertain):
    """A doubt from another endpoint concludes and creates nothing, because no search here can end it.

    An operator is asked to set the endpoint back, which is logged.
    """
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    service = Service(clock)
    moved = claim(clock, place="https://elsewhere", uncertain=uncertain)
    ending = make(clock, service).attempt(EXPERIMENT, moved, clock.now())
    assert (ending.error.code, ending.doubt_until, ending.counts) == ("EndpointChanged", clock.now(), False)
    assert ending.error.retryable
    assert (service.creates, service.listed_at) == ([], [])
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["event"], line["place"]) == ("operator.needed", "https://elsewhere")


def test_a_first_claim_creates_at_once_under_both_markers(clock):
    """Without a doubt nothing is searched for; the experiment carries the key in a tag and in its description."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert ending == Created(claim(clock), "s-new", adopted=False)
    ((body, _),) = service.creates
    assert body["Tag"] == [{"Key": TAG_KEY, "Value": KEY}]
    assert body["Description"] == format_marker(KEY)
    assert service.listed_at == []


@pytest.mark.parametrize("remark", [None, "INTERNAL_ERROR: late"])
def test_what_the_service_remarks_about_a_created_experiment_is_logged(clock, remark):
    """An error code beside the id does not hide the experiment, and is logged for an operator."""
    lines = io.StringIO()
    logs.configure("WARNING", lines)
    service = Service(clock, CreatedExperiment("s1", remark))
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Created)
    logged = [(line["event"], line["remark"]) for line in map(json.loads, lines.getvalue().splitlines())]
    assert logged == ([] if remark is None else [("experiment.remark", remark)])


def tagged_request(count):
    tags = [{"Key": f"k{n}", "Value": "v"} for n in range(count)]
    changed = DOCUMENT["experiment"] | {"Tag": tags}
    return parse_request(json.dumps({"experiment": changed}).encode()).document["experiment"]


@pytest.mark.parametrize(
    ("in_tag", "in_description", "tags", "places"),
    [
        (True, True, 0, (True, True)),
        (True, True, MOST_TAGS - 1, (True, True)),
        (True, True, MOST_TAGS, (False, True)),
        (True, False, MOST_TAGS - 1, (True, False)),
        (True, False, MOST_TAGS, (False, True)),
        (False, True, 0, (False, True)),
    ],
)
def test_the_marker_stands_where_it_fits(clock, in_tag, in_description, tags, places):
    """A request with as many tags as the service takes gets no further one, but the marker in its description."""
    request = tagged_request(tags)
    service = Service(clock)
    creator = make(clock, service, in_tag=in_tag, in_description=in_description)
    assert creator.marking.places(request) == places
    tagged, described = creator.marking.places(request)
    creator.attempt(request, claim(clock, tagged=tagged, described=described), None)
    ((body, _),) = service.creates
    sent = body.get("Tag", [])
    assert len(sent) == tags + tagged <= MOST_TAGS
    assert ({"Key": TAG_KEY, "Value": KEY} in sent) is tagged
    assert (format_marker(KEY) in body.get("Description", "")) is described


def test_a_create_is_bounded_by_the_lease_less_skew_and_read_time_out(clock):
    """The transport sends nothing with less than a read time-out left until the lease, less the skew, is over."""
    service = Service(clock)
    made = claim(clock)
    make(clock, service).attempt(EXPERIMENT, made, None)
    ((_, options),) = service.creates
    budget = options["budget"]
    assert budget.least_seconds == 25
    assert budget.wall_ends_at - budget.least_seconds == lifecycle.latest_start(made, TERMS)
    assert budget.wall_ends_at == made.lease_until - 10
    assert options["max_clock_error"] == 10
    assert budget.ends_at == clock.monotonic() + 290


def test_a_short_invocation_does_not_let_a_create_start_later(clock):
    """With less time than a read time-out, a create still starts no later than the lease permits."""
    service = Service(clock)
    creator = make(clock, service)
    short = Limits(creator.limits.ends_at, creator.limits.calls_end_at, 4.0)
    made = claim(clock)
    replace(creator, limits=short).attempt(EXPERIMENT, made, None)
    ((_, options),) = service.creates
    assert options["budget"].least_seconds == 4
    assert options["budget"].wall_ends_at == lifecycle.latest_start(made, TERMS) + 4


@pytest.mark.parametrize(("window", "seconds"), [(900.0, 805.0), (96.0, 1.0), (95.0, 0.0), (0.0, 0.0)])
def test_creates_are_dated_back_almost_to_the_end_of_the_window(clock, window, seconds):
    """The window, less the skew, the read time-out and a minute, so that a late copy soon expires."""
    terms = replace(TERMS, window=window)
    assert compute_backdating(terms) == seconds
    service = Service(clock)
    replace(make(clock, service), terms=terms).attempt(EXPERIMENT, claim(clock), None)
    ((_, options),) = service.creates
    assert options["backdate_seconds"] == seconds


# The nonce.


def test_the_nonce_follows_from_key_and_generation():
    """One key and one generation make one nonce, in every version of the code, which no other key or generation has.

    A nonce that changed with an update would not collide with the late copy of a create from before it.
    """
    nonces = {create_nonce(key, generation) for key in (KEY, OTHER) for generation in range(3)}
    assert len(nonces) == 6
    assert create_nonce("9619c93e-fafb-5042-80f4-bfc8c78519f2", 0) == "5a7967ffd61b51839eb483d72405e7d9"


def test_a_throttled_create_is_repeated_under_a_new_nonce_that_is_on_record_first(clock):
    """A proof that the service did not act changes the generation, which is saved before the next send."""
    records = Records()
    service = Service(clock, error(Throttled), error(Throttled))
    made = claim(clock, generation=4)
    ending = make(clock, service, save=records.save).attempt(EXPERIMENT, made, None)
    assert ending == Created(replace(made, generation=6), "s-new", adopted=False)
    assert service.nonces == [create_nonce(KEY, generation) for generation in (4, 5, 6)]
    assert [record.generation for record in records.saved] == [5, 6]


@pytest.mark.parametrize("kind", [Throttled, Denied])
def test_an_answer_that_ends_the_attempt_changes_the_generation_too(clock, kind):
    """The record that is given back has the next nonce, no doubt, and one attempt less."""
    service = Service(clock, error(kind))
    ending = make(clock, service, attempts=1).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (ending.claim.generation, ending.doubt_until, ending.counts) == (1, None, False)


@pytest.mark.parametrize("kind", [Unavailable, NoTimeLeft, ClockOff])
def test_a_create_that_was_not_sent_keeps_its_nonce_and_leaves_no_doubt(clock, kind):
    """Nothing reached the service, so the next delivery may create at once."""
    ending = make(clock, Service(clock, error(kind))).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (ending.claim.generation, ending.doubt_until, ending.counts) == (0, None, False)


def test_an_owner_that_lost_its_claim_sends_no_second_create(clock):
    """If the next generation cannot be saved, another owner has the key, and nothing more is sent."""
    service = Service(clock, error(Throttled))
    with pytest.raises(ClaimLost):
        make(clock, service, save=Records(ClaimLost(KEY)).save).attempt(EXPERIMENT, claim(clock), None)
    assert len(service.creates) == 1


def test_the_time_of_the_lease_bounds_the_repetitions(clock):
    """A throttled create is not repeated if the wait would outlast the lease."""
    throttled = Throttled(
        "no", service="paiautoml", operation="CreateHpoExperiment", code="Throttling", retry_after=85.0
    )
    service = Service(clock, throttled)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (len(service.creates), clock.slept) == (1, [])


@pytest.mark.parametrize("kind", [Throttled, Unavailable])
def test_a_service_that_takes_no_create_slows_the_instance_down(clock, kind):
    """The message comes back later, and the next create waits for its turn."""
    pace = Pace(clock)
    ending = make(clock, Service(clock, error(kind)), attempts=1, pace=pace).attempt(
        EXPERIMENT, claim(clock), None
    )
    assert ending.throttled
    assert not pace.take_turn()


def test_the_instance_waits_for_as_long_as_a_throttled_create_was_asked_to(clock):
    """The other messages of the instance wait, too."""
    pace = Pace(clock)
    throttled = Throttled("no", service="paiautoml", operation="CreateHpoExperiment", retry_after=40.0)
    make(clock, Service(clock, throttled), attempts=1, pace=pace).attempt(EXPERIMENT, claim(clock), None)
    clock.advance(39.9)
    assert not pace.take_turn()
    clock.advance(0.2)
    assert pace.take_turn()


def test_a_throttled_create_waits_for_its_turn(clock):
    """The tries of a claim are spaced as the pace says, and end with its lease."""
    pace = Pace(clock)
    service = Service(clock, *[error(Throttled) for _ in range(20)])
    began = clock.monotonic()
    ending = make(clock, service, attempts=20, pace=pace).attempt(EXPERIMENT, claim(clock), None)
    assert ending.throttled
    assert 4 <= len(service.creates) <= 7
    assert clock.monotonic() - began <= TERMS.lease


@pytest.mark.parametrize("kind", [Throttled, UnknownEnd])
def test_creates_that_are_under_way_together_slow_the_instance_down_once(clock, kind):
    """What they come to is one sign, because each was sent before the other was answered."""
    pace = Pace(clock)
    for _ in range(3):  # of four unknown ends in a row, the last one is a sign
        pace.note_unknown_end(clock.monotonic())
    service = Service(clock, error(kind), error(kind), create_seconds=1)
    creator, send = make(clock, service, attempts=1, pace=pace), service.create_hpo_experiment

    def send_after_another(body, **options):
        service.create_hpo_experiment = send
        creator.attempt(EXPERIMENT, claim(clock), None)
        return send(body, **options)

    service.create_hpo_experiment = send_after_another
    creator.attempt(EXPERIMENT, claim(clock), None)
    alone = Pace(clock)
    alone.note_throttled(clock.monotonic())
    assert len(service.creates) == 2
    assert pace.interval == alone.interval > 0


def test_a_turn_that_comes_too_late_for_a_create_is_not_taken(clock):
    """The turn comes within the lease, but a read time-out no longer fits in: the error is that of the service."""
    pace = Pace(clock)
    latest = lifecycle.latest_start(claim(clock), TERMS) - clock.now()
    pace.note_throttled(clock.monotonic(), retry_after=latest + 1)
    service = Service(clock, error(Throttled, "Throttling.User"))
    ending = make(clock, service, pace=pace).attempt(EXPERIMENT, claim(clock), None)
    assert len(service.creates) == 1
    assert isinstance(ending, Postponed)
    assert (ending.throttled, ending.error.code) == (True, "Throttling.User")


def test_each_created_experiment_quickens_the_instance(clock):
    """A create that succeeds shortens the interval to the next one."""
    pace = Pace(clock)
    pace.note_throttled(clock.monotonic())
    before = pace.interval
    make(clock, Service(clock), pace=pace).attempt(EXPERIMENT, claim(clock), None)
    assert 0 < pace.interval < before


def test_unknown_ends_in_a_row_slow_the_instance_down(clock):
    """A service that answers nothing but errors gets few creates."""
    pace = Pace(clock)
    for _ in range(4):
        make(clock, Service(clock, error(UnknownEnd)), pace=pace).attempt(EXPERIMENT, claim(clock), None)
    assert not pace.take_turn()


@pytest.mark.parametrize("kind", [Denied, Invalid, NoTimeLeft, ClockOff])
def test_an_error_that_says_nothing_about_the_load_slows_nothing_down(clock, kind):
    """However many creates are refused or not sent, the next one need not wait."""
    pace = Pace(clock)
    for _ in range(4):
        make(clock, Service(clock, error(kind)), pace=pace).attempt(EXPERIMENT, claim(clock), None)
    assert pace.interval == 0


# An unknown end.


def test_an_unknown_end_keeps_the_nonce_and_leaves_a_doubt_from_the_send(clock):
    """Nothing found at once proves nothing: the doubt lasts one lease and the consistency margin from the send."""
    service = Service(clock, error(UnknownEnd, "InternalError"), create_seconds=25, list_seconds=4)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert ending.doubt_until >= service.sent_at[0] + 90 + 15
    assert ending.doubt_until == service.sent_at[0] + 25 + 90 + 15
    assert (ending.claim.generation, ending.counts, ending.error.code) == (0, True, "InternalError")
    assert len(service.creates) == 1


def test_a_service_that_acted_and_did_not_answer_is_found_at_once(clock):
    """After an unknown end the experiment is searched for in the same attempt."""
    service = Service(clock, error(UnknownEnd), rows=[(experiment(1, KEY), 0.0)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted) == ("s001", True)


def test_the_search_after_an_unknown_end_includes_the_workspace_of_the_request(clock):
    """A listing without a workspace shows the default one only."""
    service = Service(clock, error(UnknownEnd))
    make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert service.filtered == [None, EXPERIMENT["WorkspaceId"]]


@pytest.mark.parametrize("is_listed", [True, False])
def test_creates_and_searches_are_timed_and_what_is_found_is_counted(clock, is_listed):
    """The invocation's report shows each search, and whether it found an experiment to adopt."""
    measures = Measures()
    service = Service(clock, error(UnknownEnd), rows=[(experiment(1, KEY), 0.0)] if is_listed else ())
    with collect_into(measures):
        make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert measures.counts == {"reconciliations": 1, **({"adoptions": 1} if is_listed else {})}
    assert {step: len(seconds) for step, seconds in measures.seconds.items()} == {"create": 1, "reconcile": 1}


def test_the_search_after_an_unknown_end_is_short(clock):
    """The search looks only where the experiment would be listed at once, because absence proves nothing yet."""
    rows = [(experiment(n, OTHER), 0.0) for n in range(PAGE)]
    service = Service(clock, error(UnknownEnd), rows=[*rows, (experiment(9, KEY), 0.0)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert ending.doubt_until == clock.now() + 105


@pytest.mark.parametrize("kind", [Denied, Invalid])
def test_a_listing_that_is_refused_is_tried_again(clock, kind):
    """The refusal of a search is not one of the request: the message comes back, and an operator is asked for help.

    What the operator must change is the service's business, so the advice is not to resolve the key.
    """
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    service = Service(clock)
    service.rows = error(kind)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now())
    assert isinstance(ending, Postponed)
    assert ending.error.retryable
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["event"], line["advice"]) == ("operator.needed", "run: hpoq doctor")


def test_throttling_needs_no_operator_however_often_was_searched(clock):
    """Only searches that conclude nothing are for an operator in the end; throttling passes by itself."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    service = Service(clock)
    service.rows = error(Throttled)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2, searches=9), clock.now())
    assert isinstance(ending, Postponed)
    assert lines.getvalue() == ""


@pytest.mark.parametrize("doubt", [None, 10_000.0], ids=["create", "search"])
def test_a_message_that_stays_throttled_is_reported_as_throttled(clock, doubt):
    """A throttled create and a throttled search have the same end: the message comes back later."""
    service = Service(clock, error(Throttled))
    service.rows = error(Throttled)
    ending = make(clock, service, attempts=1).attempt(EXPERIMENT, claim(clock, attempts=2), doubt)
    assert isinstance(ending, Postponed)
    assert ending.throttled


def test_a_listing_that_fails_after_an_unknown_end_leaves_the_doubt(clock):
    """The error of the create is reported, not that of the search."""
    service = Service(clock, error(UnknownEnd, "InternalError"))
    service.rows = error(Denied, "Forbidden.RAM")
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (ending.error.code, ending.doubt_until) == ("InternalError", clock.now() + 105)


def test_a_refused_nonce_leaves_a_doubt_and_does_not_count(clock):
    """The gateway has seen a create of this key: it is searched for, however long the nonce is remembered."""
    ending = make(clock, Service(clock, error(UnknownEnd, "SignatureNonceUsed"))).attempt(
        EXPERIMENT, claim(clock), None
    )
    assert isinstance(ending, Postponed)
    assert (ending.counts, ending.claim.generation) == (False, 0)
    assert ending.doubt_until == clock.now() + 105


# A doubt that an earlier owner left.


@pytest.mark.parametrize("over_for", [0, 7])
def test_a_doubt_that_is_over_needs_one_thorough_search(clock, over_for):
    """What no complete listing shows after the doubt does not exist, and is created."""
    service = Service(clock, rows=[(experiment(n, OTHER), 0.0) for n in range(4)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now() - over_for)
    assert isinstance(ending, Created)
    assert (ending.adopted, len(service.creates)) == (False, 1)
    assert clock.slept == []
    assert len(service.filtered) == len(set(service.filtered)), "searched once in each place"


@pytest.mark.parametrize("over_for", [0, 7])
def test_once_the_doubt_is_over_every_page_is_searched(clock, over_for):
    """The first page may be full of other experiments."""
    rows = [*((experiment(n, OTHER), 0.0) for n in range(10, 10 + PAGE)), (experiment(1, KEY), 0.0)]
    service = Service(clock, rows=rows)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now() - over_for)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted, service.creates) == ("s001", True, [])


def test_a_doubt_that_was_over_by_this_clock_needs_a_thorough_search(clock):
    """An earlier answer said that this clock is ahead, and the listing does not confirm it."""
    rows = [*((experiment(n, OTHER), 0.0) for n in range(10, 10 + PAGE)), (experiment(1, KEY), 0.0)]
    service = Service(clock, rows=rows)
    service.correct_time = lambda moment: moment if service.listed_at else moment - 3600
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now())
    assert isinstance(ending, Created)
    assert (ending.experiment_id, service.creates) == ("s001", [])


@pytest.mark.parametrize(("ahead", "until"), [(0.0, 7215.0), (-86_400.0, 86_400 + 7215.0), (1e9, 7215.0)])
def test_a_doubt_that_a_clock_ahead_has_written_ends_within_hours(clock, ahead, until):
    """No claim lasts so long. This clock may be behind, and a date from long ago may be wrong."""
    service = Service(clock)
    service.ahead = ahead
    began = clock.now()
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), began + 10 * 86_400)
    assert isinstance(ending, Postponed)
    assert (ending.error.code, ending.doubt_until) == ("InDoubt", began + until)


def test_while_a_doubt_lasts_only_the_newest_experiments_are_searched(clock):
    """Their absence would prove nothing, and neither do experiments without a marker."""
    service = Service(clock, rows=[(experiment(n), 0.0) for n in range(PAGE + 1)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), math.inf)
    assert isinstance(ending, Postponed)
    assert (ending.error.code, ending.inconclusive) == ("InDoubt", False)
    assert len(service.listed_at) == 2 * len(service.filtered) == 4


@pytest.mark.parametrize("ahead", [0, 3600])
@pytest.mark.parametrize("seconds", range(1, 20, 2))
def test_a_doubt_that_ends_during_the_search_is_not_over(clock, seconds, ahead):
    """A listing that began before the end of the doubt cannot prove absence: another one must begin after it.

    The end is that by the service's clock, if this machine's is ahead.
    """
    appears_at = clock.now() + seconds
    rows = [(experiment(1, KEY), appears_at)]
    service = Service(clock, rows=rows, list_seconds=4)
    service.ahead = ahead
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), appears_at - ahead)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted) == ("s001", True)
    assert service.creates == []


@pytest.mark.parametrize("first_page", [0, PAGE + 1])
def test_a_doubt_is_waited_for_to_its_end_and_followed_by_a_thorough_search(clock, first_page):
    """An experiment that appears at the last moment of the doubt is adopted, wherever the listing shows it."""
    ends_at = clock.now() + 20
    rows = [(experiment(n, OTHER), 0.0) for n in range(10, 10 + first_page)]
    service = Service(clock, rows=[*rows, (experiment(1, KEY), ends_at)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), ends_at)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted) == ("s001", True)
    assert clock.slept == [20]
    assert service.creates == []


def test_after_the_wait_the_experiment_is_created_if_there_is_none(clock):
    """A wait that ends with nothing found ends the doubt."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now() + 20)
    assert isinstance(ending, Created)
    assert not ending.adopted
    assert service.sent_at[0] >= max(service.listed_at) >= 10_020


@pytest.mark.parametrize("ahead", [20, 3600])
def test_a_clock_that_is_ahead_does_not_end_a_doubt(clock, ahead):
    """The search's answers show that the doubt still lasts 20 s by the service's clock, for which it is waited."""
    ends_at = clock.now() + 20 - ahead
    service = Service(clock, rows=[(experiment(1, KEY), clock.now() + 20)])
    service.ahead = ahead
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), ends_at)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted) == ("s001", True)
    assert clock.slept == [20]


def test_a_doubt_that_just_leaves_time_for_a_create_is_waited_for(clock):
    """The wait and a create may take all that the lease, less the skew, leaves."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now() + 52)
    assert isinstance(ending, Created)
    assert clock.slept == [52]


def test_an_experiment_from_before_the_claim_by_a_clock_that_is_behind_is_found(clock):
    """The claim's clock may have been ahead by the skew, in any zone that the service writes times in."""
    made = claim(clock, attempts=2)
    created_at = datetime.fromtimestamp(made.claimed_at - 9, timezone.utc) - timedelta(days=1)
    service = Service(clock, rows=[(replace(experiment(1, KEY), created_at=created_at), 0.0)])
    ending = make(clock, service).attempt(EXPERIMENT, made, clock.now())
    assert isinstance(ending, Created)
    assert ending.adopted


@pytest.mark.parametrize(
    ("ours", "theirs", "is_proof"), [("x" * 100, 99, False), ("x" * 100, 100, True), (None, 0, True)]
)
def test_a_marker_in_a_shorter_description_says_nothing_about_ours(clock, ours, theirs, is_proof):
    """A service that cuts descriptions may have cut our marker off: an experiment of our name may be ours.

    It keeps ours if it kept the marker of another description that is as long.
    """
    changed = {} if ours is None else {"Description": ours}
    request = parse_request(json.dumps(make_document(Name="n", **changed)).encode()).document["experiment"]
    kept = replace(experiment(1), name="other", description="y" * theirs + format_marker(OTHER), tags=())
    unmarked = replace(experiment(2), workspace_id=request["WorkspaceId"], tags=())
    service = Service(clock, rows=[(kept, 0.0), (unmarked, 0.0)])
    creator = make(clock, service, in_tag=False)
    ending = creator.attempt(request, claim(clock, attempts=2, tagged=False), clock.now())
    assert isinstance(ending, Created if is_proof else Postponed)
    assert len(service.creates) == is_proof


@pytest.mark.parametrize(("own", "listed", "is_proof"), [(2, 3, True), (2, 2, False), (None, 1, True)])
def test_a_marker_among_fewer_tags_says_nothing_about_ours(clock, own, listed, is_proof):
    """A service that cuts tags may have cut our marker off, the last of one more than the request has."""
    given = {} if own is None else {"Tag": [{"Key": f"k{n}", "Value": "x"} for n in range(own)]}
    document = make_document(Name="n", **given)
    request = parse_request(json.dumps(document).encode()).document["experiment"]
    kept = replace(
        experiment(1, OTHER), name="other", tags=(("team", "x"),) * (listed - 1) + ((TAG_KEY, OTHER),)
    )
    unmarked = replace(experiment(2), workspace_id=request["WorkspaceId"])
    service = Service(clock, rows=[(kept, 0.0), (unmarked, 0.0)])
    creator = make(clock, service, in_description=False)
    ending = creator.attempt(request, claim(clock, attempts=2, described=False), clock.now())
    assert isinstance(ending, Created if is_proof else Postponed)
    assert len(service.creates) == is_proof


@pytest.mark.parametrize(
    ("name", "workspace_id", "may_be_ours"),
    [("n", "7", True), ("other", "7", False), ("n", "8", False), (None, "7", True), ("n", None, True)],
)
def test_an_unmarked_experiment_of_another_name_or_workspace_is_not_ours(
    clock, name, workspace_id, may_be_ours
):
    """A request without a name or a workspace may be any experiment's."""
    members = {"Name": name, "WorkspaceId": workspace_id}
    request = {**EXPERIMENT, **members}
    request = {member: value for member, value in request.items() if value is not None}
    unmarked = replace(experiment(2), workspace_id="7", tags=())
    service = Service(clock, rows=[(unmarked, 0.0)])
    ending = make(clock, service).attempt(request, claim(clock, attempts=2), clock.now())
    assert isinstance(ending, Postponed if may_be_ours else Created)


@pytest.mark.parametrize(
    ("doubt", "seconds"), [(60.0, 290.0), (20.0, 40.0)], ids=["beyond the lease", "beyond the invocation"]
)
def test_a_doubt_that_cannot_be_waited_for_goes_on_without_using_an_attempt(clock, doubt, seconds):
    """A create after the wait must fit into the lease and the invocation; else the message comes back."""
    service = Service(clock)
    until = clock.now() + doubt
    ending = make(clock, service, seconds=seconds).attempt(EXPERIMENT, claim(clock, attempts=2), until)
    assert isinstance(ending, Postponed)
    assert (ending.error.code, ending.doubt_until, ending.counts) == ("InDoubt", until, False)
    assert (ending.inconclusive, ending.throttled) == (False, False)
    assert ending.error.retryable
    assert (service.creates, clock.slept) == ([], [])


@pytest.mark.parametrize("doubt", [None, 10_999.0], ids=["no doubt", "a doubt"])
def test_what_an_operator_named_is_adopted_without_a_search(clock, doubt):
    """A record that has its experiment already needs neither a search nor a create."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, experiment_id="s7"), doubt)
    assert isinstance(ending, Created)
    assert (ending.experiment_id, ending.adopted) == ("s7", True)
    assert (service.creates, service.listed_at) == ([], [])


@pytest.mark.parametrize(("attempts", "kind"), [(3, Created), (4, GivenUp)])
def test_attempts_that_dying_owners_used_up_end_the_message(clock, attempts, kind):
    """Owners that die record no end, so their attempts are looked at once no experiment is found."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=attempts), clock.now())
    assert isinstance(ending, kind)
    assert len(service.creates) == (attempts == 3)
    if isinstance(ending, GivenUp):
        assert (ending.error.code, ending.error.retryable) == ("AttemptsUsedUp", True)


@pytest.mark.parametrize(
    ("attempts", "last_error", "doubt", "kind"),
    [(2, None, 0, GivenUp), (1, "{}", 0, GivenUp), (1, None, 0, Created), (2, "{}", -2, Created)],
)
def test_a_message_whose_last_create_was_sent_beyond_its_age_is_given_up(
    clock, attempts, last_error, doubt, kind
):
    """An earlier create says nothing: the message may have waited. Nor does a doubt without any try."""
    began = clock.now()
    clock.advance(TERMS.max_age + 1)
    service = Service(clock)
    made = claim(clock, attempts=attempts, last_error=last_error, claimed_at=began)
    ending = make(clock, service).attempt(EXPERIMENT, made, clock.now() + doubt)
    assert isinstance(ending, kind)
    assert len(service.creates) == (kind is Created)


def test_an_experiment_that_is_found_ends_the_wait(clock):
    """What is listed while the doubt lasts is adopted at once."""
    service = Service(clock, rows=[(experiment(1, KEY), 0.0)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now() + 20)
    assert isinstance(ending, Created)
    assert (ending.adopted, clock.slept) == (True, [])


def test_used_up_attempts_do_not_matter_once_an_operator_found_that_none_exists(clock):
    """Without a doubt a create is safe, however many owners died before."""
    service = Service(clock)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=9), None)
    assert isinstance(ending, Created)
    assert service.listed_at == []


def test_used_up_attempts_do_not_hide_an_experiment(clock):
    """An experiment that exists is adopted, however many attempts it took."""
    service = Service(clock, rows=[(experiment(1, KEY), 0.0)])
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=9), clock.now())
    assert isinstance(ending, Created)


def test_a_listing_that_fails_keeps_the_doubt(clock):
    """While the service cannot be asked, nothing is created, and the attempt does not count."""
    service = Service(clock)
    service.rows = error(UnknownEnd, "ServiceUnavailable")
    until = clock.now() - 500
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), until)
    assert isinstance(ending, Postponed)
    assert (ending.doubt_until, ending.counts, ending.inconclusive) == (until, False, False)
    assert service.creates == []


def test_an_ambiguous_listing_is_inconclusive_and_needs_an_operator(clock):
    """The log names the command by which an operator resolves the key."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    service = Service(clock)
    service.rows = error(Ambiguous)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock, attempts=2), clock.now())
    assert isinstance(ending, Postponed)
    assert (ending.inconclusive, ending.counts, ending.doubt_until) == (True, False, clock.now())
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["event"] == "operator.needed"
    assert f"hpoq resolve {KEY}" in line["advice"]


def test_a_listing_that_never_adds_up_needs_an_operator_in_the_end(clock):
    """A listing that counts a row more than it shows may be a passing state; after three searches it is not."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)

    class Miscounting(Service):
        def list_hpo_experiments(self, **options):
            page = super().list_hpo_experiments(**options)
            return replace(page, total_count=page.total_count + 1)

    service = Miscounting(clock, rows=[(experiment(1, OTHER), 0.0)])
    logged = []
    for searches in range(4):
        ending = make(clock, service).attempt(
            EXPERIMENT, claim(clock, attempts=2, searches=searches), clock.now()
        )
        assert isinstance(ending, Postponed)
        assert ending.inconclusive
        logged.append(bool(lines.getvalue()))
    assert logged == [False, False, True, True]
    assert service.creates == []


# Too little time.


def test_a_create_does_not_begin_with_too_little_time_left(clock):
    """A create that could not end within the invocation is not begun; the absence that was proven stays proven."""
    service = Service(clock)
    ending = make(clock, service, seconds=27.9).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (ending.error.code, ending.doubt_until, ending.counts) == ("NoTimeLeft", None, False)
    assert ending.error.retryable
    assert service.creates == []
    assert isinstance(make(clock, service, seconds=28).attempt(EXPERIMENT, claim(clock), None), Created)


# Refusals.


def test_a_refused_request_can_never_succeed(clock):
    """What the service documents as invalid ends the message, once it has refused it without our tag, too.

    The producer gets the first answer, and no log line says that the marker was refused.
    """
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    refusals = (error(Invalid, "INVALID_INPUT_PARAMS", text) for text in ("first", "second", "third"))
    service = Service(clock, *refusals)
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Refused)
    assert (ending.error.code, ending.error.retryable) == ("INVALID_INPUT_PARAMS", False)
    assert "first" in ending.error.message
    assert ["Tag" in body for body, _ in service.creates] == [True, False]
    assert (ending.claim.tagged, ending.claim.described, ending.claim.generation) == (False, True, 2)
    assert lines.getvalue() == ""


def test_a_refusal_that_names_nothing_moves_no_marker_of_an_uncertain_key(clock):
    """The nonce of an uncertain key stays, so the refused create has used it up."""
    service = Service(clock, error(Invalid, "INVALID_INPUT_PARAMS"))
    uncertain = claim(clock, uncertain=True, tagged=True, described=True)
    assert isinstance(make(clock, service).attempt(EXPERIMENT, uncertain, None), Refused)
    assert len(service.creates) == 1


@pytest.mark.parametrize(
    ("refusals", "places"),
    [
        (["unknown member Tag"], (False, True)),
        (["the parameter is invalid"], (False, True)),
        (["Description is too long"], (True, False)),
        (["tags are not enabled", "the request is invalid"], None),
        (["tags are not enabled", "Description is too long"], None),
        (["Description is too long", "the request is invalid"], None),
    ],
)
def test_a_request_is_not_rejected_for_a_marker_of_ours(clock, refusals, places):
    """A marker that is refused moves; the record says so before the next create, under the next nonce.

    The log says which setting spares the refused create.
    """
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    records = Records()
    service = Service(clock, *(error(Invalid, "InvalidParameter", message) for message in refusals))
    ending = make(clock, service, save=records.save).attempt(EXPERIMENT, claim(clock), None)
    if places is None:
        assert isinstance(ending, Refused)
        assert ending.error.message.startswith(f"paiautoml CreateHpoExperiment: {refusals[-1]}")
        return
    assert isinstance(ending, Created)
    (saved,) = records.saved
    assert (saved.tagged, saved.described, saved.generation) == (*places, 1)
    body, options = service.creates[-1]
    assert ("Tag" in body, "Description" in body) == places
    assert options["nonce"] == create_nonce(KEY, 1)
    (line,) = map(json.loads, lines.getvalue().splitlines())
    setting = "HPOQ_MARKER=" + ("tag" if places[0] else "description")
    assert line["event"] == "marker.refused"
    assert line["advice"].endswith(setting)


@pytest.mark.parametrize(
    ("in_tag", "in_description", "message"),
    [(False, True, "invalid Tag"), (True, False, "invalid Description")],
)
def test_a_member_without_a_marker_of_ours_is_the_request_s_own(clock, in_tag, in_description, message):
    """A refused member that carries no marker is what the producer wrote: the request is refused."""
    service = Service(clock, error(Invalid, "InvalidParameter", message))
    creator = make(clock, service, in_tag=in_tag, in_description=in_description)
    made = claim(clock, tagged=in_tag, described=in_description)
    assert isinstance(creator.attempt(EXPERIMENT, made, None), Refused)
    assert len(service.creates) == 1


LONG_MARKER = (
    "; hpoq adds 49 characters to the description, by which it finds the experiment again: shorten the description "
    "by as many, or use fewer than 20 tags"
)


@pytest.mark.parametrize(
    ("in_tag", "in_description", "message", "advice"),
    [
        (False, True, "Description is too long", LONG_MARKER),
        (False, True, "Name is too long", ""),
        (True, False, "Description is too long", ""),
    ],
)
def test_a_description_that_the_marker_makes_too_long_is_explained(
    clock, in_tag, in_description, message, advice
):
    """The producer learns how many characters the marker needs, where it may be the reason of the refusal."""
    service = Service(clock, error(Invalid, "InvalidParameter", message))
    creator = make(clock, service, in_tag=in_tag, in_description=in_description)
    ending = creator.attempt(EXPERIMENT, claim(clock, tagged=in_tag, described=in_description), None)
    assert ending.error.message == f"paiautoml CreateHpoExperiment: {message} (request r-9){advice}"


def test_a_denial_moves_no_marker(clock):
    """Only a refusal of the request's content can be about the marker, whatever words another one has."""
    service = Service(clock, error(Denied, "Forbidden.RAM", "no permission to add tags"))
    ending = make(clock, service).attempt(EXPERIMENT, claim(clock), None)
    assert isinstance(ending, Postponed)
    assert (ending.claim.tagged, len(service.creates)) == (True, 1)


def test_a_denied_create_needs_an_operator(clock):
    """A fault that lasts until an operator fixes it is logged with its code."""
    lines = io.StringIO()
    logs.configure("ERROR", lines)
    ending = make(clock, Service(clock, error(Denied, "Forbidden.RAM"))).attempt(
        EXPERIMENT, claim(clock), None
    )
    assert isinstance(ending, Postponed)
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["event"], line["code"], line["cloud_request_id"]) == (
        "operator.needed",
        "Forbidden.RAM",
        "r-9",
    )
