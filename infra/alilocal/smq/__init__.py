"""SMQ, formerly MNS, API version 2015-06-06: queues, topics, subscriptions and their messages."""
