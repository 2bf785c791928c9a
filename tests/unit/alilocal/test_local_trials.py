"""Trials as a function of time: their statuses agree with each other after any sequence of calls."""

from hypothesis import given
from hypothesis import strategies as st
from localwire import CONFIGURATION, StandingTime

import alilocal
from alilocal.paiautoml.model import Draft, Update
from alilocal.paiautoml.triallogs import experiment_log
from alilocal.trials.space import sample

ENDED = {"SUCCEEDED", "FAILED", "USER_CANCELED", "SYS_CANCELED"}
SECONDS = st.integers(0, 20) | st.floats(0, 20)
MOVES = st.sampled_from(["wait", "stop", "fail", "stop trial", "fail trial", "rerun", "update"])


def experiment(cloud, **yml):
    configuration = {**CONFIGURATION, "yml_config": yml}
    store = cloud.services.paiautoml.experiments
    return store.create(Draft("e", None, None, "PRIVATE", (), configuration), cloud.account_id)


def searching(experiment, choice):
    """Return an update with one value to choose."""
    space = {"${lr}": {"_type": "choice", "_value": [choice]}}
    return Update(None, None, None, None, None, {**experiment.configuration, "search_space": space})


@given(
    st.lists(st.tuples(MOVES, SECONDS, st.integers(0, 5)), max_size=12), st.integers(1, 30), st.integers(1, 6)
)
def test_the_facts_about_trials_agree(moves, number, at_once):
    """Whatever is stopped, failed or rerun: ends are final, ids stay, and nothing runs after the experiment."""
    clock = StandingTime()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        one = experiment(cloud, max_trial_number=number, trial_concurrency=at_once)
        seen = {}
        for move, seconds, sequence in moves:
            clock.moment += seconds
            {
                "wait": lambda: None,
                "stop": one.stop,
                "fail": one.fail,
                "stop trial": lambda number=sequence: one.stop_trial(number),
                "fail trial": lambda number=sequence: one.fail_trial(number),
                "rerun": lambda: one.rerun({"${lr}": 1}),
                "update": lambda number=sequence: one.update(searching(one, number)),
            }[move]()
            trials = one.trials
            assert trials == one.trials
            assert [trial.created for trial in trials if trial.created > clock.moment] == []
            reported = {trial.trial_id: trial for trial in trials}
            assert len(reported) == len(trials)
            for trial_id, before in seen.items():
                assert reported[trial_id].hyperparameters == before.hyperparameters
                if before.status in ENDED:
                    assert reported[trial_id] == before
            over = one.status in ("FINISHED", "FAILED", "TERMINATING", "USER_CANCELED")
            assert not over or {trial.status for trial in trials} <= ENDED
            planned = [trial for trial in trials if trial.sequence < 1000]
            assert len(planned) <= number
            assert sum(trial.status in ("WAITING", "RUNNING") for trial in planned) <= at_once
            seen = reported


def test_the_log_of_an_experiment_has_what_happened_in_order():
    """A trial that waits has no status in the log yet."""
    clock = StandingTime()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        one = experiment(cloud, max_trial_number=3, trial_concurrency=1)
        while not one.trials:
            clock.moment += 1
        assert [trial.status for trial in one.trials] == ["WAITING"]
        assert "Trial job" not in experiment_log(one, "nnimanager.log")[-1]
        clock.moment += 1000
        lines = experiment_log(one, "nnimanager.log")
    assert [line[:21] for line in lines] == sorted(line[:21] for line in lines)
    assert sum("Trial job" in line for line in lines) == 3


@given(st.integers(1, 2000), st.integers(1, 50))
def test_an_undisturbed_experiment_completes_all_trials(number, at_once):
    """An undisturbed experiment has all its trials, and all succeed."""
    clock = StandingTime()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        one = experiment(cloud, max_trial_number=number, trial_concurrency=at_once)
        clock.moment += 60
        assert one.status == "FINISHED"
        assert [trial.status for trial in one.trials] == ["SUCCEEDED"] * min(number, 1000)


KINDS = "choice randint uniform quniform loguniform qloguniform normal qnormal lognormal qlognormal nonsense"
VALUES = st.one_of(st.integers(-3, 9), st.floats(), st.text(max_size=2), st.none(), st.booleans())
SPEC = st.fixed_dictionaries(
    {"_type": st.sampled_from(KINDS.split(" ")), "_value": st.lists(VALUES, max_size=4)}
)
SPECS = st.dictionaries(st.text(max_size=3), SPEC | st.none(), max_size=4)


@given(SPECS, st.text(max_size=4))
def test_any_space_can_be_drawn_from(space, seed):
    """An invalid parameter of a search space is skipped, as NNI only logs it."""
    assert set(sample(space, seed)) <= set(space)
    assert repr(sample(space, seed)) == repr(sample(space, seed))


def test_a_nested_choice_gives_its_branch():
    space = {
        "${m}": {"_type": "choice", "_value": [{"_name": "a", "${d}": {"_type": "choice", "_value": [3]}}]}
    }
    assert sample(space, "s") == {"${m}": "a", "${d}": 3}


def test_any_number_of_trials_at_once_is_taken(cloud):
    """A concurrency beyond every number of trials runs all of them at once."""
    one = experiment(cloud, max_trial_number=3, trial_concurrency=10**400)
    cloud.clock.advance(60)
    assert len(one.trials) == 3
