"""SMQ's management API, mns-open, API version 2022-01-19: queues, topics and subscriptions.

Terraform and ROS use it. It manages the same resources as the service `smq`, which sends and receives messages, and
adds the dead-letter policy of a queue.
"""
