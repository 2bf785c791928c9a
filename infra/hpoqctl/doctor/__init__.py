"""`hpoq doctor`: examine an environment, and list what to fix.

    doctor ──▶ checks ──▶ storechecks ──▶ checkup

`doctor` is the command: it reads the settings, runs the checks and prints what they find. `checks` has the checks of
credentials, endpoints, services, queues and time-outs, and `storechecks` those of the store. `checkup` has what all
checks share: the environment under examination, a finding, and what a failed call says about permissions.
"""
