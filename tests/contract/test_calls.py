"""What a message costs, counted in functions of hpoq and fcruntime that are entered: the same on every machine."""

import sys
from pathlib import Path

import pytest
import structlog

import alilocal
from hpoq.observability import logs
from hpoq.testing import smq_event
from support.calls import count_calls
from support.deployment import CONTEXT, create_resources, make_function

REQUEST = (Path(__file__).parents[2] / "events/requests/dlc-stdout.json").read_text()
# As filled in by its producer: a placeholder would be a warning.
REQUEST = REQUEST.replace("EXAMPLE-ACCESS-KEY-", "FILLED-IN-")


@pytest.fixture
def function():
    cloud = alilocal.LocalCloud()
    create_resources(cloud)
    made = make_function(cloud)
    logs.configure("ERROR", sys.stderr)
    for number in range(3):
        made.handle(smq_event(f"warm-{number}", REQUEST), CONTEXT)
    yield made
    structlog.reset_defaults()


@pytest.mark.parametrize(("repeated", "most"), [(False, 640), (True, 380)], ids=["new", "done before"])
def test_a_message_enters_a_bounded_number_of_functions(function, repeated, most):
    """A change that looks at each member of a request once more, or builds its objects anew, is noticed here.

    Fifty of them search the request for secrets, because its event shows its name.
    """
    event = smq_event("warm-2" if repeated else "counted", REQUEST)
    counts = count_calls(lambda: function.handle(event, CONTEXT))
    assert counts.total() <= most, counts.most_common(20)


def test_a_message_costs_the_same_each_time(function):
    """The count does not depend on what was processed before. No other test may use these ids: keys are cached."""
    totals = {
        count_calls(lambda number=number: function.handle(smq_event(f"c-{number}", REQUEST), CONTEXT)).total()
        for number in range(3)
    }
    assert len(totals) == 1
