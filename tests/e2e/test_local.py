"""`hpoq local` as a stranger uses it: through the official SDKs, until Ctrl-C."""

import json
import signal
from pathlib import Path

from mns.account import Account
from mns.mns_exception import MNSExceptionBase
from mns.queue import Message, QueueMeta
from mns.subscription import SubscriptionMeta

ROOT = Path(__file__).parents[2]
REQUEST = (ROOT / "events" / "requests" / "minimal.json").read_text()
MEMBERS = {
    "paiautoml",
    "smq",
    "eventbridge",
    "tablestore",
    "console",
    "queue",
    "topic",
    "deadLetterQueue",
    "region",
    "accountId",
    "accessKeyId",
    "accessKeySecret",
}


def receive(queue):
    """The next message, waiting for it as the service lets one wait."""
    for _ in range(10):
        try:
            return queue.receive_message(5)
        except MNSExceptionBase as exc:
            assert exc.type == "MessageNotExist"
    raise AssertionError("no message came")


def test_a_message_through_the_whole_pipeline(local):
    """A request sent by the SMQ SDK becomes an experiment, and its event reaches a subscriber."""
    _, endpoints = local
    assert set(endpoints) >= MEMBERS
    account = Account(endpoints["smq"], endpoints["accessKeyId"], endpoints["accessKeySecret"])
    inbox = account.get_queue("inbox")
    inbox.create(QueueMeta())
    inbox.set_encoding(False)
    arn = f"acs:mns:{endpoints['region']}:{endpoints['accountId']}:queues/inbox"
    subscription = account.get_subscription(endpoints["topic"], "to-inbox")
    subscription.subscribe(SubscriptionMeta(arn, notify_content_format="SIMPLIFIED"))
    sent = account.get_queue(endpoints["queue"]).send_message(Message(REQUEST))
    event = json.loads(receive(inbox).message_body)
    assert event["type"] == "com.hpoq.experiment.created.v1"
    assert event["data"]["messageId"] == sent.message_id
    account.get_client().close_connection()


def test_ctrl_c_ends_it(local):
    """Ctrl-C stops the cloud at once and is a success."""
    process, _ = local
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
