import pytest

from hpoq.errors import SettingsError
from hpoq.settings import Settings

_OUTPUTS = "HPOQ_OUTPUT must be smq://TOPIC, eventbridge://BUS, file:///PATH or stdout://"


def problems(**environ):
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(environ)
    return caught.value.problems


def test_every_setting_has_a_default():
    """Without any variable the settings are valid together."""
    assert Settings.from_environment({}) == Settings()


def test_variables_are_read_by_name_and_others_are_ignored():
    """A variable without the prefix is not a setting."""
    settings = Settings.from_environment({"HPOQ_CONCURRENCY": "4", "HPOQ_MARKER": "description", "PATH": "/"})
    assert (settings.concurrency, settings.marker) == (4, "description")


def test_empty_means_unset():
    """An empty variable counts as one that is not set."""
    assert Settings.from_environment({"HPOQ_STORE": "", "HPOQ_CONCURRENCY": ""}) == Settings()


def test_a_hyphen_means_no_name():
    """The deployment files write it for a deployment without a name."""
    assert Settings.from_environment({"HPOQ_NAME": "-"}) == Settings()


def test_the_name_of_a_deployment_ends_the_names_of_its_queue_and_topic():
    """A name that is given itself stays as it is."""
    named = {"HPOQ_NAME": "staging"}
    settings = Settings.from_environment(named)
    assert (settings.queue, settings.output) == ("hpo-requests-staging", "smq://hpo-results-staging")
    settings = Settings.from_environment({**named, "HPOQ_QUEUE": "q", "HPOQ_OUTPUT": "stdout://"})
    assert (settings.queue, settings.output) == ("q", "stdout://")


def test_a_name_makes_the_keys_of_a_deployment_its_own():
    """Deployments of one account see each other's experiments, so a key must not have two of them."""
    assert Settings.from_environment({"HPOQ_NAME": "staging"}).namespace == "staging"
    assert Settings.from_environment({"HPOQ_NAME": "staging", "HPOQ_NAMESPACE": "a"}).namespace == "a"


def test_every_problem_is_listed_at_once():
    """All problems come in one error, each with the name of its variable."""
    found = problems(HPOQ_CONCURRENCY="none", HPOQ_BATCH_POLICY="drop", HPOQ_LESE_SECONDS="9")
    assert sorted(problem.split(":")[0].split(" ")[0] for problem in found) == [
        "HPOQ_BATCH_POLICY",
        "HPOQ_CONCURRENCY",
        "HPOQ_LESE_SECONDS",
    ]


def test_a_misspelt_variable_is_not_ignored():
    """An unknown variable with the prefix is an error that names the nearest setting."""
    assert problems(HPOQ_LEASE_SECOND="90") == (
        "HPOQ_LEASE_SECOND is not a setting; did you mean HPOQ_LEASE_SECONDS?",
    )


def test_the_lease_must_cover_a_create():
    """A lease that is too short for any create is refused, with the sum that it must exceed."""
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
        ("HPOQ_RETENTION_DAYS", "36501"),
        ("HPOQ_REQUEUE_DELAY_SECONDS", "604800"),
        ("HPOQ_REQUEUE_DELAY_SECONDS", "0"),
        ("HPOQ_OUTPUT", "smq://.."),
        ("HPOQ_OUTPUT", "smq://topics/a"),
        ("HPOQ_QUEUE", "queues/a"),
        ("HPOQ_DEAD_LETTER_QUEUE", "queues/a"),
        ("HPOQ_MAX_ATTEMPTS", "0"),
        ("HPOQ_MAX_AGE_HOURS", "0"),
        ("HPOQ_MAX_AGE_HOURS", "inf"),
        ("HPOQ_DATE_WINDOW_SECONDS", "-1"),
        ("HPOQ_DATE_WINDOW_SECONDS", "86401"),
        ("HPOQ_MARKER", "none"),
        ("HPOQ_EVENT_SOURCE", "x" * 1001),
        *(("HPOQ_REGION", text) for text in ("cn-hangzhou ", '"cn-hangzhou"', "cn hangzhou", "example.com/")),
        *(("HPOQ_ACCOUNT_ID", text) for text in ("1234-5678", "1234567890123456\n")),
        *((f"HPOQ_{name}", text) for name in ("NAMESPACE", "EVENT_SOURCE") for text in (" ", "a\n")),
        ("HPOQ_PAIAUTOML_ENDPOINT", "http://paiautoml.cn-hangzhou.aliyuncs.com"),
        ("HPOQ_SMQ_ENDPOINT", "https://host/path"),
        ("HPOQ_EVENTBRIDGE_ENDPOINT", "ftp://host"),
    ],
)
def test_unsafe_values_are_refused(name, value):
    """Refused are margins of nothing, leases and ages without end, and what the services would not take.

    So are a memory that is shorter than the retries of a message or that no store can write, a delay that outlasts
    the queue's memory, none, with which a message that waits for an operator would circle all the time, and a source
    with which no event would fit into a message.
    """
    assert problems(**{name: value})[0].startswith(name)


@pytest.mark.parametrize(
    ("name", "texts", "value"),
    [
        ("concurrency", ["8", " 8 ", "+8", "8.0", "0_8"], 8),
        *(("concurrency", [str(limit)], limit) for limit in (1, 256)),
        ("watch_max_days", ["0.5", ".5", " 5e-1\n"], 0.5),
        ("opentelemetry", ["true", "True", "1", "yes", "ON", "t", "y"], True),
        ("opentelemetry", ["false", "False", "0", "no", "OFF", "f", "n"], False),
        ("trigger", ["smq"], "smq"),
        *(("output", [text], text) for text in ("smq://t", "eventbridge://b", "file:///tmp/x", "stdout://")),
    ],
)
def test_a_value_can_be_written_in_several_ways(name, texts, value):
    """Numbers and booleans are read as people and other tools write them."""
    found = {getattr(Settings.from_environment({f"HPOQ_{name.upper()}": text}), name) for text in texts}
    assert found == {value}
    assert {type(one) for one in found} == {type(value)}


@pytest.mark.parametrize("text", ["8.5", "8,0", "8 0", "0x8", "1e1", "_8", "8_", "٨", "true"])
def test_what_is_not_a_whole_number(text):
    """A text that only some programs read as a number is refused."""
    assert problems(HPOQ_CONCURRENCY=text) == ("HPOQ_CONCURRENCY must be a whole number",)


def test_values_are_not_quoted():
    """A value that was put into the wrong variable, perhaps a secret, does not appear in the error."""
    wrong = {"HPOQ_CONCURRENCY": "canary", "HPOQ_X": "canary", "HPOQ_OUTPUT": "https://me:canary@host"}
    wrong |= {
        "HPOQ_REGION": "Canary",
        "HPOQ_ACCOUNT_ID": "canary",
        "HPOQ_SMQ_ENDPOINT": "https://h/?t=canary",
    }
    assert "canary" not in str(problems(**wrong)).lower()


def test_a_password_is_not_in_the_representation():
    """The representation of the settings may appear in a traceback with local variables, or in a debugger."""
    settings = Settings.from_environment({"HPOQ_STORE": "redis://me:canary@host/0"})
    assert "canary" in str(settings.store)
    assert "canary" not in repr(settings)


def test_the_dead_letter_queue_is_not_the_source_queue():
    """A dead letter in the source queue would be delivered, acknowledged as a duplicate, and lost."""
    (problem,) = problems(HPOQ_QUEUE="q", HPOQ_DEAD_LETTER_QUEUE="q")
    assert problem == "HPOQ_DEAD_LETTER_QUEUE must be a different queue from HPOQ_QUEUE"
    Settings.from_environment({"HPOQ_QUEUE": "q", "HPOQ_DEAD_LETTER_QUEUE": "q-dead"})


@pytest.mark.parametrize("name", ["q", "q-dead"])
def test_the_watch_queue_is_a_queue_of_its_own(name):
    """A watch message among the dead letters would be redriven as one, and its experiment not be followed."""
    queues = {"HPOQ_QUEUE": "q", "HPOQ_DEAD_LETTER_QUEUE": "q-dead"}
    (problem,) = problems(**queues, HPOQ_WATCH_QUEUE=name)
    assert problem.partition(" must be ")[0] == "HPOQ_WATCH_QUEUE"
    Settings.from_environment({**queues, "HPOQ_WATCH_QUEUE": "q-watch"})


def test_settings_that_contradict_each_other_are_all_listed():
    """What is wrong with the settings together is listed at once as well."""
    found = problems(HPOQ_QUEUE="q", HPOQ_DEAD_LETTER_QUEUE="q", HPOQ_WATCH_QUEUE="q", HPOQ_LEASE_SECONDS="5")
    assert [problem.split()[0] for problem in found] == [
        "HPOQ_LEASE_SECONDS",
        "HPOQ_DEAD_LETTER_QUEUE",
        "HPOQ_WATCH_QUEUE",
    ]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("HPOQ_MAX_ATTEMPTS", "x", "HPOQ_MAX_ATTEMPTS must be a whole number"),
        ("HPOQ_MAX_ATTEMPTS", "1.5", "HPOQ_MAX_ATTEMPTS must be a whole number"),
        ("HPOQ_MAX_ATTEMPTS", "0", "HPOQ_MAX_ATTEMPTS must be at least 1"),
        ("HPOQ_LIST_PAGE_SIZE", "1000", "HPOQ_LIST_PAGE_SIZE must be at most 100"),
        ("HPOQ_RETENTION_DAYS", "x", "HPOQ_RETENTION_DAYS must be a number"),
        ("HPOQ_WATCH_MAX_DAYS", "nan", "HPOQ_WATCH_MAX_DAYS must be a number"),
        ("HPOQ_OPENTELEMETRY", "maybe", "HPOQ_OPENTELEMETRY must be true or false"),
        ("HPOQ_MARKER", "none", "HPOQ_MARKER must be 'both', 'tag' or 'description'"),
        *(
            ("HPOQ_LOG_LEVEL", text, "HPOQ_LOG_LEVEL must be 'DEBUG'")
            for text in ("debug", "VERBOSE", "WARN")
        ),
        ("HPOQ_MAX_ATTEMPTS", "9" * 5000, "HPOQ_MAX_ATTEMPTS must be a whole number"),
        ("HPOQ_RETENTION_DAYS", "inf", "HPOQ_RETENTION_DAYS must be a number"),
        ("HPOQ_NAMESPACE", "x" * 256, "HPOQ_NAMESPACE must be a string of at most 255 characters"),
        ("HPOQ_NAME", "Bad Name", "HPOQ_NAME must be 2 to 20 lower-case letters, digits and hyphens"),
        ("HPOQ_NAME", "--", "HPOQ_NAME must be 2 to 20 lower-case letters"),
        ("HPOQ_QUEUE", "a b", "HPOQ_QUEUE must be 1 to 120 letters, digits, hyphens and underscores"),
        *(
            ("HPOQ_OUTPUT", text, _OUTPUTS)
            for text in ("hpo-results", "smq://", "file://x", "ftp://x", "stdout://x")
        ),
    ],
)
def test_a_problem_says_what_the_setting_must_be(name, value, problem):
    """The words are those of a person who sets a variable, not those of a parser."""
    (found,) = problems(**{name: value})
    assert found.startswith(problem)
