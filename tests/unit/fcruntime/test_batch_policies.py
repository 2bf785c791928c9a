import pytest

from fcruntime.batch import BatchFailed, settle


def test_nothing_failed():
    """A batch without failures settles quietly under either policy."""
    assert settle([], 3, "raise") == []
    assert settle([], 3, "requeue", lambda _: True) == []


def test_raise_fails_the_event():
    """Under raise one failed item fails the event."""
    with pytest.raises(BatchFailed, match="1 of 3 messages"):
        settle(["a"], 3, "raise", lambda _: True)


def test_requeue_sends_back_just_the_failed():
    """Under requeue the failed items are sent back and the event succeeds."""
    assert settle(["a", "b"], 3, "requeue", lambda _: True) == ["a", "b"]


def test_requeue_that_cannot_send_fails_the_event():
    """An item that could not be sent back makes the whole event come again: nothing is lost."""
    with pytest.raises(BatchFailed) as caught:
        settle(["a", "b"], 3, "requeue", lambda item: item == "a")
    assert (caught.value.failed, caught.value.total) == (1, 3)
