"""Events of SMQ's queue trigger, as Function Compute hands them over."""

import json


def smq_delivery(message_id, body, event_id=None, queue="orders"):
    """Return the CloudEvent around one message of a queue."""
    return {
        "id": event_id or message_id,
        "source": "MNS-orders-trigger",
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "datacontenttype": "application/json; charset=utf-8",
        "subject": f"acs:mns:cn-hangzhou:1000000000000000:queues/{queue}",
        "time": "2026-01-02T03:04:05.678Z",
        "aliyunaccountid": "1000000000000000",
        "data": {"requestId": f"REQ{message_id}", "messageId": message_id, "messageBody": body},
    }


def smq_event(message_id, body):
    """Return an event of one message, as event mode brings it."""
    return json.dumps(smq_delivery(message_id, body)).encode()


def smq_stream_event(bodies):
    """Return an event of several messages, given as body by message id, as event stream mode brings it."""
    return json.dumps([smq_delivery(one, body, f"1-{one}") for one, body in bodies.items()]).encode()
