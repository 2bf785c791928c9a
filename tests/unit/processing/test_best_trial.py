"""The best trial of an experiment that has ended, from what the service lists."""

import pytest

from hpoq.clock import Budget
from hpoq.cloud.experiments import Experiment
from hpoq.cloud.trials import Trial, TrialPage
from hpoq.processing.watch import Watcher, _leads_with_best
from hpoq.processing.watchorder import WatchOrder, WatchSchedule
from hpoq.testing import FakeClock


@pytest.mark.parametrize(
    ("metrics", "is_sorted"), [([0.9, 0.5], True), ([0.5, 0.9], False), ([0.5, 0.5], False), ([], False)]
)
def test_two_metrics_in_order_show_that_a_page_is_sorted(metrics, is_sorted):
    """Equal metrics show nothing: the service may ignore the order."""
    trials = tuple(Trial(f"t{n}", "SUCCEEDED", metric, None) for n, metric in enumerate(metrics))
    assert _leads_with_best(trials, "DESC") is is_sorted


class Service:
    """A client whose experiment has ended with `trials`; it records how trials were sorted."""

    def __init__(self, trials, total=None):
        self.trials, self.total, self.orders = tuple(trials), total, []

    def get_hpo_experiment(self, experiment_id, *, budget):
        counts = (("FINISHED", len(self.trials)),)
        return Experiment(
            experiment_id, None, None, None, None, "FINISHED", (), None, deleted=False, trials=counts
        )

    def list_hpo_trials(self, experiment_id, *, page_number, page_size, order=None, budget):
        self.orders.append(order)
        return TrialPage(self.total or len(self.trials), self.trials if page_number == 1 else ())


class NoNotes:
    """Nobody stopped the experiment."""

    def find(self, experiment_id):
        return None


def end(service, mode="maximize"):
    clock = FakeClock()
    watcher = Watcher(service, NoNotes(), clock, WatchSchedule(60, 1800, 1e9), 15.0)
    return watcher.look(WatchOrder("k", "s1", clock.now() - 100, mode), Budget(clock))


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


def test_hyperparameters_that_are_too_large_are_left_out():
    """An event is bounded: large hyperparameters are replaced by a warning."""
    ended = end(Service([trial("a", 1.0, x="x" * 20_000)]))
    assert "hyperparameters" not in ended.own["bestTrial"]
    assert [warning.rule for warning in ended.warnings] == ["best-trial.too-large"]


def test_secrets_in_hyperparameters_are_masked():
    """A credential that is part of a choice is not published."""
    command = "odpscmd -p EXAMPLE-SECRET-VALUE --access-key=EXAMPLE-SECRET-VALUE"
    shown = end(Service([trial("a", 1.0, cmd=command, n=3)])).own["bestTrial"]["hyperparameters"]
    assert "EXAMPLE-SECRET-VALUE" not in str(shown)
    assert shown["n"] == 3
