"""The soak in small: what `soak.py` does with 20,000 messages, with 1,000."""

from soak import soak


def test_a_thousand_messages(tmp_path):
    """Invalid, repeated, failing and killed: one experiment a request, one event a message, nothing left over."""
    run, broken = soak(1000, f"sqlite:///{tmp_path / 'records.sqlite3'}", seed=7, kill_every=8)
    assert broken == []
    assert run.kills > 0
    assert run.runs > 1000 / 16
