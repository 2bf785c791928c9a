import contextlib

import pytest

from fcruntime.batch import BatchFailed, settle


def test_no_failures_are_success():
    """A batch without failures succeeds under either policy."""
    settle([], 3, "raise")
    settle([], 3, "requeue", lambda _: True)


def test_raise_fails_the_event():
    """Under `raise` one failed item fails the event."""
    with pytest.raises(BatchFailed, match="1 of 3 messages"):
        settle(["a"], 3, "raise", lambda _: True)


def test_requeue_sends_back_only_failed_items():
    """Under `requeue` the failed items are sent back and the event succeeds."""
    sent = []
    settle(["a", "b"], 3, "requeue", lambda item: sent.append(item) or True)
    assert sent == ["a", "b"]


def test_an_item_that_cannot_be_sent_back_fails_the_event():
    """If an item cannot be sent back, the whole event is delivered again, so that nothing is lost."""
    with pytest.raises(BatchFailed) as caught:
        settle(["a", "b"], 3, "requeue", lambda item: item == "a")
    assert (caught.value.failed, caught.value.total) == (1, 3)


def test_a_send_without_a_result_is_an_error_that_names_it():
    """A function that returns nothing does not say whether the item was sent, and each failure would add a copy."""
    sent = []
    with pytest.raises(TypeError, match="requeue returned None"):
        settle(["a", "b"], 3, "requeue", sent.append)
    assert sent == ["a"]


def test_a_send_that_is_a_coroutine_function_is_an_error():
    """Its coroutine is true, but nothing was sent."""

    async def send():
        return True

    with (
        contextlib.closing(send()) as sending,
        pytest.raises(TypeError, match="requeue returned a coroutine"),
    ):
        settle(["a"], 2, "requeue", lambda _: sending)


@pytest.mark.parametrize(("failed", "tried"), [(["a", None, "b"], []), (["bad", "a"], ["bad"])])
def test_items_are_not_sent_back_if_the_event_fails_anyway(failed, tried):
    """If one item cannot be sent back, the event is delivered again anyway, so no further one is sent."""
    sent = []
    with pytest.raises(BatchFailed):
        settle(failed, 3, "requeue", lambda item: sent.append(item) or item != "bad")
    assert sent == tried


def test_without_a_way_to_send_back_the_event_fails():
    """`requeue` without a queue to send to is `raise`."""
    with pytest.raises(BatchFailed, match="1 of 2 messages"):
        settle(["a"], 2, "requeue")


def test_a_failure_without_reasons_names_its_numbers_alone():
    assert str(BatchFailed(1, 2)) == "1 of 2 messages must be delivered again"
