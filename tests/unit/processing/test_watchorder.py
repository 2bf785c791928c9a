"""The pure decisions about an experiment that is followed: its content at rest, its ends, its guard and its pace."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoq.cloud.experiments import Experiment
from hpoq.processing.watchorder import (
    ENDED,
    FORGED,
    UNREADABLE,
    GuardLimits,
    WatchOrder,
    WatchSchedule,
    can_be_followed,
    count_failed,
    decode_order,
    encode_order,
    find_reached_limit,
    has_ended,
    plan_delay,
    read_guard_limits,
)

SCHEDULE = WatchSchedule(60.0, 1800.0, 30 * 86_400.0)
ORDER = WatchOrder("k", "s1", 1000.0)
TEXT = st.none() | st.text(min_size=1, max_size=20)
NUMBERS = st.none() | st.floats(-1e9, 1e9)
LIMITS = st.builds(GuardLimits, NUMBERS, st.none() | st.integers(1, 10**6), NUMBERS)


def experiment(status, **trials):
    return Experiment("s1", None, None, None, status, (), None, deleted=False, trials=tuple(trials.items()))


@given(
    st.builds(
        WatchOrder,
        st.text(max_size=40),
        st.text(max_size=20),
        st.integers(0, 10**9).map(float),
        st.sampled_from([None, "maximize", "minimize"]),
        st.none() | LIMITS,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        st.none() | st.integers(0, 10**9).map(float),
    )
)
def test_an_order_comes_back_as_it_was_written(order):
    """Encoding and decoding lose nothing."""
    assert decode_order(encode_order(order)) == order


def test_the_form_of_an_order_is_pinned():
    """Watch messages wait in their queue while versions change, so their form must not change."""
    order = WatchOrder(
        "k",
        "s1",
        1.5,
        "minimize",
        GuardLimits(2.0, 3, 4.5),
        "M1",
        "p",
        "n",
        "w",
        "00-1-2-01",
        "RUNNING",
        7.25,
        "https://paiautoml.cn-shanghai.aliyuncs.com",
        8.5,
    )
    assert json.loads(encode_order(order)) == {
        "watch": {
            "key": "k",
            "experimentId": "s1",
            "createdAt": 1.5,
            "mode": "minimize",
            "guard": {"maxHours": 2.0, "maxFailedTrials": 3, "targetMetric": 4.5},
            "messageId": "M1",
            "producerKey": "p",
            "name": "n",
            "workspaceId": "w",
            "traceparent": "00-1-2-01",
            "lastStatus": "RUNNING",
            "nextAt": 7.25,
            "place": "https://paiautoml.cn-shanghai.aliyuncs.com",
            "missingSince": 8.5,
        }
    }
    assert json.loads(encode_order(ORDER)) == {
        "watch": {"key": "k", "experimentId": "s1", "createdAt": 1000.0}
    }


def test_an_order_is_written_with_few_characters():
    """Times are exact to the millisecond, and nothing is between members."""
    text = encode_order(WatchOrder("k", "s1", 1.23456, next_at=2.34567))
    assert text == '{"watch":{"key":"k","experimentId":"s1","createdAt":1.235,"nextAt":2.346}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"watch": []}',
        '{"watch": {"key": "k", "experimentId": "s1"}}',
        '{"watch": {"key": 1, "experimentId": "s1", "createdAt": 1}}',
        '{"watch": {"key": "k", "experimentId": 7, "createdAt": 1}}',
        '{"watch": {"key": "k", "experimentId": "s1", "createdAt": true}}',
        '{"watch": {"key": "k", "experimentId": "s1", "createdAt": NaN}}',
        '{"watch": {"key": "k", "experimentId": "s1", "createdAt": 1e999}}',
        '{"watch": {"key": "k", "experimentId": "s1", "createdAt": 1, "mode": "up"}}',
        "[" * 10_000,
    ],
)
def test_anything_else_is_not_an_order(text):
    """Content of another form is not guessed at."""
    assert decode_order(text) is None


UUID = "9619c93e-fafb-5042-80f4-bfc8c78519f2"


@pytest.mark.parametrize(
    ("key", "experiment_id", "is_possible"),
    [
        (UUID, "s1", True),
        (UUID, "", False),
        (UUID, ".", False),
        (UUID, "..", False),
        (UUID, "...", True),
        ("", "s1", False),
        (UUID.upper(), "s1", False),
        (f"{UUID}0", "s1", False),
    ],
)
def test_what_can_be_followed(key, experiment_id, is_possible):
    """An id that means a folder would ask the service for something else."""
    assert can_be_followed(WatchOrder(key, experiment_id, 1.0)) is is_possible


@pytest.mark.parametrize("error", [UNREADABLE, FORGED])
def test_a_wrong_watch_message_is_wrong_for_good(error):
    """Another try of it would find the same."""
    assert (error.code, error.retryable) == ("WatchInvalid", False)
    assert error.message


def test_an_invalid_limit_is_ignored():
    """A guard comes from a valid request, but anybody can write a watch message."""
    assert read_guard_limits({"maxHours": "1", "maxFailedTrials": "2", "targetMetric": True}) == GuardLimits()


def test_what_a_later_version_adds_is_ignored():
    """Unknown members do no harm."""
    assert (
        decode_order('{"watch":{"key":"k","experimentId":"s1","createdAt":1000,"more":[1]},"x":1}') == ORDER
    )


@pytest.mark.parametrize("status", sorted(ENDED))
def test_each_documented_end_is_an_end(status):
    """An experiment with one of these statuses, none of whose trials runs, has ended."""
    assert has_ended(experiment(status, FINISHED=3, FAILED=1))


@pytest.mark.parametrize(
    "status", ["CREATED", "WAITING", "RUNNING", "TERMINATING", "UNKNOWN", None, "", "finished", "DONE"]
)
def test_any_other_status_is_not_an_end(status):
    """Only documented ends count, whatever the trials do."""
    assert not has_ended(experiment(status, FINISHED=3))


@pytest.mark.parametrize("trials", ["RUNNING", "WAITING"])
def test_no_more_trial_waits_for_the_last_trials(trials):
    """NO_MORE_TRIAL alone may be followed by the ends of trials."""
    assert not has_ended(experiment("NO_MORE_TRIAL", FINISHED=3, **{trials: 1}))
    assert has_ended(experiment("NO_MORE_TRIAL", FINISHED=3, **{trials: 0}))
    assert has_ended(experiment("FINISHED", FINISHED=3, **{trials: 1}))
    assert has_ended(replace(experiment("NO_MORE_TRIAL"), trials=None))


def test_failed_trials_are_counted():
    """Trials that were cancelled have not failed."""
    assert count_failed(experiment("RUNNING", FAILED=2, SYS_CANCELED=3)) == 2
    assert count_failed(replace(experiment("RUNNING"), trials=None)) == 0


ALL = GuardLimits(1.0, 2, 0.5)


@pytest.mark.parametrize(
    ("guard", "mode", "age", "failed", "best", "limit"),
    [
        (ALL, "maximize", 3599, 1, 0.49, None),
        (ALL, "maximize", 3600, 1, 0.49, "maxHours"),
        (ALL, "maximize", 3599, 2, 0.49, "maxFailedTrials"),
        (ALL, "maximize", 3599, 1, 0.5, "targetMetric"),
        (ALL, "maximize", 3600, 2, 0.5, "maxHours"),
        (ALL, "minimize", 3599, 1, 0.51, None),
        (ALL, "minimize", 3599, 1, 0.5, "targetMetric"),
        (ALL, "maximize", 3599, 1, None, None),
        (GuardLimits(target_metric=0.0), "minimize", 0, 99, -1.0, "targetMetric"),
        (GuardLimits(max_failed_trials=1), None, 1e9, 0, 1e9, None),
    ],
)
def test_the_first_limit_that_is_reached(guard, mode, age, failed, best, limit):
    """Each limit is reached at its value exactly; of several the first in order is named."""
    assert find_reached_limit(guard, mode, age, failed, best) == limit


@pytest.mark.parametrize(
    ("age", "delay"), [(0, 60), (400, 60), (1000, 150), (12_000, 1800), (10**6, 1800), (-50, 60)]
)
def test_the_delay_grows_with_the_age(age, delay):
    """The delay is 15 % of the age, between the two settings; a clock that is behind does no harm."""
    assert plan_delay(ORDER, SCHEDULE, 1000.0 + age) == pytest.approx(delay)


@given(st.floats(0, 40 * 86_400))
def test_on_average_the_news_comes_within_a_tenth_of_the_duration(age):
    """Half of the distance of two looks is under 10 % of the age at the second one, or it is the least."""
    delay = plan_delay(ORDER, SCHEDULE, 1000.0 + age)
    assert delay <= SCHEDULE.min_seconds or delay / 2 < 0.1 * (age + delay)


@pytest.mark.parametrize(
    ("hours", "age", "delay"),
    [(5, 17_000, 1000), (5, 17_990, 10), (5, 17_999.9, 1), (5, 18_000, 1800), (0.01, 0, 36), (0.01, -50, 36)],
)
def test_a_look_is_planned_at_the_end_of_the_hours(hours, age, delay):
    """The next look is not after the end of a guard's hours."""
    order = replace(ORDER, guard=GuardLimits(max_hours=hours))
    assert plan_delay(order, SCHEDULE, 1000.0 + age) == pytest.approx(delay)


def test_a_look_is_planned_at_the_greatest_age():
    """An experiment is given up when its greatest age is reached, not half an hour later."""
    assert plan_delay(ORDER, SCHEDULE, 1000.0 + SCHEDULE.max_age - 100) == pytest.approx(100)
