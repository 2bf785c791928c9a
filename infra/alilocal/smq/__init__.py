"""SMQ, formerly MNS, API version 2015-06-06: queues, topics, subscriptions and their messages.

`routes.py` lists the operations, `calls.py` carries them out. `model.py` keeps queues and topics by name, `queue.py`
decides which message is visible when, `message.py` and `topic.py` hold what is kept. `xml.py` reads and writes XML,
and `wire.py` the elements.
"""
