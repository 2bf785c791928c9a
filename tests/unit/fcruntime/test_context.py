from types import SimpleNamespace

import pytest

from fcruntime import Deadline, Fc2Context, Fc3Context, Invocation
from fcruntime.context import ContextCredentials, FunctionInfo


def test_fc2_context_is_read_whole():
    """A context of runtimes up to 3.10 gives credentials, function, region and account."""
    credentials = ContextCredentials("id", "secret", "token")
    invocation = Invocation.from_context(Fc2Context("r-1", credentials=credentials, region="cn-shanghai"))
    assert invocation == Invocation(
        "r-1", "hpoq", 512, 60, "cn-shanghai", "1000000000000000", ContextCredentials("id", "secret", "token")
    )


def test_fc3_context_has_no_credentials():
    """A context of python3.12 has no credentials, which is not an error."""
    assert Invocation.from_context(Fc3Context("r-1")).credentials is None


@pytest.mark.parametrize("timeout", ["120", 120])
def test_timeout_may_be_text_or_number(timeout):
    """The function's time-out may be str or int."""
    context = SimpleNamespace(function=SimpleNamespace(timeout=timeout))
    assert Invocation.from_context(context).timeout_seconds == 120


def test_camel_case_credentials_and_empty_ones():
    """Credentials may have camel-case names; empty texts mean that the function has no role."""
    camel = SimpleNamespace(accessKeyId="i", accessKeySecret="s", securityToken="t")
    assert Invocation.from_context(SimpleNamespace(credentials=camel)).credentials == ContextCredentials(
        "i", "s", "t"
    )
    assert Invocation.from_context(Fc2Context("r-1")).credentials is None


def test_credentials_have_both_names_of_their_members():
    """A handler may read them by the camel-case names that runtimes up to python3.10 also have."""
    made = ContextCredentials("i", "s", "t")
    assert (made.accessKeyId, made.accessKeySecret, made.securityToken) == ("i", "s", "t")


def test_a_missing_context_is_read_as_unknown():
    """Without a context every member is None."""
    assert Invocation.from_context(None) == Invocation()


def test_credentials_are_not_printed():
    """A context that is printed shows no secret."""
    context = Fc2Context("r-1", credentials=ContextCredentials("id-canary", "secret-canary", "token-canary"))
    assert "canary" not in repr(context)
    assert "canary" not in repr(Invocation.from_context(context))


def test_deadline_counts_down_and_stops_at_zero():
    """The deadline is the function's time-out after its construction; the rest is never negative."""
    time = [100.0]
    deadline = Deadline.from_invocation(Invocation(timeout_seconds=60), lambda: time[0])
    time[0] = 130.0
    assert deadline.remaining() == 30.0
    time[0] = 500.0
    assert deadline.remaining() == 0.0


@pytest.mark.parametrize(("timeout", "expected"), [(600, 300.0), (None, 300.0), (0, 300.0), (3, 3.0)])
def test_deadline_keeps_to_the_triggers_ceiling(timeout, expected):
    """A triggered call has five minutes at most, whatever the function's time-out says."""
    invocation = Invocation(timeout_seconds=timeout)
    assert Deadline.from_invocation(invocation, lambda: 0.0).remaining() == expected


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [("60", 60), (60.0, 60), ("60.0", 60), ("soon", None), (True, None), (float("inf"), None), ("nan", None)],
)
def test_time_outs_of_any_type(timeout, expected):
    """A time-out may be text or a number; an invalid one is unknown and not an error."""
    context = SimpleNamespace(function=SimpleNamespace(timeout=timeout))
    assert Invocation.from_context(context).timeout_seconds == expected


def test_default_function_of_local_contexts():
    """A context made without arguments describes a function with FC's own field types."""
    assert isinstance(FunctionInfo().memory, int)
