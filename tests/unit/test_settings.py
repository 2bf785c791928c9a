import pytest

from hpoq.errors import SettingsError
from hpoq.settings import Settings


def problems(**environ):
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    return caught.value.problems


def test_nothing_need_be_set():
    """Every setting has a default that hangs together with the others."""
    assert Settings.from_environment({}) == Settings()


def test_variables_are_read_and_others_are_left():
    """HPOQ_ variables are read by name; what belongs to others is no business of ours."""
    settings = Settings.from_environment({"HPOQ_CONCURRENCY": "4", "HPOQ_MARKER": "description", "PATH": "/"})
    assert (settings.concurrency, settings.marker) == (4, "description")


def test_empty_means_unset():
    """An empty variable is one that is not set."""
    assert Settings.from_environment({"HPOQ_STORE": "", "HPOQ_CONCURRENCY": ""}) == Settings()


def test_every_problem_is_listed_at_once():
    """All problems come in one error, each by the name of its variable."""
    found = problems(HPOQ_CONCURRENCY="none", HPOQ_BATCH_POLICY="drop", HPOQ_LESE_SECONDS="9")
    assert sorted(problem.split(":")[0].split(" ")[0] for problem in found) == [
        "HPOQ_BATCH_POLICY",
        "HPOQ_CONCURRENCY",
        "HPOQ_LESE_SECONDS",
    ]


def test_a_misspelt_variable_is_not_ignored():
    """A variable that is no setting is an error that names the nearest one."""
    assert problems(HPOQ_LEASE_SECOND="90") == (
        "HPOQ_LEASE_SECOND is not a setting; did you mean HPOQ_LEASE_SECONDS?",
    )


def test_lease_must_cover_a_create():
    """A lease under which no create could ever be sent is refused, with the sum it must exceed."""
    (problem,) = problems(HPOQ_LEASE_SECONDS="53")
    assert problem.startswith("HPOQ_LEASE_SECONDS must be more than 53:")
    Settings.from_environment({"HPOQ_LEASE_SECONDS": "53.5"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HPOQ_LEASE_SECONDS", "inf"),
        ("HPOQ_LEASE_SECONDS", "86400"),
        ("HPOQ_CLOCK_SKEW_SECONDS", "0"),
        ("HPOQ_CONSISTENCY_SECONDS", "0"),
        ("HPOQ_CONSISTENCY_SECONDS", "nan"),
        ("HPOQ_RETENTION_DAYS", "0.1"),
        ("HPOQ_LIST_PAGE_SIZE", "101"),
        ("HPOQ_REQUEUE_DELAY_SECONDS", "604800"),
        ("HPOQ_QUEUE", "queues/a"),
    ],
)
def test_unsafe_values_are_refused(name, value):
    """A lease without end, no margin at all, a memory shorter than a retry chain, a delay that outlasts the
    queue's own memory, and what the services would refuse are refused here."""
    assert problems(**{name: value})[0].startswith(name)


def test_values_are_not_quoted():
    """A value that was put into the wrong variable, a secret perhaps, does not appear in the error."""
    assert "canary" not in str(problems(HPOQ_CONCURRENCY="canary", HPOQ_X="canary"))
