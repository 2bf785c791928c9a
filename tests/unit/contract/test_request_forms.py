import base64
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requestdocs import JSON, MINIMAL, PLACES, REQUESTS, ROOT, parse, places, put

from hpoq.contract.jsontext import MOST_BODY_BYTES, pointer_to, tokens_of
from hpoq.contract.request import compute_fingerprint, parse_request, read_producer_key
from hpoq.errors import RequestRejected
from hpoq.observability.secret_names import find_secrets
from support.budget import CI_BUDGET

# A changed value makes every request in flight a conflict with itself.
GOLDEN = {
    "bare-body.json": "5d0504d9183251d341dcb6a106a2e6c38443f640def1faf6871b1a9739746ef7",
    "cloudevent.json": "0688a930e4fae12da5df24dabb9c1ff22b3fccfbf4b29590492563addb56260d",
    "dlc-json.json": "36f56dfa65cbbfcd0471af88fccab0fd0f20666d020f538e7a6e192a818d8863",
    "dlc-stdout.json": "79a66501ed23e80d48eeb56e51cdd72bb9563a946cc88f56cf4a71553a94c44d",
    "maxcompute-easyrec-summary.json": "60861ddf62745a131005f49a4c9d5dcee4a12bf247312c2f17d018d68edd5c4e",
    "maxcompute-table.json": "23a5bac53df66e10cbdf9406648db34dbfe21879145297741dc5b45e4ba2eb34",
    "minimal.json": "0688a930e4fae12da5df24dabb9c1ff22b3fccfbf4b29590492563addb56260d",
    "paiflow-table.json": "f893f63e35547494d874dd24fcfb661099cba572e72b0cef24737f39e68bc5e0",
}


def at_pointer(document, pointer):
    """Return the value at `pointer`."""
    for token in tokens_of(pointer):
        document = document[int(token)] if isinstance(document, list) else document[token]
    return document


def experiment_in(document):
    document = document.get("data", document)
    return document.get("experiment", document)


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_what_is_sent_is_what_was_written(path):
    """Every example is sent as its producer wrote it, including secrets."""
    document = json.loads(path.read_text())
    assert parse(document).request.experiment.wire() == experiment_in(document)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"experiment: {}\n",
            b"'{\"experiment\": {}}'",
            b"experiment=%7B%7D",
            b"# x\n{}",
            b"```json\n{}\n```",
        ),
        *('\u200b{"experiment": {}}'.encode(), "\uff5b}".encode(), b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}'),
        *('{"experiment": {}}'.encode("utf-16-be"), '{"experiment": {}}'.encode("utf-32-le")),
        *(b'\0\0\0\0\x05{"experiment": {}}', b" \n ", b"null", b"12345", b'"hello"', b"@request.json"),
    ],
)
def test_a_fault_in_base64_is_explained_like_the_text_itself(body):
    """What is not JSON is explained by the text that its producer wrote, not by its base64, which SDKs add."""
    event = {"specversion": "1.0", "data": base64.b64encode(body).decode()}
    found = []
    for sent in (body, base64.b64encode(body), json.dumps(event).encode()):
        with pytest.raises(RequestRejected) as caught:
            parse_request(sent)
        found.append([(one.rule, one.message) for one in caught.value.violations])
    assert found[0] == found[1] == found[2]


def test_base64_is_undone_once():
    """One layer of base64 is undone, as the SMQ SDKs add it."""
    plain = json.dumps(MINIMAL).encode()
    assert parse_request(base64.b64encode(plain)) == parse_request(plain)


def test_forms_are_one_request():
    """All forms of a request (wrapped, bare, CloudEvent with data or data_base64) have the same fingerprint."""
    bare = MINIMAL["experiment"]
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    encoded = base64.b64encode(json.dumps(bare).encode()).decode()
    forms = [
        MINIMAL,
        bare,
        {**event, "data": MINIMAL},
        {**event, "data": bare},
        {"experiment": json.dumps(bare)},
        {"experiment": encoded},
        json.dumps(MINIMAL),
        json.dumps(bare),
        json.dumps({**event, "data": MINIMAL}),
        json.dumps({**event, "data": json.dumps(bare)}),
        encoded,
        {**event, "data": {"experiment": json.dumps(bare)}},
        {**event, "data": json.dumps(MINIMAL)},
        {**event, "data": encoded},
        {**event, "data_base64": encoded},
    ]
    assert len({compute_fingerprint(parse(form).document) for form in forms}) == 1


@pytest.mark.parametrize(
    "layer",
    [
        lambda text: json.dumps(text),
        lambda text: base64.b64encode(json.dumps(text).encode()).decode(),
        lambda text: base64.urlsafe_b64encode(json.dumps(text).encode()).decode().rstrip("="),
        lambda text: json.dumps(base64.b64encode(text.encode()).decode()),
        lambda text: json.dumps(base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")),
        lambda text: "\ufeff" + json.dumps(text),
        lambda text: "\ufeff" + base64.b64encode(text.encode()).decode(),
    ],
)
def test_one_layer_of_text_around_the_body_is_undone(layer):
    """A body may be a JSON string that contains the document, plain or in base64, but not a string around that."""
    request = {"idempotencyKey": "k", **MINIMAL}
    body = layer(json.dumps(request)).encode()
    assert parse_request(body) == parse(request)
    assert read_producer_key(body) == "k"
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps(json.dumps(json.dumps(request))).encode())
    assert [violation.rule for violation in caught.value.violations] == ["document.shape"]
    assert read_producer_key(json.dumps(json.dumps(json.dumps(request))).encode()) is None


OBJECTS = [
    pointer
    for pointer in ("/experiment", *PLACES)
    if isinstance(at_pointer(MINIMAL, pointer), dict) and "/search_space/" not in pointer
]


@pytest.mark.parametrize("pointer", OBJECTS)
@pytest.mark.parametrize(
    "encode", [str, lambda text: base64.b64encode(text.encode()).decode()], ids=["text", "base64"]
)
def test_each_object_may_be_text(pointer, encode):
    """Where an object is expected, a string that contains it as JSON text or in base64 is sent as the object."""
    document = copy.deepcopy(MINIMAL)
    put(document, pointer, encode(json.dumps(at_pointer(document, pointer))))
    parsed = parse(document)
    assert parsed.request == parse(MINIMAL).request
    warned = {warning.pointer for warning in parsed.warnings}
    assert warned == (set() if pointer == "/experiment" else {pointer})


def test_a_text_in_a_text_is_an_object_too():
    """Each object may be text, also inside another one; a finding is at the outermost and says where it is inside."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    config["metric_config"]["metric_dict"] = json.dumps(config["metric_config"]["metric_dict"])
    config["metric_config"] = json.dumps(config["metric_config"])
    document["experiment"]["HpoExperimentConfiguration"] = json.dumps(config)
    document["experiment"] = json.dumps(document["experiment"])
    parsed = parse(document)
    assert parsed.request == parse(MINIMAL).request
    assert {warning.pointer for warning in parsed.warnings} == {"/experiment"}


def test_credentials_in_a_text_are_secrets():
    """A section that is text holds credentials as the section itself does."""
    document = copy.deepcopy(MINIMAL)
    section = json.dumps({"access_id": "canary-1", "access_key": "canary-2"})
    document["experiment"]["HpoExperimentConfiguration"]["odps_config"] = section
    request = parse(document).request
    assert set(find_secrets(request.wire())) == {"canary-1", "canary-2"}
    assert "canary" not in f"{request!r}"
    document["experiment"]["Nmae"] = 1
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert "canary" not in f"{caught.value!r} {caught.value.violations} {caught.value.warnings}"


def test_only_the_experiment_is_in_the_fingerprint():
    """The key, the trace and the version do not change the fingerprint; any change of the experiment does."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    same = {**MINIMAL, "idempotencyKey": "k", "schemaVersion": "1", "traceparent": trace}
    assert compute_fingerprint(parse(same).document) == compute_fingerprint(parse(MINIMAL).document)
    other = copy.deepcopy(MINIMAL)
    other["experiment"]["Name"] += "!"
    assert compute_fingerprint(parse(other).document) != compute_fingerprint(parse(MINIMAL).document)


def test_numbers_count_by_value():
    """1 and 1.0 have the same fingerprint, and so have 1e20 and its digits, 0 and -0.0."""
    for written, same in [("1", "1.0"), ("1e20", "1" + "0" * 20), ("0", "-0.0"), ("1.5e0", "1.5")]:
        text = json.dumps(MINIMAL)
        bodies = [text.replace('"score": 1', f'"score": {number}').encode() for number in (written, same)]
        assert bodies[0] != bodies[1]
        assert len({compute_fingerprint(parse_request(body).document) for body in bodies}) == 1


def test_an_integer_with_a_decimal_point_is_sent_as_an_integer():
    """5.0 is the integer 5, as in JSON Schema."""
    document = copy.deepcopy(MINIMAL)
    run = document["experiment"]["HpoExperimentConfiguration"]["yml_config"]
    run["max_trial_number"] = 5.0
    sent = parse(document).request.experiment.wire()["HpoExperimentConfiguration"]["yml_config"]
    assert isinstance(sent["max_trial_number"], int)
    assert sent == {**run, "max_trial_number": 5}


def test_the_schema_version_may_be_a_number():
    """The schema version 1 is the same as "1"."""
    assert parse({**MINIMAL, "schemaVersion": 1}).request == parse({**MINIMAL, "schemaVersion": "1"}).request


@pytest.mark.parametrize("decoder", [str.encode, lambda text: text.rstrip("=").encode()])
def test_base64_for_urls_or_without_padding_is_decoded(decoder):
    """data_base64 may use the alphabet for URLs, and needs no padding."""
    bare = {**MINIMAL["experiment"], "Description": "\u6d4b\u8bd5?>"}
    for padding in ("", " ", "  "):
        text = base64.urlsafe_b64encode((json.dumps(bare, ensure_ascii=False) + padding).encode()).decode()
        assert "-" in text or "_" in text
        encoded = decoder(text).decode()
        event = {"specversion": "1.0", "data_base64": encoded}
        assert parse(event).request.experiment.wire() == bare


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_fingerprints(name):
    """The fingerprint of an example never changes."""
    body = (ROOT / "events" / "requests" / name).read_bytes()
    assert compute_fingerprint(parse_request(body).document) == GOLDEN[name]


def test_null_is_absent():
    """A null member has the same effect as a missing one, and is never sent."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["Description"] = None
    document["experiment"]["HpoExperimentConfiguration"]["oss_config"] = None
    document["traceparent"] = None
    assert parse(document).request.experiment.wire() == MINIMAL["experiment"]


@pytest.mark.parametrize(
    "document",
    [
        {"idempotencyKey": "k", **MINIMAL, "stop": None, "guard": None, "dryRun": None, "$schema": None},
        {
            "idempotencyKey": "k",
            "stop": {"experimentId": "s1"},
            "experiment": None,
            "guard": None,
            "dryRun": None,
        },
        {"idempotencyKey": "k", "stop": {"experimentId": "s1"}, "experiment": None, "dryRun": False},
    ],
    ids=["request", "stop", "stop with a boolean"],
)
def test_null_members_of_the_other_kind_are_absent(document):
    """Serializers write every member of a class: a request may have a null stop, and a stop a null experiment.

    A member that is a boolean in the class is false there.
    """
    parsed = parse(document)
    present = {name: value for name, value in document.items() if value not in (None, False)}
    assert parsed.request.wire() == parse(present).request.wire()
    assert {warning.pointer for warning in parsed.warnings if warning.rule == "null"} == {
        f"/{name}" for name, value in document.items() if value is None
    }
    assert read_producer_key(json.dumps(document).encode()) == (None if "stop" in present else "k")


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("experiment", {}, "send it in a message of its own"),
        ("guard", {"maxHours": 1}, "remove it"),
        ("dryRun", True, "remove it"),
        ("dryRun", 0, "remove it"),
    ],
)
def test_members_of_a_request_beside_a_stop(name, value, instead):
    """Only an experiment can be sent by itself: a stop has no dry run, and a guard belongs to a request."""
    with pytest.raises(RequestRejected) as caught:
        parse({"stop": {"experimentId": "s1"}, name: value})
    (violation,) = caught.value.violations
    assert (violation.pointer, violation.message) == (
        f"/{name}",
        f"not allowed together with stop; {instead}",
    )


def test_a_null_that_means_something_is_sent():
    """In an object with free members, null is a value and is sent."""
    document = copy.deepcopy(MINIMAL)
    arguments = document["experiment"]["HpoExperimentConfiguration"]["yml_config"]["tuner"]["class_args"]
    arguments["tpe_args"] = {"constant_liar_type": None}
    assert parse(document).request.experiment.wire() == document["experiment"]


@pytest.mark.parametrize("trace", ["x", "x" * 70_000, f"00-{'0' * 32}-b7ad6b7169203331-01", ""])
def test_an_invalid_trace_is_dropped(trace):
    """An invalid traceparent causes a warning and is dropped."""
    parsed = parse({**MINIMAL, "traceparent": trace})
    assert parsed.request.traceparent is None
    assert [warning.rule for warning in parsed.warnings] == ["traceparent"]


def test_what_is_converted():
    """moving_avg is sent as a string, and JSON text as the object in it; nothing else is converted."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    space = config["search_space"]
    config["search_space"] = json.dumps(space)
    weights = config["metric_config"]["metric_dict"]
    config["metric_config"]["metric_dict"] = json.dumps(weights)
    config["yml_config"]["assessor"] = {"name": "PAIAssessor", "class_args": {"moving_avg": True}}
    sent = parse(document).request.experiment.wire()["HpoExperimentConfiguration"]
    assert sent["search_space"] == space
    assert sent["metric_config"]["metric_dict"] == weights
    assert sent["yml_config"]["assessor"]["class_args"]["moving_avg"] == "true"


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
    """A credential is a known secret, is sent in clear, and appears in no repr and no violation."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["HpoExperimentConfiguration"][holder] = {name: "canary-0"}
    request = parse(document).request
    assert set(find_secrets(request.wire())) == {"canary-0"}
    assert request.experiment.wire()["HpoExperimentConfiguration"][holder][name] == "canary-0"
    assert "canary" not in f"{request!r} {request}"
    for wrong in (["canary-1"], {"canary-2": 3}):
        document["experiment"]["HpoExperimentConfiguration"][holder] = {name: wrong, f"{name}_x": "canary-4"}
        with pytest.raises(RequestRejected) as caught:
            parse(document)
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.violations}"


HOLDERS = ["", "oss_config", "odps_config", "yml_config", "platform_config", "metric_config", "params_config"]


@pytest.mark.one_of("value", budget=CI_BUDGET)
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(
    "name", ["accessKeySecret", "access_key", "access_key_secrt", "AccessKeySecret", "url"]
)
@pytest.mark.parametrize("value", ["canary", ["canary"], {"canary": "canary"}])
def test_misplaced_credentials_are_not_quoted(holder, name, value):
    """A credential that is misplaced, misspelt or of the wrong type is rejected without being quoted."""
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


def test_a_secret_in_the_name_of_an_invalid_request_is_masked():
    """Its event shows the name and the workspace, in which a producer may write a secret."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"] |= {
        "Name": "token=can4ry-1",
        "WorkspaceId": "--password can4ry-2",
        "Accessibility": "x",
    }
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert (caught.value.name, caught.value.workspace_id) == ("token=***", "--password ***")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"dryRun": true, "dryRun": true, "experiment": %s}', id="repeated"),
        pytest.param(
            '{"specversion": "1.0", "type": "t", "source": "s", "id": "1", "guard": {}, "data": {"experiment": %s}}',
            id="misplaced",
        ),
    ],
)
def test_a_secret_in_the_name_of_a_request_that_is_only_badly_written_is_masked(body):
    """Nothing is wrong with the request itself."""
    experiment = copy.deepcopy(MINIMAL["experiment"]) | {"Name": "run-of-can4ry-1"}
    experiment["HpoExperimentConfiguration"]["dlc_config"] = {"access_id": "a", "access_key": "can4ry-1"}
    with pytest.raises(RequestRejected) as caught:
        parse_request((body % json.dumps(experiment)).encode())
    assert caught.value.name == "run-of-***"


@pytest.mark.parametrize(
    "name", ["token=can4ry-1", "run --password can4ry-1", "https://user:can4ry-1@host/x~y"]
)
@pytest.mark.parametrize("place", ["guard", "experiment", "search_space"])
def test_a_secret_in_a_name_is_masked_in_the_pointer(name, place):
    """A command line or a URL that became the name of a member, as in YAML; the rest of the name is shown."""
    document = copy.deepcopy(MINIMAL)
    config = document["experiment"]["HpoExperimentConfiguration"]
    document["guard"] = {"maxHours": 1}
    holders = {"guard": document["guard"], "experiment": document["experiment"]}
    holders.get(place, config["search_space"])[name] = {"_type": "choice", "_value": [1, 2]}
    try:
        found = parse(document).warnings
    except RequestRejected as exc:
        found = exc.violations
    shown = pointer_to(name.replace("can4ry-1", "***"))
    assert any(one.pointer.endswith(shown) for one in found)
    assert "can4ry" not in str(found)


@pytest.mark.parametrize("holder", CREDENTIALS)
@pytest.mark.parametrize("name", ["LTAI5tCanary", "canary" * 5, "https://x/?access_token=canary"])
def test_names_that_may_be_credentials_are_not_shown(holder, name):
    """A credential that is written as the name of a member appears in no pointer."""
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["HpoExperimentConfiguration"][holder] = {name: "access_key"}
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    assert "canary" not in f"{caught.value!r} {caught.value.violations}".lower()
    (violation,) = caught.value.violations
    assert violation.pointer == f"/experiment/HpoExperimentConfiguration/{holder}"


@given(st.sampled_from(PLACES), JSON)
def test_pointers_resolve(pointer, value):
    """Each finding points into the document, or to a member that is missing from an object in it."""
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
    """A body either is a request or raises RequestRejected."""
    try:
        parse_request(body)
    except RequestRejected as exc:
        assert exc.violations


@pytest.mark.parametrize("excess", [0, 1])
def test_the_largest_body_is_read(excess):
    """A body of exactly the limit is a request."""
    body = json.dumps(MINIMAL).encode().ljust(MOST_BODY_BYTES + excess)
    if excess == 0:
        assert parse_request(body).document == parse(MINIMAL).document
        return
    with pytest.raises(RequestRejected) as caught:
        parse_request(body)
    assert [one.rule for one in caught.value.violations] == ["body.too-large"]


def test_name_and_workspace_of_a_rejected_request():
    """A rejection contains the name and the workspace of the experiment, if they can be read."""
    with pytest.raises(RequestRejected) as caught:
        parse({"experiment": {"Name": "n", "WorkspaceId": 5}})
    assert (caught.value.name, caught.value.workspace_id) == ("n", None)


@pytest.mark.parametrize(("version", "says_string"), [(1, True), (1.0, True), ("0.3", False), (2, False)])
def test_a_number_as_the_version_of_a_cloudevent_is_explained(version, says_string):
    """It looks right in YAML, and 1.0 is printed for it."""
    with pytest.raises(RequestRejected) as caught:
        parse({"specversion": version, "data": MINIMAL})
    (found,) = caught.value.violations
    assert (found.pointer, "must be the string" in found.message) == ("/specversion", says_string)


def test_what_is_wrong_beside_a_text_is_not_reported_as_being_in_it():
    """A configuration that is written as JSON text says nothing about the members beside it."""
    document = copy.deepcopy(MINIMAL)
    experiment = document["experiment"]
    experiment["HpoExperimentConfiguration"] = json.dumps(experiment["HpoExperimentConfiguration"])
    experiment["Accessibility"] = "x"
    with pytest.raises(RequestRejected) as caught:
        parse(document)
    (found,) = caught.value.violations
    assert (found.pointer, "JSON text" in found.message) == ("/experiment/Accessibility", False)


def test_a_header_with_a_trace_is_no_cloudevent():
    """Nothing is missing in an HTTP request that has this header alone."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    parsed = parse_request(json.dumps(MINIMAL).encode(), {"traceparent": trace})
    assert (parsed.request.traceparent, parsed.warnings) == (trace, parse(MINIMAL).warnings)


def test_the_trace_of_a_cloudevent_is_continued():
    """A request without a traceparent gets that of the CloudEvent around it, if that is valid."""
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
    """A repeated name is shown only if it is a word or a parameter; otherwise the pointer ends before it."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(text.encode())
    violation, *others = caught.value.violations
    assert (violation.rule, violation.pointer) == ("json.duplicate-key", pointer)
    assert "CANARY" not in str([one.as_dict() for one in (violation, *others, *caught.value.warnings)])


@pytest.mark.parametrize("encode", [str, lambda text: base64.b64encode(text.encode()).decode()])
@pytest.mark.parametrize(("member", "value"), [("guard", {"maxHours": 2}), ("stop", {"idempotencyKey": "k"})])
def test_a_text_is_undone_beside_the_experiment_too(member, value, encode):
    """A guard and the target of a stop may be strings that contain the object, and are the same request."""
    document = {} if member == "stop" else copy.deepcopy(MINIMAL)
    plain = parse_request(json.dumps({**document, member: value}).encode())
    parsed = parse_request(json.dumps({**document, member: encode(json.dumps(value))}).encode())
    assert compute_fingerprint(parsed.document) == compute_fingerprint(plain.document)
    assert [(one.rule, one.pointer) for one in parsed.warnings] == [("object.text", f"/{member}")]
    assert (parsed.unwatched is None) == (member == "stop")


def test_a_mistake_in_such_a_text_is_at_the_text():
    """No pointer leads into a text, so the message contains the place there."""
    with pytest.raises(RequestRejected) as caught:
        parse_request(json.dumps({"stop": '{"experimentid": "e"}'}).encode())
    assert {one.pointer for one in caught.value.violations} == {"/stop"}
    assert any("in the JSON text at /experimentid" in one.message for one in caught.value.violations)
