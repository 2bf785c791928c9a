"""Experiments whose trials run on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from alilocal.paiautoml.model import Draft
from alilocal.trials.record import TERMINAL

PYTHON = sys.executable


def local_configuration(*commands, **sections):
    """Return a configuration of platform LOCAL that maximizes `accuracy=...` in the output of the first command."""
    given = {
        "platform_config": {"name": "LOCAL", "cmd": list(commands)},
        "metric_config": {
            "metric_type": "stdout",
            "metric_source": ["cmd1"],
            "final_mode": "final",
            "metric_dict": {"accuracy=([-0-9.e]+)": 1},
        },
        "search_space": {"${x}": {"_type": "uniform", "_value": [0, 1]}},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section} if name == "metric_config" else section
    return given


def run_config(number=1, concurrency=1, tuner="Random", **options):
    """Return the section `yml_config`; `options` are other members of it."""
    arguments = {"optimize_mode": "maximize", "seed": 1}
    given = {"name": tuner, "class_args": arguments}
    return {"max_trial_number": number, "trial_concurrency": concurrency, "tuner": given, **options}


def start(cloud, configuration):
    """Create an experiment in a cloud; return it."""
    draft = Draft("e", None, None, "PRIVATE", (), configuration)
    with cloud.changed:
        return cloud.services.paiautoml.experiments.create(draft, cloud.account_id)


def wait_for(cloud, condition, seconds=60):
    """Wait until `condition` is true; check it at each change of a cloud."""
    with cloud.changed:
        assert cloud.changed.wait_for(condition, seconds), "the condition is still false"


def run(cloud, *commands, **sections):
    """Run an experiment to its end, with one trial unless `yml_config` is given; return it."""
    experiment = start(cloud, local_configuration(*commands, **{"yml_config": run_config(), **sections}))
    wait_for(cloud, lambda: experiment.status in TERMINAL)
    return experiment


def processes_of(mark):
    """Return the ids of processes on this machine whose environment or command line has the text `mark`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                texts = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in texts:
                found.append(int(folder.name))
    return found
