"""STS, API version 2015-04-01: temporary keys for roles, and the caller's identity.

The smallest service, and the example of CONTRIBUTING.md: `routes.py` lists the operations, `calls.py` reads their
parameters, `model.py` does what they ask for, `wire.py` writes the answers.
"""
