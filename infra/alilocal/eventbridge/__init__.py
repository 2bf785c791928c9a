"""EventBridge, API version 2020-04-01: event buses, and rules that pass events on.

`routes.py` lists the operations, `calls.py` carries them out. Events arrive by two generations of PutEvents, whose
limits are in `putevents.py`; `model.py` keeps buses and rules, `pattern.py` decides which events a rule takes, and
`wire.py` writes buses, rules and targets. `functionrule.py` calls a function of a test for the events of a rule.
"""
