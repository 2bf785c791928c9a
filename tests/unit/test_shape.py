"""The shape of one invocation: how deep its calls go, and what is computed once."""

import sys
from pathlib import Path

import alilocal
from fcruntime.context import Invocation
from hpoq.placement import Placement
from hpoq.settings import Settings
from hpoq.testing import FakeClock, smq_event
from support.deployment import CONTEXT, create_resources, make_function
from support.request import REQUEST
from support.sending import intercept

ROOT = Path(__file__).parents[2]
MOST_FRAMES = 12


def find_own_frames():
    """Return the functions below `functions/` on the current stack, the outermost first."""
    names, frame = [], sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if Path(code.co_filename).is_relative_to(ROOT / "functions"):
            names.insert(0, code.co_qualname if sys.version_info >= (3, 11) else code.co_name)
        frame = frame.f_back
    return names


def test_a_create_is_sent_from_a_short_stack():
    """At most 12 functions of ours are on the stack when the create of an SMQ event is sent."""
    stacks = []
    clock = FakeClock()
    with alilocal.LocalCloud(seed=1, clock=clock) as cloud:
        create_resources(cloud)
        session = cloud.session()

        def send_and_count(send, request, **options):
            if request.headers.get("x-acs-action") == "CreateHpoExperiment":
                stacks.append(find_own_frames())
            return send(request, **options)

        intercept(session, send_and_count)
        function = make_function(cloud, clock=clock, session=session)
        report = function.handle(smq_event("m-1", REQUEST), CONTEXT)
        function.close()
    assert [row["outcome"] for row in report["messages"]] == ["created"]
    (stack,) = stacks
    assert len(stack) <= MOST_FRAMES, stack


def test_an_invocation_without_a_request_id_gets_one():
    """An invocation whose context has no request id has the same random one wherever it is shown."""
    around = Placement(Invocation.from_context(object()), {}, Settings())
    assert around.request_id
    assert around.request_id == around.request_id
    assert around.request_id != Placement(Invocation.from_context(object()), {}, Settings()).request_id
