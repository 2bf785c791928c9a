"""SMQ, formerly MNS, API version 2015-06-06: queues, topics, subscriptions and their messages.

`routes.py` lists the operations; `calls.py` has those on the account and on queues, `message_calls.py` those on
messages, `topic_calls.py` those on topics and subscriptions. `model.py` keeps queues and topics by name, `queue.py`
decides which message is visible when, `message.py` and `topic.py` hold what is kept. `xml.py` reads and writes XML,
and `wire.py` the elements.
"""
