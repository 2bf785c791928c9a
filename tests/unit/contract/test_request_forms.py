import base64
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requestdocs import JSON, MINIMAL, PLACES, REQUESTS, ROOT, parse, places, put

from hpoq.contract.fingerprint import fingerprint
from hpoq.contract.request import parse_request
from hpoq.errors import RequestRejected

# A changed value makes every request in flight a conflict with itself.
GOLDEN = {
    "bare-body.json": "5d0504d9183251d341dcb6a106a2e6c38443f640def1faf6871b1a9739746ef7",
    "cloudevent.json": "0688a930e4fae12da5df24dabb9c1ff22b3fccfbf4b29590492563addb56260d",
    "dlc-json.json": "0cb904490b49647c454c48dd1fc2ef93987f794030c08d561a57a252bb97ddb2",
    "dlc-stdout.json": "d3253ce343ca7fe89e88226f93d692e089413d9a16042755707e198196535520",
    "maxcompute-easyrec-summary.json": "60861ddf62745a131005f49a4c9d5dcee4a12bf247312c2f17d018d68edd5c4e",
    "maxcompute-table.json": "23a5bac53df66e10cbdf9406648db34dbfe21879145297741dc5b45e4ba2eb34",
    "minimal.json": "0688a930e4fae12da5df24dabb9c1ff22b3fccfbf4b29590492563addb56260d",
    "paiflow-table.json": "c6281289d23a481a3f39f6e1610406ec3c79eda15eade612ec789d7b8e705cda",
}


def experiment_in(document):
    document = document.get("data", document)
    return document.get("experiment", document)


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_what_is_sent_is_what_was_written(path):
    """Every example reaches the service as its producer wrote it, secrets and all."""
    document = json.loads(path.read_text())
    assert parse(document).request.experiment.wire() == experiment_in(document)


def test_base64_is_undone_once():
    """A body as the SMQ SDKs send it is the same request."""
    plain = json.dumps(MINIMAL).encode()
    assert parse_request(base64.b64encode(plain)) == parse_request(plain)


def test_forms_are_one_request():
    """Wrapped, bare, in a CloudEvent's data or data_base64: the same experiment, the same fingerprint."""
    bare = MINIMAL["experiment"]
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    encoded = base64.b64encode(json.dumps(bare).encode()).decode()
    forms = [
        MINIMAL,
        bare,
        {**event, "data": MINIMAL},
        {**event, "data": bare},
        {**event, "data_base64": encoded},
    ]
    assert len({fingerprint(parse(form).request) for form in forms}) == 1


def test_what_is_of_the_message_is_not_in_the_fingerprint():
    """Key, trace and version do not make it another experiment; any change of the experiment does."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    same = {**MINIMAL, "idempotencyKey": "k", "schemaVersion": "1", "traceparent": trace}
    assert fingerprint(parse(same).request) == fingerprint(parse(MINIMAL).request)
    other = copy.deepcopy(MINIMAL)
    other["experiment"]["Name"] += "!"
    assert fingerprint(parse(other).request) != fingerprint(parse(MINIMAL).request)


def test_numbers_count_by_value():
    """1 and 1.0 are one number, to a fingerprint as to JSON."""
    one, same = copy.deepcopy(MINIMAL), copy.deepcopy(MINIMAL)
    one["experiment"]["HpoExperimentConfiguration"]["metric_config"]["metric_dict"]["score"] = 1
    same["experiment"]["HpoExperimentConfiguration"]["metric_config"]["metric_dict"]["score"] = 1.0
    assert fingerprint(parse(one).request) == fingerprint(parse(same).request)


def test_large_numbers_count_by_value_too():
    """So are 1e20 and its digits, and 0 and -0.0."""
    for written, same in [("1e20", "1" + "0" * 20), ("0", "-0.0"), ("1.5e0", "1.5")]:
        text = json.dumps(MINIMAL)
        bodies = [text.replace('"score": 1', f'"score": {number}').encode() for number in (written, same)]
        assert bodies[0] != bodies[1]
        assert len({fingerprint(parse_request(body).request) for body in bodies}) == 1


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_fingerprints(name):
    """Fingerprints never change from version to version."""
    body = (ROOT / "events" / "requests" / name).read_bytes()
    assert fingerprint(parse_request(body).request) == GOLDEN[name]


def test_null_is_absent():
    """A null member is as if it were not there, and is never sent."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["Description"] = None
    document["experiment"]["HpoExperimentConfiguration"]["oss_config"] = None
    document["traceparent"] = None
    assert parse(document).request.experiment.wire() == MINIMAL["experiment"]


def test_a_null_that_means_something_is_sent():
    """Within an object whose members are free, a null is a value like any other."""
    document = copy.deepcopy(MINIMAL)
    arguments = document["experiment"]["HpoExperimentConfiguration"]["yml_config"]["tuner"]["class_args"]
    arguments["tpe_args"] = {"constant_liar_type": None}
    assert parse(document).request.experiment.wire() == document["experiment"]


@pytest.mark.parametrize("trace", ["x", "x" * 70_000, f"00-{'0' * 32}-b7ad6b7169203331-01", ""])
def test_what_is_no_trace_is_dropped(trace):
    """A traceparent of another form goes no further than the warning."""
    parsed = parse({**MINIMAL, "traceparent": trace})
    assert parsed.request.traceparent is None
    assert [warning.rule for warning in parsed.warnings] == ["traceparent"]


def test_the_two_conversions():
    """moving_avg is sent as text, a search space that is text as an object; nothing else is touched."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    space = config["search_space"]
    config["search_space"] = json.dumps(space)
    config["yml_config"]["assessor"] = {"name": "PAIAssessor", "class_args": {"moving_avg": True}}
    sent = parse(document).request.experiment.wire()["HpoExperimentConfiguration"]
    assert sent["search_space"] == space
    assert sent["yml_config"]["assessor"]["class_args"]["moving_avg"] == "true"


def test_markers():
    """The marker joins the tags, or stands behind the description; the rest is as written."""
    experiment = parse({"experiment": {**MINIMAL["experiment"], "Tag": [{"Key": "a"}]}}).request.experiment
    assert experiment.marked(extra_tags=[("hpoq-key", "K")])["Tag"] == [
        {"Key": "a"},
        {"Key": "hpoq-key", "Value": "K"},
    ]
    assert experiment.marked(description_suffix="[m]")["Description"] == "[m]"
    described = parse({"experiment": {**MINIMAL["experiment"], "Description": "mine"}}).request.experiment
    assert described.marked(description_suffix="[m]")["Description"] == "mine [m]"


CREDENTIALS = {
    "oss_config": ("accessKeyID", "accessKeySecret"),
    "odps_config": ("access_id", "access_key"),
    "dlc_config": ("access_id", "access_key"),
    "ts_config": ("access_key_id", "access_key_secret"),
    "paiflow_config": ("access_key_id", "access_key_secret"),
    "monitor_config": ("url",),
}


@pytest.mark.parametrize(("holder", "name"), [(h, n) for h, names in CREDENTIALS.items() for n in names])
def test_credentials_are_secrets(holder, name):
    """A credential is known as a secret, sent in clear, and shown by no text form or violation."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["HpoExperimentConfiguration"][holder] = {name: "canary-0"}
    request = parse(document).request
    assert set(request.secrets()) == {"canary-0"}
    assert request.experiment.wire()["HpoExperimentConfiguration"][holder][name] == "canary-0"
    assert "canary" not in f"{request!r} {request}"
    for wrong in (["canary-1"], {"canary-2": 3}):
        document["experiment"]["HpoExperimentConfiguration"][holder] = {name: wrong, f"{name}_x": "canary-4"}
        with pytest.raises(RequestRejected) as caught:
            parse(document)
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.violations}"


HOLDERS = ["", "oss_config", "odps_config", "yml_config", "platform_config", "metric_config", "params_config"]


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(
    "name", ["accessKeySecret", "access_key", "access_key_secrt", "AccessKeySecret", "url"]
)
@pytest.mark.parametrize("value", ["canary", ["canary"], {"canary": "canary"}])
def test_misplaced_credentials_are_not_told(holder, name, value):
    """A credential in the wrong place, misspelt, or of the wrong type is refused without a word of it."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    (config.setdefault(holder, {}) if holder else config)[name] = value
    if (holder, name) in (
        ("oss_config", "accessKeySecret"),
        ("odps_config", "access_key"),
    ) and value == "canary":
        assert "canary" not in repr(parse(document))
        return
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert "canary" not in f"{caught.value!r} {caught.value.violations} {caught.value.warnings}"


@pytest.mark.parametrize("holder", CREDENTIALS)
@pytest.mark.parametrize("name", ["LTAI5tCanary", "canary" * 5, "https://x/?access_token=canary"])
def test_names_that_may_be_credentials_are_not_told(holder, name):
    """A credential written as the name of a member, beside the others, stands in no pointer."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["HpoExperimentConfiguration"][holder] = {name: "access_key"}
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert "canary" not in f"{caught.value!r} {caught.value.violations}".lower()
    (violation,) = caught.value.violations
    assert violation.pointer == f"/experiment/HpoExperimentConfiguration/{holder}"


@given(st.sampled_from(PLACES), JSON)
def test_pointers_resolve(pointer, value):
    """Whatever stands wherever, each finding points into the document, or to a member that an object lacks."""
    document = copy.deepcopy(MINIMAL)
    put(document, pointer, value)
    try:
        findings = parse(document).warnings
    except RequestRejected as exc:
        findings = exc.violations + exc.warnings
        assert exc.violations
    known = set(places(document))
    for finding in findings:
        lacking = finding.rule in ("required", "configuration.absent")
        assert finding.pointer in known or (lacking and finding.pointer.rpartition("/")[0] in known), finding


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_request_or_rejected(body):
    """No body raises anything but a rejection."""
    try:
        parse_request(body)
    except RequestRejected as exc:
        assert exc.violations


def test_name_and_workspace_of_a_rejected_request():
    """A rejection tells which experiment was meant, as far as that can be read."""
    with pytest.raises(RequestRejected) as caught:
        parse({"experiment": {"Name": "n", "WorkspaceId": 5}})
    assert (caught.value.name, caught.value.workspace_id) == ("n", None)


def test_the_trace_of_a_cloudevent_is_carried_on():
    """A CloudEvent's own traceparent counts where the request in it has none, if it is one."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    own = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01"
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "traceparent": trace,
        "data": MINIMAL,
    }
    assert parse(event).request.traceparent == trace
    assert parse({**event, "data": {**MINIMAL, "traceparent": own}}).request.traceparent == own
    assert parse({**event, "traceparent": "x"}).request.traceparent is None


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        (
            '{"experiment": {"oss_config": {"LTAI5tCANARY0123": 1, "LTAI5tCANARY0123": 2}}}',
            "/experiment/oss_config",
        ),
        ('{"experiment": {"LTAI5tCANARY0123": {"a": 1, "a": 2}}}', "/experiment"),
        ('{"experiment": {"x": {"${lr}": 1, "${lr}": 2}}}', "/experiment/x/${lr}"),
        ('{"HpoExperimentConfiguration": 1, "HpoExperimentConfiguration": 2}', "/HpoExperimentConfiguration"),
    ],
)
def test_a_name_that_stands_twice_may_be_a_credential(text, pointer):
    """Only a name that is a word or a parameter is shown; for another the pointer ends before it."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(text.encode())
    (violation,) = caught.value.violations
    assert (violation.rule, violation.pointer) == ("json.duplicate-key", pointer)
    assert "CANARY" not in str(violation.as_dict())
