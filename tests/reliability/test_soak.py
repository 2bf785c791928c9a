"""Small runs of `soak.py` and of `result_soak.py`."""

from result_soak import soak_results
from soak import soak

from support.budget import examples


def test_messages_under_faults_and_kills(tmp_path):
    """Each valid request makes one experiment, each message ends in one event, and the queues are empty."""
    settings = {"HPOQ_STORE": f"sqlite:///{tmp_path / 'records.sqlite3'}"}
    # Fewer messages may meet no repeated event.
    run, broken = soak(max(60, examples(60)), settings, seed=7, kill_every=3, repeat_every=4)
    assert broken == []
    assert run.kills > 0
    assert run.repeated > 0
    assert sum(run.faults.values()) > 0


def test_every_experiment_has_one_result(tmp_path):
    """Experiments that end in every way, under duplicates, faults and kills: exactly one finished event each."""
    # Each ending is that of one experiment in ten.
    experiments, store = max(10, examples(20)), f"sqlite:///{tmp_path / 'records.sqlite3'}"
    run, broken = soak_results(experiments, store, seed=7, kill_every=12, repeat_every=8)
    assert broken == []
    assert run.kills > 0
    assert run.repeated > 0
    assert sum(run.faults.values()) > experiments
