"""`hpoq resolve` records what a person found out about a key in doubt, and refuses everything else."""

import json
import time
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner

import alilocal
from alilocal.paiautoml.model import Draft
from hpoq.clock import SystemClock
from hpoq.cloud.connections import new_session
from hpoq.cloud.transport import Transport
from hpoq.contract.identity import TAG_KEY, derive_key, format_marker
from hpoq.idempotency.store import open_store
from hpoq.processing import lifecycle
from hpoq.processing.lifecycle import Delivery, Terms
from hpoqctl.app import app
from hpoqctl.pipeline import TABLE, create_pipeline, loopback_credentials
from support.deployment import function_environment, tablestore_url

TERMS = Terms(90, 10, 15, 30 * 86_400, 10)
KEY = derive_key("smq", "M1")
OTHER = derive_key("smq", "M2")
NOW = time.time()
DELIVERY = Delivery(KEY, "f", "m", "b")
DOUBTFUL = lifecycle.claim(DELIVERY, "owner", NOW - 1000, TERMS)
HELD = lifecycle.claim(DELIVERY, "owner", NOW, replace(TERMS, lease=3600.0))
CREATED = lifecycle.complete(DOUBTFUL, "s1", "{}", NOW, TERMS)
REJECTED = lifecycle.reject(DOUBTFUL, "{}", NOW, TERMS)
FAILED = lifecycle.mark_published(lifecycle.fail(DOUBTFUL, "{}", NOW, TERMS), NOW)


@dataclass
class Desk:
    """An operator's environment: a store and a running service."""

    url: str
    server: alilocal.Server

    def write(self, record):
        store = open_store(self.url)
        store.insert(record)
        store.close()

    @property
    def record(self):
        store = open_store(self.url)
        try:
            return store.get(KEY)
        finally:
            store.close()

    def create(self, *, tags=(), description=None):
        """Return the id of an experiment that exists."""
        cloud = self.server.cloud
        draft = Draft("x", description, "1", "PRIVATE", tuple(tags), {})
        return cloud._services.paiautoml.experiments.create(draft, cloud.account_id).experiment_id

    def run(self, *words, **environ):
        given = function_environment(self.server, HPOQ_STORE=self.url)
        return CliRunner().invoke(app, ["resolve", *words], env={**given, **environ})

    def refuses(self, *words, **environ):
        """Return the reason, after checking that nothing was written."""
        before = self.record
        done = self.run(*words, "--json", **environ)
        reported = json.loads(done.output)
        assert (done.exit_code, reported["resolved"], self.record) == (1, False, before)
        said = self.run(*words, **environ)
        assert (said.exit_code, reported["reason"] in said.output) == (1, True)
        return reported["reason"]


@pytest.fixture
def desk(tmp_path):
    url = f"sqlite:///{tmp_path}/records.sqlite3"
    open_store(url).close()
    with alilocal.serve() as server:
        yield Desk(url, server)


WAYS = [[KEY], ["--message-id", "M1"], ["--message-id", "M1", "--source", "smq"]]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_none_ends_the_doubt(desk, way):
    """The next delivery may create; its nonce stays, so that a late copy of an earlier create collides with it."""
    desk.write(DOUBTFUL)
    done = desk.run(*way, "--none")
    assert done.exit_code == 0, done.output
    assert desk.record == replace(DOUBTFUL, owner="owner.1", doubt_until=None)
    assert f"hpoq redrive --match {KEY}" in done.output
    assert "creates" in done.output


@pytest.mark.parametrize(
    "marks",
    [
        {"tags": [(TAG_KEY, KEY)]},
        {"description": format_marker(KEY)},
        {"tags": [("team", "a")], "description": "made by hand"},
        {},
    ],
)
def test_an_experiment_is_recorded(desk, marks):
    """The next delivery announces it: it carries the key, or no key at all, as after a lost marker."""
    desk.write(DOUBTFUL)
    experiment_id = desk.create(**marks)
    done = desk.run(KEY, "--experiment", experiment_id, "--json")
    reported = json.loads(done.output)
    assert (done.exit_code, reported["resolved"], reported["experimentId"]) == (0, True, experiment_id)
    assert desk.record == replace(DOUBTFUL, owner="owner.1", experiment_id=experiment_id)
    assert any("hpoq redrive" in line for line in reported["explanation"])


def test_an_experiment_of_another_key_is_refused(desk):
    """An experiment that belongs to another message is refused, unless --unchecked is given."""
    desk.write(DOUBTFUL)
    experiment_id = desk.create(tags=[(TAG_KEY, OTHER)])
    assert OTHER in desk.refuses(KEY, "--experiment", experiment_id)
    assert desk.run(KEY, "--experiment", experiment_id, "--unchecked").exit_code == 0
    assert desk.record.experiment_id == experiment_id


def test_an_experiment_that_does_not_exist_is_refused(desk):
    """A mistyped id must not be announced."""
    desk.write(DOUBTFUL)
    assert "does not exist" in desk.refuses(KEY, "--experiment", "automl-mistyped")
    assert desk.run(KEY, "--experiment", "automl-mistyped", "--unchecked").exit_code == 0


def test_an_experiment_that_cannot_be_looked_up_is_refused(desk):
    """Without an answer of the service nothing is written."""
    desk.write(DOUBTFUL)
    desk.server.cloud.faults.add(
        service="paiautoml", operation="GetHpoExperiment", kind="reset", when="before", times=None
    )
    assert "could not be looked up" in desk.refuses(KEY, "--experiment", "s1")


def test_unchecked_needs_no_service(desk):
    """With --unchecked, only the store is asked."""
    desk.write(DOUBTFUL)
    done = desk.run(
        KEY,
        "--experiment",
        "s1",
        "--unchecked",
        HPOQ_REGION="",
        HPOQ_PAIAUTOML_ENDPOINT="",
        HPOQ_SMQ_ENDPOINT="",
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("decision", [["--none"], ["--experiment", "s1"]], ids=" ".join)
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "no record"),
        (HELD, "still being processed"),
        (CREATED, "already ended as created"),
        (REJECTED, "already ended as rejected"),
        (FAILED, "already ended as failed"),
    ],
)
def test_a_key_that_is_not_in_doubt_is_refused(desk, record, reason, decision):
    """A key that a delivery holds, or that has an outcome, cannot be resolved."""
    if record is not None:
        desk.write(record)
    assert reason in desk.refuses(KEY, *decision)


def test_the_end_of_a_claim_is_reported(desk):
    """The message says until when the claim holds."""
    desk.write(HELD)
    ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(HELD.lease_until))
    assert ends in desk.refuses(KEY, "--none")


def test_a_lost_race_is_reported(desk):
    """If a delivery takes the key over while the service is searched, nothing is recorded."""
    desk.write(DOUBTFUL)

    def take_over_first(call):
        desk.server.cloud.handle, store = handle, open_store(desk.url)
        taken = lifecycle.take_over(DOUBTFUL, DELIVERY, "another", time.time(), TERMS)
        assert store.replace(taken, DOUBTFUL.version)
        store.close()
        return handle(call)

    handle, desk.server.cloud.handle = desk.server.cloud.handle, take_over_first
    done = desk.run(KEY, "--none", "--json")
    assert (done.exit_code, json.loads(done.output)["resolved"]) == (1, False)
    assert "in the meantime" in json.loads(done.output)["reason"]
    assert desk.record.owner == "another"


def test_none_is_refused_while_a_create_may_still_take_effect(desk):
    """The message says until when an earlier create may take effect; --unchecked overrides it."""
    desk.write(replace(DOUBTFUL, doubt_until=NOW + 10_000))
    ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(NOW + 10_000))
    assert f"may still take effect until {ends}" in desk.refuses(KEY, "--none")
    done = desk.run(KEY, "--none", "--unchecked")
    assert (done.exit_code, "may still take effect" in done.output) == (0, True)
    assert desk.record.doubt_until is None


@pytest.mark.parametrize("marks", [{"tags": [(TAG_KEY, KEY)]}, {"description": format_marker(KEY)}])
def test_none_is_refused_while_an_experiment_carries_the_key(desk, marks):
    """All pages of the service are searched for both markers, whatever the operator saw in the console."""
    desk.write(DOUBTFUL)
    experiment_id = desk.create(**marks)
    desk.create()
    assert f"Use --experiment {experiment_id}" in desk.refuses(KEY, "--none", HPOQ_LIST_PAGE_SIZE="1")
    assert desk.run(KEY, "--none", "--unchecked").exit_code == 0
    assert desk.record.doubt_until is None


def test_none_is_accepted_if_the_listing_is_inconclusive(desk):
    """The operator may decide that an experiment without any marker belongs to no message."""
    desk.write(DOUBTFUL)
    desk.create()
    assert desk.run(KEY, "--none").exit_code == 0
    assert desk.record.doubt_until is None


def test_none_is_refused_if_the_service_cannot_be_searched(desk):
    """Without an answer of the service, an experiment with this key may exist."""
    desk.write(DOUBTFUL)
    desk.server.cloud.faults.add(
        service="paiautoml", operation="ListHpoExperiments", kind="reset", when="before", times=None
    )
    assert "could not be searched" in desk.refuses(KEY, "--none")


def test_none_is_refused_at_another_endpoint(desk):
    """The experiment may exist where the create was sent."""
    desk.write(replace(DOUBTFUL, place="https://paiautoml.elsewhere"))
    assert "HPOQ_PAIAUTOML_ENDPOINT=https://paiautoml.elsewhere" in desk.refuses(KEY, "--none")


def test_a_producers_key_and_a_namespace(desk):
    """Keys are derived as the function derives them."""
    key = derive_key("producer", "tune-1", "team-a")
    desk.write(replace(DOUBTFUL, key=key))
    done = desk.run("--idempotency-key", "tune-1", "--none", "--json", HPOQ_NAMESPACE="team-a")
    assert (done.exit_code, json.loads(done.output)["key"]) == (0, key)


def test_a_running_local_cloud(desk):
    """--endpoint selects both the store and the service."""
    create_pipeline(desk.server.cloud)
    experiment_id = desk.create(tags=[(TAG_KEY, KEY)])
    words = [KEY, "--experiment", experiment_id, "--endpoint", desk.server.url]
    environ = {"HPOQ_STORE": "", "HPOQ_PAIAUTOML_ENDPOINT": "", "HPOQ_REGION": ""}
    done = desk.run(*words, **environ)
    assert (done.exit_code, "no record" in done.output) == (1, True)
    assert TABLE in desk.server.cloud.tables.list()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([KEY], "--none or --experiment"),
        ([KEY, "--none", "--experiment", "s1"], "--none or --experiment"),
        (["--none"], "Give exactly one of KEY"),
        ([KEY, "--message-id", "M1", "--none"], "Give exactly one of KEY"),
        ([KEY, "--experiment", ".."], "not an experiment id"),
        ([KEY, "--none", "--store", "nowhere://x"], "unknown kind of store"),
    ],
)
def test_wrong_usage(desk, words, said):
    """Exit code 2, and what to give instead."""
    desk.write(DOUBTFUL)
    done = desk.run(*words)
    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert desk.record == DOUBTFUL


def test_a_store_that_does_not_answer(desk):
    """Exit code 1: nothing was written."""
    done = desk.run(KEY, "--none", "--store", "redis://127.0.0.1:1/0")
    assert (done.exit_code, "redis" in done.output) == (1, True)


def test_missing_settings_are_named(desk):
    """The message names the missing option or variable, not the function's context."""
    desk.write(DOUBTFUL)
    missing = dict.fromkeys(("HPOQ_REGION", "HPOQ_ACCOUNT_ID", "HPOQ_PAIAUTOML_ENDPOINT"), "")
    done = desk.run(KEY, "--none", **missing)
    assert done.exit_code == 2
    assert "The endpoint of PAI AutoML is not known." in done.output
    assert "--endpoint" in done.output
    assert "context" not in done.output


def test_the_clock_of_the_local_cloud_decides_when_a_claim_ends(desk):
    """A claim that ended on the local cloud's clock is no longer held, whatever this machine's clock says."""
    create_pipeline(desk.server.cloud)
    store = open_store(
        tablestore_url(desk.server), Transport(new_session(1), SystemClock()), loopback_credentials
    )
    store.insert(HELD)
    words = [KEY, "--none", "--endpoint", desk.server.url]
    environ = {"HPOQ_STORE": "", "HPOQ_PAIAUTOML_ENDPOINT": ""}
    assert "still being processed" in desk.run(*words, **environ).output
    desk.server.cloud.clock.advance(200_000)
    done = desk.run(*words, **environ)
    assert (done.exit_code, "resolved" in done.output) == (0, True), done.output
    store.close()
