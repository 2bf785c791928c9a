"""The builder of requests for Python: what it makes."""

import base64
import json

import pytest

import alilocal
import hpoq.producer
from hpoq.contract.search_space import ARITY
from hpoq.errors import RequestRejected
from hpoq.producer import Queue, build, build_request, choice, loguniform, option, randint, uniform


def make(**members):
    given = {
        "name": "mnist",
        "platform": "DLC",
        "commands": ["dlc submit pytorch --command='train --lr=${lr} --batch=${batch}'"],
        "metric": "val_loss=([0-9.]+)",
        "goal": "minimize",
        "parameters": {"lr": loguniform(1e-4, 0.1), "batch": choice(16, 32)},
        "trials": 20,
        "parallel": 5,
        "sections": {"dlc_config": {"region": "cn-shanghai"}},
    }
    return build_request(**{**given, **members})


def test_a_built_request_is_clean():
    """What the builder makes of sensible arguments causes no warning; its draws stay in the space."""
    request = make()
    assert request.check() == ()
    for drawn in request.sample(20):
        assert 1e-4 <= drawn["${lr}"] <= 0.1
        assert drawn["${batch}"] in (16, 32)
        assert request.render(drawn) == [
            f"dlc submit pytorch --command='train --lr={drawn['${lr}']} --batch={drawn['${batch}']}'"
        ]
    assert request.sample(5, seed=1) == request.sample(5, seed=1) != request.sample(5, seed=2)


@pytest.mark.parametrize("kind", ARITY)
def test_every_type_has_a_function(kind):
    """Each type of a search space has a function of its name whose arguments are the bounds."""
    values = [1, 2, 1][: len(ARITY[kind])]
    assert getattr(build, kind)(*values).as_json() == {"_type": kind, "_value": values}


def test_nested_choices():
    """An option has parameters of its own, which are part of the space and of its draws."""
    tuned = choice(option("sgd", {"momentum": uniform(0, 1)}), option("adam", {"k": randint(1, 3)}))
    request = make(parameters={"optimizer": tuned}, commands=["dlc submit ${optimizer} ${momentum} ${k}"])
    assert request.check() == ()
    names = {drawn["${optimizer}"]["_name"] for drawn in request.sample(20)}
    assert names == {"sgd", "adam"}


def test_one_command_may_be_a_text():
    """A string is one command or one source, not a list of its characters."""
    one = make(commands="dlc submit ${lr} ${batch}", metric_source="cmd1").document
    assert one == make(commands=["dlc submit ${lr} ${batch}"], metric_source=["cmd1"]).document


def test_the_error_of_a_check_is_part_of_the_package():
    """What `check` and `send` raise can be caught without knowing another module."""
    with pytest.raises(hpoq.producer.RequestRejected):
        make(parameters={"lr": uniform(2, 1)}).check()


def test_an_invalid_request_is_refused_by_check():
    """Bounds in the wrong order are a violation of the contract, with its place."""
    with pytest.raises(RequestRejected, match="low must be"):
        make(parameters={"lr": uniform(2, 1)}).check()


def test_a_built_request_is_sent():
    """`Queue.send` takes what the builder made."""
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("q")
        keys = server.cloud.access_key_id, server.cloud.access_key_secret
        credentials = lambda: build_credentials(*keys)  # noqa: E731
        with Queue.open("q", server.url, credentials) as producer:
            producer.send(make(), idempotency_key="k")
        (message,) = queue.messages
    assert json.loads(base64.b64decode(message.body)) == {**make().document, "idempotencyKey": "k"} | {
        "schemaVersion": "1"
    }


def build_credentials(key_id, secret):
    from hpoq.cloud.signing import Credentials

    return Credentials(key_id, secret)


@pytest.mark.parametrize("value", [(0, 1), [1, 2], {"_type": "uniform", "_value": [0, 1]}, 1, None])
def test_a_parameter_of_another_form_is_named(value):
    """The error names the parameter, also that of an option, and the functions that make one."""
    for nested in (False, True):
        with pytest.raises(TypeError, match=r"the parameter 'lr' .* Use uniform\(\.\.\.\), choice\(\.\.\.\)"):
            make(parameters={"o": choice(option("sgd", {"lr": value}))} if nested else {"lr": value})


def test_a_section_that_is_built_gets_further_members():
    """A log level does not cost the number of trials and the tuner."""
    sections = {"yml_config": {"log_level": "debug"}, "metric_config": {"source_list_final_mode": "avg"}}
    document = make(sections=sections).document
    config = document["experiment"]["HpoExperimentConfiguration"]
    plain = make().document["experiment"]["HpoExperimentConfiguration"]
    assert config["yml_config"] == {**plain["yml_config"], "log_level": "debug"}
    assert config["metric_config"] == {**plain["metric_config"], "source_list_final_mode": "avg"}


class Int64:
    """A number as NumPy has it: not one of Python's, which it returns."""

    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


def test_numbers_of_another_library_become_numbers_of_json():
    """Values of a range of NumPy can be passed on as they are."""
    built = make(parameters={"lr": choice(*map(Int64, range(3)))}, trials=Int64(20))
    configuration = built.document["experiment"]["HpoExperimentConfiguration"]
    assert configuration["search_space"] == {"${lr}": {"_type": "choice", "_value": [0, 1, 2]}}
    assert configuration["yml_config"]["max_trial_number"] == 20


@pytest.mark.parametrize("value", [{1, 2}, Int64([1, 2])], ids=["set", "array"])
def test_a_value_that_json_cannot_contain_is_refused_when_the_request_is_built(value):
    with pytest.raises(
        TypeError, match=f"is of the type {type(value).__name__}, which a request cannot contain"
    ):
        make(parameters={"lr": choice(value)})
