"""PAI AutoML, API version 2022-08-28: experiments that search for hyperparameters, and their trials.

`routes.py` lists the operations, `calls.py` carries them out; `validation.py` reads what a create or update asks for,
and `listing.py` what a list call asks for. No thread moves an experiment on: `model.py` and `trials.py` compute every
status from the times of the calls and the cloud's clock, and `triallogs.py` writes the logs from the same facts. With
`LocalCloud(run_trials=True)` the trials run on this machine: see `alilocal.trials`.
"""
