"""A look at an experiment that is followed: its end, its best trial, its guard, and what a failed call means."""

import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from hpoq.clock import Budget
from hpoq.cloud.experiments import Experiment
from hpoq.cloud.trials import Trial, TrialPage
from hpoq.errors import Conflict, Denied, Invalid, NotFound, NoTimeLeft, Throttled, Unavailable, UnknownEnd
from hpoq.processing.watch import Watcher, _leads_with_best
from hpoq.processing.watchorder import MOVED, CheckAgain, Ended, GuardLimits, WatchOrder, WatchSchedule
from hpoq.testing import FakeClock

MAX_AGE = 1e6
BUDGET = Budget.lasting(1000.0, FakeClock())
GUARD = GuardLimits(max_failed_trials=2, target_metric=0.5)


@pytest.mark.parametrize(
    ("metrics", "is_sorted"),
    [
        ([0.9, 0.5], True),
        ([0.5, 0.9], False),
        ([0.5, 0.5], False),
        ([], False),
        ([0.9, None, 0.5], True),
        ([0.5, None], False),
    ],
)
def test_two_metrics_in_order_show_that_a_page_is_sorted(metrics, is_sorted):
    """Equal metrics show nothing: the service may ignore the order. Neither do trials that cannot be the best."""
    trials = [Trial(f"t{n}", "SUCCEEDED", metric, None) for n, metric in enumerate(metrics)]
    failed = [Trial("failed", "FAILED", metric, None) for metric in (0.1, 0.2)]
    assert _leads_with_best((*trials, *failed), "DESC") is is_sorted
    ascending = tuple(replace(one, metric=one.metric and -one.metric) for one in trials)
    assert _leads_with_best(ascending, "ASC") is is_sorted


class Service:
    """A client with one experiment and the trials `rows`, which notes every call.

    `counts` says whether the experiment states the numbers of its trials. A stop answers with `stopped`. `errors` are
    raised by operation.
    """

    def __init__(self, rows=(), total=None, *, counts=True, stopped=None, errors=None, **members):
        self.rows, self.total, self.stopped = tuple(rows), total, stopped
        self.errors, self.calls, self.budget = errors or {}, [], BUDGET
        self.ahead = 0.0
        numbers = tuple((one.status, 1) for one in self.rows)
        self.experiment = Experiment(
            "s1",
            None,
            None,
            None,
            **{
                "status": "FINISHED",
                "tags": (),
                "created_at": None,
                "deleted": False,
                "trials": numbers if counts else None,
                **members,
            },
        )

    @property
    def orders(self):
        return [call[2] for call in self.calls if call[0] == "trials"]

    def _note(self, budget, operation, *details):
        assert budget is self.budget, "every call keeps to the time of the message"
        self.calls.append((operation, *details))
        if operation in self.errors:
            raise self.errors[operation]

    def present_time(self):
        return CLOCK.now() - self.ahead

    def get_hpo_experiment(self, experiment_id, *, budget):
        self._note(budget, "get", experiment_id)
        return self.experiment

    def list_hpo_experiments(self, *, page_number, page_size, budget):
        self._note(budget, "list", page_number, page_size)

    def list_hpo_trials(self, experiment_id, *, page_number, page_size, order=None, budget):
        assert (experiment_id, page_size) == ("s1", 100)
        self._note(budget, "trials", page_number, order)
        if order is not None and "sorted" in self.errors:
            raise self.errors["sorted"]
        first = page_size * (page_number - 1)
        return TrialPage(self.total or len(self.rows), self.rows[first : first + page_size])

    def stop_hpo_experiment(self, experiment_id, *, budget):
        self._note(budget, "stop", experiment_id)
        return self.stopped


class Notes:
    """Who stops the experiment, as it is noted."""

    def __init__(self, note=None):
        self.note = note

    def add(self, experiment_id, stopped_by):
        assert experiment_id == "s1"
        self.note = stopped_by

    def withdraw(self, experiment_id, stopped_by):
        assert (experiment_id, stopped_by) == ("s1", self.note)
        self.note = None

    def find(self, experiment_id):
        assert experiment_id == "s1"
        return self.note


CLOCK = FakeClock()


def watch(service, notes=None):
    return Watcher(service, notes or Notes(), CLOCK, WatchSchedule(60, 1800, MAX_AGE), 15.0)


def make_order(age=100, mode="maximize", **members):
    return WatchOrder("k", "s1", CLOCK.now() - age, mode, **members)


def end(service, mode="maximize", notes=None):
    return watch(service, notes).check(make_order(mode=mode), service.budget)


def look(service, age=100, notes=None, **order):
    return watch(service, notes).check(make_order(age, **order), service.budget)


def trial(name, metric, status="SUCCEEDED", **values):
    return Trial(name, status, metric, values or None)


@pytest.mark.parametrize("status", ["FAILED", "USER_CANCELED", "SYS_CANCELED", "RUNNING", "WAITING"])
def test_a_trial_that_did_not_succeed_is_not_the_best(status):
    """A metric of a trial that failed, was cancelled or has not ended does not count."""
    ended = end(Service([trial("a", 1.0), trial("b", 9.0, status)]))
    assert ended.own["bestTrial"]["trialId"] == "a"
    assert ended.own["trials"] == {"SUCCEEDED": 1, status: 1}


@pytest.mark.parametrize("status", ["SUCCEEDED", "FINISHED", "EARLY_STOPPED"])
def test_either_name_of_success_counts(status):
    """The documentation names success in two ways, and a trial that was stopped early has a final metric."""
    assert end(Service([trial("a", 1.0), trial("b", 9.0, status)])).own["bestTrial"]["trialId"] == "b"


def test_without_a_metric_there_is_no_best_trial():
    """An experiment none of whose trials has a final metric has no best trial."""
    for mode in ("maximize", None):
        own = end(Service([trial("a", None), trial("b", 9.0, "FAILED")]), mode).own
        assert "bestTrial" not in own
        assert "bestTrialByMode" not in own


def test_of_equal_trials_the_same_one_is_always_the_best():
    """The choice does not depend on the order of the listing."""
    rows = [trial("b", 1.0), trial("a", 1.0)]
    assert end(Service(rows)).own["bestTrial"]["trialId"] == "a"
    assert end(Service(rows[::-1])).own["bestTrial"]["trialId"] == "a"


def test_a_direction_that_makes_no_difference_is_not_missed():
    """If all metrics are equal, the best trial needs no direction and no warning."""
    ended = end(Service([trial("b", 1.0), trial("a", 1.0)]), None)
    assert ended.own["bestTrial"]["metric"] == 1.0
    assert ended.warnings == ()


@pytest.mark.parametrize(
    ("mode", "orders"), [("maximize", ["DESC"]), ("minimize", ["ASC"]), (None, ["DESC", "ASC"])]
)
def test_the_best_trials_come_first(mode, orders):
    """Trials are listed in the stated direction, or in both if none is stated."""
    service = Service([trial("a", 1.0), trial("b", 2.0)])
    end(service, mode)
    assert service.orders == orders


def test_trials_that_are_missing_are_reported():
    """If the service counts more trials than it lists, the result says so."""
    ended = end(Service([trial("a", 1.0)], total=5))
    assert [warning.rule for warning in ended.warnings] == ["trials.incomplete"]


def test_hyperparameters_that_the_service_does_not_state_are_left_out():
    """The trial is known by its id."""
    assert end(Service([trial("a", 1.0)])).own["bestTrial"] == {"trialId": "a", "metric": 1.0}


def test_hyperparameters_that_are_too_large_are_left_out():
    """An event is bounded: large hyperparameters are replaced by a warning."""
    ended = end(Service([trial("a", 1.0, x="x" * 20_000)]))
    assert "hyperparameters" not in ended.own["bestTrial"]
    assert [warning.rule for warning in ended.warnings] == ["best-trial.too-large"]


def test_hyperparameters_that_are_not_finite_are_shown_as_text():
    """JSON has no such numbers, and the event must be published all the same."""
    drawn = trial("a", 1.0, x=math.nan, y=[math.inf, -math.inf], z=0.5)
    shown = end(Service([drawn])).own["bestTrial"]["hyperparameters"]
    assert shown == {"x": "NaN", "y": ["Infinity", "-Infinity"], "z": 0.5}


def test_secrets_in_hyperparameters_are_masked():
    """A credential that is part of a choice is not published."""
    command = "odpscmd -p EXAMPLE-SECRET-VALUE --access-key=EXAMPLE-SECRET-VALUE"
    shown = end(Service([trial("a", 1.0, cmd=command, n=3)])).own["bestTrial"]["hyperparameters"]
    assert "EXAMPLE-SECRET-VALUE" not in str(shown)
    assert shown["n"] == 3


def test_hyperparameters_that_cannot_be_shown_without_a_secret_are_left_out():
    """Masking a secret that is also a number leaves no JSON."""
    shown = end(Service([trial("a", 1.0, password="4711", n=4711)])).own["bestTrial"]
    assert shown == {"trialId": "a", "metric": 1.0}


@pytest.mark.parametrize(("size", "is_shown"), [(16_000, True), (16_001, False)])
def test_how_large_hyperparameters_may_be(size, is_shown):
    """An event has to fit into a message with all else that it has."""
    ended = end(Service([trial("a", 1.0, x="x" * (size - len('{"x": ""}')))]))
    assert ("hyperparameters" in ended.own["bestTrial"]) == is_shown
    assert [(one.pointer, one.rule) for one in ended.warnings] == [("", "best-trial.too-large")] * (
        not is_shown
    )


def test_what_the_service_calls_things_is_cut():
    """Texts whose length is not documented do not make an event too large."""
    ended = end(Service([trial("a" * 300, 1.0, "S" * 300)]))
    assert ended.own["bestTrial"]["trialId"] == "a" * 200
    assert ended.own["trials"] == {"S" * 200: 1}
    many = [trial(f"t{n}", 1.0, f"S{max(n, 4)}") for n in range(30)]
    counts = end(Service(many)).own["trials"]
    assert (len(counts), counts["S4"], counts["OTHER"], sum(counts.values())) == (21, 5, 6, 30)
    assert "OTHER" not in end(Service(many[:24])).own["trials"]
    own = [trial(f"o{n}", 1.0, "OTHER") for n in range(2)]
    assert end(Service([*many, *own])).own["trials"]["OTHER"] == 9
    deleted = look(Service(status="S" * 300, deleted=True))
    assert deleted.own["lastStatus"] == "S" * 200


def test_the_times_of_an_experiment_are_shown_in_whole_seconds():
    """Other times of events are shown in UTC, too. A time that the service does not state is left out."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_000, timezone.utc)
    service = Service(created_at=moment, modified_at=moment + timedelta(hours=1))
    own = end(service).own
    assert (own["startedAt"], own["endedAt"]) == ("2026-01-02T03:04:05Z", "2026-01-02T04:04:05Z")
    assert end(Service()).own.keys() == {"status", "trials"}


@pytest.mark.parametrize(
    ("status", "note", "shown"),
    [
        ("USER_CANCELED", "guard:maxHours", {"stoppedBy": "guard", "limit": "maxHours"}),
        ("EARLY_STOPPED", "request", {"stoppedBy": "request"}),
        ("SYS_CANCELED", "request", {"stoppedBy": "request"}),
        ("USER_CANCELED", None, {}),
        ("FINISHED", "request", {}),
    ],
)
def test_who_stopped_an_experiment(status, note, shown):
    """Only an end to which a stop can lead is ascribed to whoever asked for one."""
    own = end(Service(status=status), notes=Notes(note)).own
    assert own == {"status": status, "trials": {}, **shown}


def test_the_warning_of_a_missing_direction_points_to_its_member():
    """It is where the request would state it."""
    ended = end(Service([trial("a", 1.0), trial("b", 2.0)]), None)
    assert {mode: one["metric"] for mode, one in ended.own["bestTrialByMode"].items()} == {
        "maximize": 2.0,
        "minimize": 1.0,
    }
    ((warning),) = ended.warnings
    assert (warning.pointer.rpartition("/")[2], warning.rule) == ("optimize_mode", "best-trial.ambiguous")


def test_how_many_trials_are_missing_is_said():
    """The numbers are those that are listed and those that are counted."""
    ((warning),) = end(Service([trial("a", 1.0)], total=5)).warnings
    assert (warning.pointer, warning.message.partition(" trials")[0]) == ("", "1 of 5")


def test_a_listing_without_a_direction_costs_one_more_page():
    """All pages are read in one direction; the best of the other one is on its first page."""
    service = Service([trial(f"{number:03}", float(number)) for number in range(150)], status="FAILED")
    end(service, None)
    assert service.calls == [
        ("get", "s1"),
        ("trials", 1, "DESC"),
        ("trials", 2, "DESC"),
        ("trials", 1, "ASC"),
    ]


def test_the_best_of_either_direction_is_shown_if_only_one_page_is_listed():
    """A service may list no more than its first page, in whichever order it is asked for."""
    rows = [trial(f"{number:03}", float(number)) for number in range(150)]
    service = Service(rows)

    def list_first_page(_experiment, *, page_number, page_size, order, budget):
        shown = rows[:page_size] if order == "ASC" else rows[: -page_size - 1 : -1]
        return TrialPage(len(rows), tuple(shown) if page_number == 1 else ())

    service.list_hpo_trials = list_first_page
    ended = end(service, None)
    assert [best["metric"] for best in ended.own["bestTrialByMode"].values()] == [149.0, 0.0]
    assert ended.own["trials"] == {"SUCCEEDED": 150}


@pytest.mark.parametrize(("total", "shown"), [(5000, "400 of 5000 trials"), (100, "400 of 400 trials")])
def test_a_third_of_the_time_is_kept_while_trials_are_listed(total, shown):
    """The result has to be saved and published afterwards. A service may count the trials of each page alone."""
    clock = FakeClock()
    rows = [trial(f"{number:04}", 1.0) for number in range(1000)]
    service = Service(rows, total, counts=False)
    service.budget = Budget.lasting(90, clock)
    read = service.list_hpo_trials

    def read_slowly(*arguments, **options):
        clock.advance(15)
        return read(*arguments, **options)

    service.list_hpo_trials = read_slowly
    assert end(service).warnings[0].message.startswith(shown)


def test_a_page_that_is_not_sorted_is_read_like_any_other():
    """A service that refuses the order lists without it."""
    refused = Invalid("order", service="paiautoml", operation="ListHpoTrials", http_status=400)
    service = Service(
        [trial(f"{number:03}", float(number)) for number in range(101)], errors={"sorted": refused}
    )
    assert end(service).own["bestTrial"]["metric"] == 100.0
    assert service.calls[1:] == [
        ("trials", 1, "DESC"),
        ("trials", 1, None),
        ("trials", 2, "DESC"),
        ("trials", 2, None),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_a_clock_that_is_ahead_does_not_end_the_following(fails):
    """An answer that shows how far the clock is ahead corrects the age of the experiment."""
    failed = Denied("expired", service="paiautoml", operation="GetHpoExperiment", http_status=400)
    service = Service(status="RUNNING", errors={"get": failed} if fails else {})
    service.ahead = MAX_AGE
    assert isinstance(look(service, MAX_AGE + 100), CheckAgain)


@pytest.mark.parametrize(
    ("age", "before", "goes_on"), [(MAX_AGE, 3599, True), (MAX_AGE, 3600, False), (MAX_AGE - 1, 3600, True)]
)
def test_a_date_long_before_the_creation_does_not_keep_up_the_following(age, before, goes_on):
    """It is wrong; by it, the experiment would be followed for ever. The function's own clock says the age then."""
    service = Service(status="RUNNING")
    service.ahead = age + before
    assert isinstance(look(service, age), CheckAgain) == goes_on


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(("age", "goes_on"), [(MAX_AGE - 1, True), (MAX_AGE, False)])
def test_the_greatest_age_ends_the_following(age, goes_on, fails):
    """It is the only end of an experiment that runs, or whose looks fail, for ever; the log names it."""
    failed = Throttled("later", service="paiautoml", operation="GetHpoExperiment", http_status=429)
    service = Service(status="RUNNING", errors={"get": failed} if fails else {})
    with capture_logs() as lines:
        found = look(service, age, last_status="WAITING")
    assert isinstance(found, CheckAgain) == goes_on
    given_up = [line for line in lines if line["event"] == "watch.given-up"]
    assert [line["experiment_id"] for line in given_up] == ["s1"] * (not goes_on)
    if not goes_on:
        last = "WAITING" if fails else "RUNNING"
        assert found.own == {"status": "UNKNOWN", "trials": {}, "lastStatus": last}


@pytest.mark.parametrize(
    ("operation", "status", "late_by", "goes_on"),
    [
        ("get", None, 2 * 86_400 + 1, True),
        ("get", None, 2 * 86_400, False),
        ("get", 429, 2 * 86_400 + 1, False),
        ("trials", None, 2 * 86_400 + 1, False),
    ],
)
def test_no_clock_alone_ends_the_following_long_after_the_greatest_age(operation, status, late_by, goes_on):
    """It may be far ahead. The age is noticed within days, and an answer of the service has a date."""
    failed = Throttled("no", service="paiautoml", operation="any", http_status=status)
    found = look(Service(errors={operation: failed}), MAX_AGE + late_by)
    assert isinstance(found, CheckAgain) == goes_on


@pytest.mark.parametrize(("age", "goes_on"), [(MAX_AGE - 1, True), (MAX_AGE, False)])
@pytest.mark.parametrize("error", [Denied, NotFound])
def test_an_end_whose_trials_cannot_be_listed_is_published_at_the_greatest_age(error, age, goes_on):
    """The status is known, so the result says how it ended and not that this is unknown, or that it was deleted."""
    failed = error(
        "no", service="paiautoml", operation="ListHpoTrials", code="INVALID_USER_OR_EXP", http_status=400
    )
    service = Service(status="EARLY_STOPPED", errors={"trials": failed}, counts=False)
    found = look(service, age, Notes("guard:maxHours"))
    assert isinstance(found, CheckAgain) == goes_on
    if not goes_on:
        stop = {"stoppedBy": "guard", "limit": "maxHours"}
        assert found.own == {"status": "EARLY_STOPPED", "trials": {}, **stop}
        (warning,) = found.warnings
        assert (warning.rule, warning.message) == ("trials.incomplete", "the trials could not be listed")


GONE = NotFound(
    "none", service="paiautoml", operation="GetHpoExperiment", code="INVALID_USER_OR_EXP", http_status=400
)
OTHERWISE_GONE = NotFound(
    "none", service="paiautoml", operation="GetHpoExperiment", code="X", http_status=404
)
NOT_KNOWN = Denied(
    "who?", service="paiautoml", operation="GetHpoExperiment", code="INVALID_USER_OR_EXP", http_status=403
)
DENIED = Denied("no", service="paiautoml", operation="ListHpoExperiments", http_status=403)


@pytest.mark.parametrize(
    ("error", "age", "missing_for", "listing", "is_deleted"),
    [
        (GONE, 15, 15, None, True),
        (GONE, 14.9, 15, None, False),
        (GONE, 100, 14.9, None, False),
        (GONE, 100, 0, None, False),
        (GONE, 100, None, None, False),
        (GONE, 100, -3600, None, True),
        (GONE, MAX_AGE, None, None, True),
        (GONE, 15, 15, DENIED, False),
        (OTHERWISE_GONE, 15, 15, None, False),
        (NOT_KNOWN, 15, 15, None, False),
    ],
)
def test_when_an_experiment_counts_as_deleted(error, age, missing_for, listing, is_deleted):
    """The service says so in the documented way, twice, to somebody whom it knows, about one that must be visible.

    A clock that was ahead at the first time keeps nothing.
    """
    service = Service(errors={"get": error, **({"list": listing} if listing else {})})
    missing_since = None if missing_for is None else CLOCK.now() - missing_for
    with capture_logs() as lines:
        found = look(service, age, last_status="RUNNING", missing_since=missing_since)
    if is_deleted:
        assert found.own == {"status": "DELETED", "trials": {}, "lastStatus": "RUNNING"}
    else:
        assert isinstance(found, CheckAgain)
        is_noted = error is GONE and age >= 15 and listing is None
        noted = CLOCK.now() if is_noted and missing_since is None else missing_since
        assert found.order.missing_since == noted
    assert service.calls in ([("get", "s1")], [("get", "s1"), ("list", 1, 1)])
    if listing:
        assert "ListHpoExperiments" in lines[0]["error"]


def test_an_experiment_that_is_seen_again_is_not_missing():
    """Only answers that follow one another show that it was deleted."""
    found = look(Service(status="RUNNING"), missing_since=CLOCK.now() - 60)
    assert (isinstance(found, CheckAgain), found.order.missing_since) == (True, None)


HERE, THERE = "https://here", "https://there"


@pytest.mark.parametrize(
    ("error", "place", "age", "is_waiting"),
    [
        (GONE, THERE, 100, True),
        (GONE, THERE, MAX_AGE, False),
        (GONE, HERE, 100, False),
        (GONE, None, 100, False),
        (DENIED, THERE, 100, False),
        (OTHERWISE_GONE, THERE, 100, False),
    ],
)
def test_an_experiment_that_only_another_endpoint_knows_is_waited_for(error, place, age, is_waiting):
    """An operator is told to set the endpoint back; meanwhile no answer of the present one counts as an end."""
    watcher = Watcher(Service(errors={"get": error}), Notes(), CLOCK, watch(None).schedule, 15.0, HERE)
    with capture_logs() as lines:
        found = watcher.check(make_order(age, place=place), BUDGET)
    assert (isinstance(found, CheckAgain) and found.error == MOVED) is is_waiting
    assert [line["place"] for line in lines if line.get("code") == MOVED.code] == [THERE] * is_waiting
    if is_waiting:
        assert (found.order.experiment_id, found.delay) == ("s1", 60)


def test_an_experiment_is_looked_at_once_in_an_invocation():
    """Several messages about it share what the service answered, also if that was an error."""
    for errors in ({}, {"get": DENIED}):
        service = Service(status="RUNNING", errors=errors)
        watcher = watch(service)
        first, second = (watcher.check(make_order(), BUDGET) for _ in range(2))
        assert first == second
        assert service.calls == [("get", "s1")]


@pytest.mark.parametrize(
    ("kind", "event"),
    [(Denied, "operator.needed"), (Invalid, "operator.needed"), (Throttled, "watch.look-failed")],
)
def test_a_failed_look_is_repeated_and_says_who_must_act(kind, event):
    """A call that is refused for good would be refused again, until somebody acts."""
    error = kind("no", service="paiautoml", operation="GetHpoExperiment", code="C", http_status=400)
    with capture_logs() as lines:
        found = look(Service(errors={"get": error}))
    assert (found.error.code, found.error.retryable) == ("C", True)
    assert [(line["event"], line["experiment_id"]) for line in lines] == [(event, "s1")]
    assert "GetHpoExperiment" in lines[0]["error"]


def test_an_experiment_that_goes_on_is_looked_at_again():
    """The next message says when it is due, and what the service said last."""
    found = look(Service(status="RUNNING"), age=1000)
    assert (found.delay, found.error) == (150, None)
    assert (found.order.last_status, found.order.next_at) == ("RUNNING", CLOCK.now() + 150)
    assert look(Service(status=None), last_status="WAITING").order.last_status == "WAITING"


@pytest.mark.parametrize(
    ("members", "limit", "calls"),
    [
        ({"trials": (("FAILED", 2),)}, "maxFailedTrials", []),
        ({"trials": (("FAILED", 1), ("SUCCEEDED", 3))}, None, [("trials", 1, "DESC")]),
        ({"trials": None}, "maxFailedTrials", [("trials", 1, "DESC"), ("trials", 2, "DESC")]),
        ({"trials": (("FAILED", 2),), "status": "TERMINATING"}, None, []),
    ],
)
def test_failed_trials_are_counted_with_as_few_calls_as_possible(members, limit, calls):
    """They are listed only if the experiment does not state them; one that is being stopped needs no count."""
    rows = [trial("a", None, "FAILED"), trial("b", None, "FAILED"), trial("c", 0.1)]
    service = Service(rows, **{"status": "RUNNING", **members})
    notes = Notes()
    with capture_logs() as lines:
        found = look(service, notes=notes, guard=GUARD)
    assert isinstance(found, CheckAgain)
    assert [call for call in service.calls if call[0] == "trials"] == calls
    assert notes.note == (limit and f"guard:{limit}")
    assert [line["limit"] for line in lines if line["event"] == "guard.stopped"] == ([limit] if limit else [])


@pytest.mark.parametrize(("stopped", "last_status"), [("TERMINATING", "TERMINATING"), (None, "RUNNING")])
def test_an_experiment_that_its_guard_stops_is_looked_at_soon(stopped, last_status):
    """The end of a stop comes soon, whatever the age of the experiment."""
    service = Service([trial("a", 0.9)], status="RUNNING", stopped=stopped)
    notes = Notes()
    with capture_logs() as lines:
        found = look(service, 10_000, notes, guard=GUARD)
    assert service.calls[-1] == ("stop", "s1")
    assert notes.note == "guard:targetMetric"
    assert (found.delay, found.error) == (60, None)
    assert (found.order.last_status, found.order.next_at) == (last_status, CLOCK.now() + 60)
    assert [(line["event"], line["experiment_id"]) for line in lines] == [("guard.stopped", "s1")]


@pytest.mark.parametrize(
    ("kind", "delay", "note"),
    [
        (Throttled, 60, None),
        (Unavailable, 60, None),
        (NoTimeLeft, 60, None),
        (UnknownEnd, 60, "guard:targetMetric"),
        (Denied, 1500, None),
    ],
)
def test_a_stop_that_may_succeed_at_once_is_tried_again_soon(kind, delay, note):
    """A refusal lasts. Who stops the experiment stays noted only if the stop may have had its effect."""
    failed = kind("later", service="paiautoml", operation="StopHpoExperiment")
    service, notes = Service([trial("a", 0.9)], status="RUNNING", errors={"stop": failed}), Notes()
    found = look(service, 10_000, notes, guard=GUARD)
    assert (notes.note, found.error.code, found.delay) == (note, kind.__name__, delay)


@pytest.mark.parametrize("kind", [Invalid, Conflict])
def test_a_stop_that_the_service_refuses_to_a_guard_is_not_noted(kind):
    """If somebody else stops the experiment later, the guard did not."""
    refused = kind("no", service="paiautoml", operation="StopHpoExperiment", code="C", http_status=400)
    notes = Notes()
    service = Service([trial("a", 0.9)], status="RUNNING", errors={"stop": refused})
    found = look(service, notes=notes, guard=GUARD)
    assert (notes.note, found.error.code) == (None, "C")


@pytest.mark.parametrize("status", ["TERMINATING", "EARLY_STOPPED"])
def test_a_stop_that_is_refused_because_it_had_effect_stays_noted(status):
    """The answer to the first call was lost, and its repetition is refused."""
    refused = Conflict("no", service="paiautoml", operation="StopHpoExperiment", code="C", http_status=400)
    notes = Notes()
    service = Service([trial("a", 0.9)], status="RUNNING", errors={"stop": refused})

    def stop(experiment_id, *, budget):
        service.experiment = replace(service.experiment, status=status)
        raise refused

    service.stop_hpo_experiment = stop
    found = look(service, notes=notes, guard=GUARD)
    assert (notes.note, found.error, found.order.last_status) == ("guard:targetMetric", None, status)


@pytest.mark.parametrize(
    ("metrics", "mode", "pages", "is_reached"),
    [
        ([0.1] * 99, "maximize", 1, False),
        ([0.4] + [0.3] * 149, "maximize", 1, False),
        ([0.3] * 149 + [0.6], "maximize", 4, True),
        ([0.3] * 99 + [0.6], "maximize", 3, True),
        ([0.6] + [0.7] * 149, "minimize", 1, False),
        ([0.7] * 149 + [0.4], "minimize", 4, True),
        ([None] * 3, "maximize", 1, False),
        ([], "maximize", 1, False),
    ],
)
def test_a_guard_reads_all_pages_unless_the_first_one_is_sorted(metrics, mode, pages, is_reached):
    """A page that is not full shows all trials; a full one shows the best one only if it is visibly sorted."""
    rows = [trial(f"{number:03}", metric) for number, metric in enumerate(metrics)]
    service = Service(rows, status="RUNNING", counts=False)
    found = look(service, mode=mode, guard=GuardLimits(target_metric=0.5))
    assert isinstance(found, CheckAgain)
    assert service.orders == ["DESC" if mode == "maximize" else "ASC"] * pages
    assert (("stop", "s1") in service.calls) == is_reached


def test_a_trial_that_is_listed_twice_is_one_trial():
    """Pages of a listing may overlap, and a page may repeat a row."""
    service = Service([trial("a", 0.6), trial("a", 0.6, x=1)], status="RUNNING")
    look(service, guard=GuardLimits(target_metric=0.5))
    assert ("stop", "s1") in service.calls


def test_without_a_guard_nothing_is_listed():
    """An experiment that goes on costs one call."""
    service = Service([trial("a", 0.9)], status="RUNNING")
    look(service)
    look(service, guard=GuardLimits(max_hours=5))
    assert service.calls == [("get", "s1")] * 2


def test_an_experiment_that_is_shown_as_deleted_has_ended():
    """The service has a member for it."""
    found = look(Service(status="RUNNING", deleted=True))
    assert isinstance(found, Ended)
    assert found.own == {"status": "DELETED", "trials": {}, "lastStatus": "RUNNING"}
    assert look(Service(status=None, deleted=True)).own == {"status": "DELETED", "trials": {}}


def test_an_experiment_that_ended_before_it_was_deleted_keeps_its_result():
    """The service still shows its status and its trials."""
    found = look(Service([trial("a", 1.0)], status="FINISHED", deleted=True))
    assert (found.own["status"], found.own["trials"]) == ("FINISHED", {"SUCCEEDED": 1})
