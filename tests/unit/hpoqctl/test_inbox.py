"""How `hpoq send --wait` polls for the events of what it sent."""

import alilocal
from hpoq.cloud.signing import Credentials
from hpoq.cloud.smq import Smq
from hpoq.cloud.transport import Transport
from hpoq.producer import SentRequest
from hpoq.testing import FakeClock
from hpoqctl.inbox import Answers, Inbox, collect_answers


def test_polls_wait_on_the_server_until_the_end():
    """However little time is left, a poll waits on the server: each one is a call that the service bills."""
    clock = FakeClock()
    with alilocal.LocalCloud(clock=clock) as cloud:
        cloud.queues.create("inbox")
        keys = Credentials(cloud.access_key_id, cloud.access_key_secret)
        smq = Smq(Transport(cloud.session(), clock), cloud.endpoint, lambda: keys)
        answers, allowed = Answers([SentRequest("M1", "k")]), iter(range(7))
        collect_answers(Inbox(smq, "inbox"), answers, clock, 30.0, lambda count: next(allowed))
    assert answers.missing == answers.sent
