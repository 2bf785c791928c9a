"""The progress of trials, and the line with a result, of `hpoq send --wait finished`."""

import json

import click
import pytest
from rich.console import Console
from rich.progress import Progress

from hpoq.cloud.experiments import read_experiment
from hpoq.errors import Denied
from hpoq.producer import SentRequest
from hpoq.settings import Settings
from hpoqctl import send
from hpoqctl.following import (
    ENDS,
    TrialProgress,
    WaitCommand,
    find_experiments,
    format_finished,
    is_good_result,
)
from hpoqctl.inbox import Answers
from hpoqctl.services import find_target
from support.request import make_document


class Service:
    """PAI AutoML as far as the bar asks it: the number of trials by status, for each experiment."""

    def __init__(self, counts):
        self.counts = counts
        self.asked = []

    def get_hpo_experiment(self, experiment_id, *, budget):
        assert budget.seconds_left() <= 5
        self.asked.append(experiment_id)
        if experiment_id not in self.counts:
            raise Denied("m", service="s", operation="o")
        return read_experiment({"ExperimentId": experiment_id, "TrialStatus": self.counts[experiment_id]})


def event(outcome, key, **own):
    return {
        "type": f"com.hpoq.experiment.{outcome}.v1",
        "data": {"idempotencyKey": key, "messageId": key, **own},
    }


def bar(service, keys, *, shown=True):
    """Return the progress, the answers of messages with these keys, and the bar."""
    progress = Progress(console=Console(file=None, quiet=True), disable=not shown)
    answers = Answers([SentRequest(key, key) for key in keys], to_end=True)
    requests = [json.dumps(make_document(key)).encode() for key in keys]
    return progress, answers, TrialProgress(progress, answers, requests, service)


def state(progress):
    (task,) = progress.tasks
    return task.completed, task.total


def test_the_bar_counts_trials_of_all_experiments():
    """The total is what the requests ask for; trials that have ended count, those that run do not."""
    service = Service({"s1": {"FINISHED": "3", "RUNNING": "2"}, "s2": {"WAITING": "1"}})
    progress, answers, trials = bar(service, ["a", "b"])
    for key, experiment in (("a", "s1"), ("b", "s2")):
        answers.add(event("created", key, experimentId=experiment))
    trials.update()
    assert state(progress) == (3, 20)
    answers.add(event("finished", "a", experimentId="s1", trials={"SUCCEEDED": 7, "FAILED": 1}))
    trials.update()
    assert state(progress) == (8, 18)
    assert service.asked == ["s1", "s2", "s2"]


def test_the_bar_works_without_the_service():
    """Without a client or a permission the bar shows what the events say, and nothing fails."""
    for service in (None, Service({})):
        progress, answers, trials = bar(service, ["a"])
        answers.add(event("created", "a", experimentId="s1"))
        trials.update()
        assert state(progress) == (0, 10)
        answers.add(event("finished", "a", experimentId="s1", trials={"SUCCEEDED": 10}))
        trials.update()
        assert state(progress) == (10, 10)


def test_a_bar_that_is_not_shown_asks_nothing():
    """Where standard error is no terminal, no call is made for the bar."""
    service = Service({"s1": {}})
    _, answers, trials = bar(service, ["a"], shown=False)
    answers.add(event("created", "a", experimentId="s1"))
    trials.update()
    assert service.asked == []


def test_at_most_ten_experiments_are_asked_for_at_a_time():
    """With many experiments their turn comes round, so that a batch does not flood the service."""
    keys = [f"k{number}" for number in range(25)]
    service = Service({key: {"FINISHED": "1"} for key in keys})
    _, answers, trials = bar(service, keys)
    for key in keys:
        answers.add(event("created", key, experimentId=key))
    for _ in range(3):
        trials.update()
    assert len(service.asked) == 30
    assert set(service.asked) == set(keys)


BEST = {"trialId": "t1", "metric": 0.93, "hyperparameters": {"${lr}": 0.1, "${n}": 4}}


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (
            {"status": "FINISHED", "trials": {"SUCCEEDED": 9, "FAILED": 1}, "bestTrial": BEST},
            "FINISHED after 10 trials, best trial t1 with metric 0.93 (lr=0.1  n=4)",
        ),
        (
            {
                "status": "USER_CANCELED",
                "trials": {"SUCCEEDED": 1},
                "stoppedBy": "guard",
                "limit": "maxHours",
            },
            "USER_CANCELED after 1 trial, stopped by guard (maxHours)",
        ),
        ({"status": "DELETED", "trials": {}}, "DELETED after 0 trials"),
        (
            {"status": "FINISHED", "trials": {"SUCCEEDED": 1}, "bestTrialByMode": {"maximize": BEST}},
            "FINISHED after 1 trial, to maximize the metric: best trial t1 with metric 0.93 (lr=0.1  n=4)",
        ),
    ],
)
def test_the_line_of_a_result(own, line):
    (text,) = format_finished(event("finished", "a", **own), None)
    assert text.plain.split("  ", 2)[2].strip() == line


@pytest.mark.parametrize(
    ("status", "is_good"),
    [
        *((status, True) for status in ("FINISHED", "EARLY_STOPPED", "USER_CANCELED", "NO_MORE_TRIAL")),
        *((status, False) for status in ("FAILED", "SYS_CANCELED", "DELETED", "UNKNOWN")),
    ],
)
def test_which_ends_are_good(status, is_good):
    """A stop by a guard or by a request is a good end; a failure is not."""
    assert is_good_result(event("finished", "a", status=status)) is is_good


@pytest.mark.parametrize(
    ("words", "wait", "files"),
    [
        ("--wait a b", "created", ("a", "b")),
        ("a --wait", "created", ("a",)),
        ("--wait finished a", "finished", ("a",)),
        ("a --wait=finished", "finished", ("a",)),
        ("--wait created a", "created", ("a",)),
        ("a", None, ("a",)),
        ("--wait -- finished", "created", ("finished",)),
        ("a -- --wait", None, ("a", "--wait")),
    ],
)
def test_the_value_of_wait_may_be_left_out(words, wait, files):
    """A file of the name `finished` can be given behind `--`."""

    @click.command(cls=WaitCommand)
    @click.argument("paths", nargs=-1)
    @click.option("--wait", type=click.Choice(ENDS))
    def command(paths, wait):
        raise AssertionError

    context = command.make_context("x", words.split())
    assert (context.params["wait"], context.params["paths"]) == (wait, files)


def test_a_missing_result_is_reported():
    """Exit code 1 has its reason: the experiment goes on, and the message says how to look at it."""
    answers = Answers([SentRequest("a", "a"), SentRequest("b", "b")], to_end=True)
    answers.add(event("created", "a", id="1", experimentId="s1"))
    answers.add(event("created", "b", id="2", experimentId="s2"))
    answers.add(event("finished", "b", id="3", experimentId="s2", status="FINISHED", trials={}))
    lines = [line.plain for line in send._format_answer(answers, 0, None)]
    assert "hpoq trials s1 --follow" in lines[-1]
    assert "no result" not in "".join(line.plain for line in send._format_answer(answers, 1, None))
    assert send._summarize(answers, 3.0) == (
        "2 messages sent: 2 created, 1 finished, 1 without a result, in 3.0 s"
    )


@pytest.mark.parametrize(
    ("endpoint", "environ", "host"),
    [
        ("localhost:7600", {}, "localhost:7600"),
        ("http://127.0.0.1:7600", {}, "127.0.0.1:7600"),
        (None, {"HPOQ_SMQ_ENDPOINT": "localhost:7600"}, "localhost:7600"),
        (None, {"HPOQ_SMQ_ENDPOINT": "localhost:1", "HPOQ_PAIAUTOML_ENDPOINT": "localhost:2"}, "localhost:2"),
        ("https://1.mns.cn-shanghai.aliyuncs.com", {}, "paiautoml.cn-shanghai.aliyuncs.com"),
        ("https://queues.example.com", {}, None),
    ],
)
def test_experiments_are_looked_for_where_the_queue_is(endpoint, environ, host):
    """A local cloud is never left for the real service, however its endpoint is written."""
    settings = Settings.from_environment(environ)
    client = find_experiments(settings, find_target(settings, None, endpoint), endpoint)
    assert (None if client is None else client._endpoint.host) == host
