"""B8: trials that run here: against the bare processes, against plain Optuna, and with 1,000 trials.

NNI 2.9, the engine of the service, takes 111 s for the 20 trials of the first row on two cores, in which the trials
themselves run for less than 1 s: it starts one every five seconds.
"""

import math
import resource
import statistics
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
from harness import Peers, Row, in_turns, ratio

import alilocal
from alilocal.core.http import Request
from alilocal.core.signatures import ALGORITHM, sign_v3
from alilocal.paiautoml.model import Draft
from alilocal.trials.record import TERMINAL
from alilocal.trials.search import make_tuner
from alilocal.trials.space import read_space

TRIALS, AT_ONCE = 20, 2
COMMAND = f"{sys.executable} -c 'print(\"accuracy=0.5\")'"
MANY, SEEDS, BUDGET = 1000, 20, 50
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def configuration(command, number, at_once, tuner="TPE"):
    return {
        "platform_config": {"name": "LOCAL", "cmd": [command]},
        "metric_config": {
            "metric_type": "stdout",
            "metric_source": ["cmd1"],
            "final_mode": "final",
            "metric_dict": {"accuracy=([0-9.e-]+)": 1},
        },
        "yml_config": {
            "max_trial_number": number,
            "trial_concurrency": at_once,
            "tuner": {"name": tuner, "class_args": {"optimize_mode": "maximize", "seed": 1}},
        },
        "search_space": {"${x}": {"_type": "uniform", "_value": [0.1, 1]}},
    }


def create(cloud, given):
    draft = Draft("benchmark", None, None, "PRIVATE", (), given)
    with cloud.changed:
        return cloud.services.paiautoml.experiments.create(draft, cloud.account_id)


def wait(cloud, condition):
    with cloud.changed:
        cloud.changed.wait_for(condition)


def as_trials(cloud):
    """Return the milliseconds of an experiment, from its creation to its end."""
    began = time.perf_counter()
    experiment = create(cloud, configuration(COMMAND, TRIALS, AT_ONCE))
    wait(cloud, lambda: experiment.status in TERMINAL)
    assert [one.status for one in experiment.trials] == ["SUCCEEDED"] * TRIALS
    return (time.perf_counter() - began) * 1000


def as_processes(_cloud):
    """Return the milliseconds of the bare processes, with as many at once."""

    def run(_):
        subprocess.run(["/bin/sh", "-c", COMMAND], stdout=subprocess.PIPE, check=True)

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(run, range(TRIALS)))
    return (time.perf_counter() - began) * 1000


def branin(x):
    curve = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


_ALPHA = (1.0, 1.2, 3.0, 3.2)
_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann(x):
    return -sum(
        alpha * math.exp(-sum(a * (value - p) ** 2 for a, p, value in zip(row, place, x, strict=True)))
        for alpha, row, place in zip(_ALPHA, _A, _P, strict=True)
    )


FUNCTIONS = {"Branin": (branin, ((-5, 10), (0, 15))), "Hartmann-6": (hartmann, ((0, 1),) * 6)}
SAMPLERS = {
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "Evolution": lambda seed: optuna.samplers.NSGAIISampler(
        population_size=10, seed=seed, crossover=optuna.samplers.nsgaii.BLXAlphaCrossover()
    ),
}


def searched(name, tuner, seed):
    """Return the best value that a tuner of ours finds."""
    function, ranges = FUNCTIONS[name]
    space = {f"x{i}": {"_type": "uniform", "_value": [*one]} for i, one in enumerate(ranges)}
    made = make_tuner(tuner, {"seed": seed, "population_size": 10}, read_space(space), "", maximize=False)
    found = []
    for _ in range(BUDGET):
        proposal = made.ask()
        found.append(function(list(proposal.values.values())))
        made.tell(proposal, found[-1])
    return min(found)


def plain(name, tuner, seed):
    """Return the best value that Optuna finds by itself."""
    function, ranges = FUNCTIONS[name]
    study = optuna.create_study(sampler=SAMPLERS[tuner](seed))
    study.optimize(
        lambda trial: function([trial.suggest_float(f"x{i}", *one) for i, one in enumerate(ranges)]), BUDGET
    )
    return study.best_value


def quality():
    """Rows on the median of the best values of 20 searches, against those of Optuna and of Random."""
    for name in FUNCTIONS:
        random = statistics.median(searched(name, "Random", seed) for seed in range(SEEDS))
        for tuner in SAMPLERS:
            ours = statistics.median(searched(name, tuner, seed) for seed in range(SEEDS))
            theirs = statistics.median(plain(name, tuner, seed) for seed in range(SEEDS))
            note = f"{ours:.4f} : {theirs:.4f}, Random {random:.4f}"
            what = f"best of {BUDGET} on {name}, {tuner} : plain Optuna"
            yield Row("B8", what, worse(ours, theirs), target=1.02, note=note)
            yield Row("B8", f"best of {BUDGET} on {name}, {tuner} : Random", worse(ours, random), target=1.0)


def worse(value, other):
    """Return how much larger a minimum is, as a ratio: above 1 if it is worse."""
    return value / other if other > 0 else other / value


def listing(cloud, session, experiment, query):
    """Return the milliseconds of one signed ListHpoTrials."""
    target = f"/api/automl/v1/hpo/experiment/{experiment.experiment_id}/trials?{query}"
    headers = {
        "host": "localhost",
        "x-acs-action": "ListHpoTrials",
        "x-acs-version": "2022-08-28",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": str(time.perf_counter_ns()),
        "x-acs-content-sha256": _EMPTY,
    }
    request = Request("GET", target, tuple(headers.items()))
    digest = sign_v3(cloud.access_key_secret, request, sorted(headers), _EMPTY)
    signed = f"{ALGORITHM} Credential={cloud.access_key_id},SignedHeaders={';'.join(sorted(headers))}"
    began = time.perf_counter()
    answer = session.get(
        f"http://localhost{target}", headers={**headers, "Authorization": f"{signed},Signature={digest}"}
    )
    spent = (time.perf_counter() - began) * 1000
    assert answer.json()["TotalCount"] == MANY, answer.text
    return spent


def many():
    """Rows on one experiment of 1,000 trials: what a trial leaves in memory, and how long a page takes."""
    with alilocal.LocalCloud(run_trials=True) as cloud, cloud.session() as session:
        experiment = create(cloud, configuration("echo accuracy=${x}", MANY, AT_ONCE, "Random"))
        kept = []
        tracemalloc.start()
        for count in (MANY // 5, MANY):
            wait(cloud, lambda count=count: sum(one.is_over for one in experiment.trials) >= count)
            kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        wait(cloud, lambda: experiment.status in TERMINAL)
        per_trial = (kept[1] - kept[0]) / (MANY - MANY // 5) / 1024
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        note = f"{rss:.0f} MB at most in all"
        yield Row("B8", f"memory of one of {MANY} trials, KB", per_trial, target=8, note=note)
        for query in (
            "PageNumber=50&PageSize=10",
            "SortBy=FINAL_METRIC&Order=DESC&PageNumber=1&PageSize=100",
        ):
            spent = [listing(cloud, session, experiment, query) for _ in range(30)]
            size = query.rpartition("=")[2]
            yield Row("B8", f"a page of {size} of {MANY} trials, ms", statistics.median(spent), target=50)


def measure(_peers: Peers, rounds: int) -> Iterator[Row]:
    """Measure the trials in turns with the bare processes, and everything else alone."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with alilocal.LocalCloud(run_trials=True) as cloud:
        ours, theirs = in_turns(max(3, rounds // 2), lambda: as_trials(cloud), lambda: as_processes(cloud))
    what = f"{TRIALS} trials of a trivial program, {AT_ONCE} at a time : bare processes"
    yield ratio("B8", what, ours, theirs, target=1.5)
    yield from quality()
    yield from many()
