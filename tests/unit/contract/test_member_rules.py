"""The rules that concern several members: where each begins and ends, and which objects may be texts."""

import base64
import copy
import json
from typing import get_args, get_origin

import pytest

from hpoq.contract import rules
from hpoq.contract.model import HpoExperimentConfig, Model
from support.request import make_document

EXPERIMENT = make_document()["experiment"]
CONFIG = "HpoExperimentConfiguration"


def show(findings, prefix=""):
    """Return rule and pointer of each finding, with an exclamation mark after the rule if it rejects."""
    pointers = [one.violation.pointer for one in findings]
    assert all(pointer.startswith(prefix) for pointer in pointers)
    return [
        f"{one.violation.rule}{'!' * one.rejects} {pointer.removeprefix(prefix)}"
        for one, pointer in zip(findings, pointers, strict=True)
    ]


def check(section, value, **members):
    """Return what is found if a section of the base has another value, and the experiment other members.

    The pointers are those in the configuration.
    """
    experiment = copy.deepcopy({**EXPERIMENT, **members})
    experiment[CONFIG][section] = value
    return show([*rules.check_experiment(experiment)], f"/experiment/{CONFIG}/")


def check_members(**members):
    """Return what is found if the experiment has these members."""
    return show([*rules.check_experiment({**EXPERIMENT, **members})], "/experiment")


def check_message(**message):
    return show([*rules.check_message(message)])


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("k", []),
        ("\u200bk", ["blank"]),
        ("k\ufeff", ["blank"]),
        ("a\u200db", []),
        ("a b", []),
        ("é", []),
        (" k", ["blank"]),
        ("k\u00a0", ["blank"]),
        ("e\u0301", ["not-nfc"]),
        ("\u212b ", ["not-nfc", "blank"]),
        ("e\u0301" + "x" * 253, ["not-nfc"]),
        ("e\u0301" + "x" * 254, []),
        (7, []),
        (None, []),
    ],
)
def test_a_key_that_is_confused_with_another(key, found):
    """A key is in NFC, and begins and ends with what can be seen; one that is too long is rejected elsewhere."""
    assert check_message(idempotencyKey=key) == [f"idempotency-key.{rule} /idempotencyKey" for rule in found]
    of_stop = [f"idempotency-key.{rule} /stop/idempotencyKey" for rule in found]
    assert check_message(stop={"idempotencyKey": key, "experimentId": None if key else "s"}) == of_stop


@pytest.mark.parametrize(
    "text",
    [
        *(
            "${DATE}",
            "tune-${run_1}",
            "${timestamp()}",
            "$(date)",
            "$[x} ${y}",
            "{{ run }}",
            "a{{}}",
            "$NAME",
            "<name>",
        ),
        *("<your key>", "${timestamp()}"),
        *("YOUR_WORKSPACE_ID", "your-workspace-id", "Your name", "changeme", "CHANGE_ME", "TODO", "TBD"),
        *("FIXME", "my_project"),
        *("EXAMPLE-ACCESS-KEY-ID", "EXAMPLE-ACCESS-KEY-SECRET", "%WORKSPACE%", "{workspace}", "{run_1}"),
        *("xxxxx", "XXX"),
        *("...", "\u2026", "[workspace id]", "[YOUR-KEY]", "undefined", "None", "null", "nil", "NaN"),
        *("[object Object]", "a{run}b"),
        *("***", "********", "REDACTED", "[masked]", "(sensitive value)", "vault:a/b#c", "op://a/b"),
        *("tune-{run_1}", "{_x}", "#{run.id}", "a#{5}b", "%(run)s", "a-%(n_1)d", "a-%s", "%s-a", "a%s"),
        *("<%= run %>", "a<%run%>"),
        *("@@run@@", "a@@run-1@@b"),
        "x" * 123 + "${AB}",
    ],
)
def test_a_placeholder(text):
    """A text that a template or a program should have replaced is found among its first 128 characters."""
    assert check_message(idempotencyKey=text) == ["text.placeholder /idempotencyKey"]
    assert check_message(stop={"idempotencyKey": text}) == ["text.placeholder /stop/idempotencyKey"]
    tags = [7, None, {"Key": text}, {"Key": "k", "Value": text}]
    experiment = {"Name": text, "WorkspaceId": text, "Description": text, "Tag": tags}
    assert check_message(experiment=experiment) == [
        "text.placeholder /experiment/Name",
        "text.placeholder /experiment/WorkspaceId",
        "text.placeholder /experiment/Tag/3/Value",
    ]
    assert check_message(experiment={"Tag": {"Value": text}}) == []
    many = [{"Value": "v"}] * 19 + [{"Value": text}] * 2
    assert check_message(experiment={"Tag": many}) == ["text.placeholder /experiment/Tag/19/Value"]


NO_PLACEHOLDERS = [
    *("$5", "$name", "a$NAME", "a{5}", "a{}", "a{b c}", "{5}", "#{}", "#5", "%(5)s", "%(run)x", "100%s"),
    *("100%%s", "a%same", "a%s1", "%S", "<a%>", "@@"),
    *("@@a b@@", "@@@@", "@a@", "${}", "${5}", "a<b>", "undefined-1", "yours", "your", "your-1"),
    *("my-experiment", "change", "changeme-2"),
    *("**", "a***", "redacted-1", "masked", "vault", "op:/a"),
    *("todo", "TODOS", "xx", "xxl", "a...", "....", "50%", "%5%", "%RUN", "[baseline]", "[run 1]"),
    *("[a] b", "exxxample", "my_project_2"),
    *("EXAMPLE-ID", "Nones"),
    "x" * 124 + "${AB}",
    7,
    None,
    "",
]


def test_a_text_that_only_resembles_a_placeholder():
    """It is not reported, nor is a value of another type."""
    for text in NO_PLACEHOLDERS:
        experiment = {"Name": text, "Tag": [{"Value": text}]}
        assert check_message(idempotencyKey=text, experiment=experiment) == [], text


@pytest.mark.parametrize(
    ("section", "is_read"),
    [
        *((f"{name}_config", True) for name in ("oss", "odps", "dlc", "ts", "paiflow")),
        *((f"{name}_config", False) for name in ("platform", "output", "monitor", "yml")),
    ],
)
def test_placeholders_in_access_data(section, is_read):
    """The engine replaces nothing in sections with access data; a name that may be a credential is not shown."""
    held = {"region": "${R}", "a" * 24: "${A}", "b" * 25: "${B}", "a-b": "${C}", "n": 7}
    place = f"text.placeholder /experiment/{CONFIG}/{section}"
    found = check_message(experiment={CONFIG: {section: held}})
    assert found == ([f"{place}/region", f"{place}/{'a' * 24}"] if is_read else [])
    for config in ({section: "${R}"}, {section: ["${R}"]}, "${R}", [section], None):
        assert check_message(experiment={CONFIG: config}) == []


def test_an_empty_text():
    """Programs write one for what is not set, and it is sent: as a workspace, a region or half of a key pair."""
    held = {"access_id": "", "region": "", "endpoint": None, "b" * 25: ""}
    experiment = {"WorkspaceId": "", "Description": "", "Tag": [{"Value": ""}], CONFIG: {"dlc_config": held}}
    found = check_message(idempotencyKey="", experiment=experiment)
    assert found == [
        "text.placeholder /experiment/WorkspaceId",
        f"text.placeholder /experiment/{CONFIG}/dlc_config/access_id",
        f"text.placeholder /experiment/{CONFIG}/dlc_config/region",
    ]


@pytest.mark.parametrize("blank", [" ", "\n", "\u00a0", "\u200b", "\ufeff"])
def test_a_text_with_blanks_around_it(blank):
    """It is sent with what was copied around it, and then it is not the workspace or the key that is meant."""
    held = {"access_key": f"canary{blank}", "region": f"cn{blank}shanghai", "endpoint": f"{blank}a"}
    experiment = {"WorkspaceId": f"1{blank}", "Name": f"a{blank}", CONFIG: {"dlc_config": held}}
    assert check_message(experiment=experiment) == [
        "text.blank /experiment/WorkspaceId",
        f"text.blank /experiment/{CONFIG}/dlc_config/access_key",
        f"text.blank /experiment/{CONFIG}/dlc_config/endpoint",
    ]


def test_placeholders_are_sought_in_an_object():
    """The models report its type."""
    for experiment in ("${R}", ["${R}"], None):
        assert check_message(experiment=experiment) == []


@pytest.mark.parametrize(
    ("guard", "found"),
    [
        ({"maxHours": 1}, []),
        ({"maxHours": None, "maxFailedTrials": 1}, []),
        ({}, ["guard.empty! /guard"]),
        ({"maxHours": None, "targetMetric": None}, ["guard.empty! /guard"]),
        ({"maxFailedTrials": 10}, []),
        ({"maxFailedTrials": 11}, ["guard.unreachable /guard/maxFailedTrials"]),
        ({"maxFailedTrials": "11"}, []),
        ([], []),
        (None, []),
    ],
)
def test_a_guard(guard, found):
    """A guard has a limit, and one that can be reached."""
    assert check_message(guard=guard, experiment=EXPERIMENT) == found


@pytest.mark.parametrize(
    ("failed", "trials"), [(2, 1), (2.0, 1), (5, 0), (5, -1), (5, None), (5, "1"), (1, 1)]
)
def test_a_guard_that_is_never_reached(failed, trials):
    """Only a number of trials that is greater than 0 is compared with a limit."""
    experiment = {CONFIG: {"yml_config": {"max_trial_number": trials}}}
    found = [*rules.check_message({"guard": {"maxFailedTrials": failed}, "experiment": experiment})]
    assert len(found) == ((failed, trials) == (2, 1))  # 2.0 is 2
    assert all("max_trial_number is 1" in one.violation.message for one in found)


@pytest.mark.parametrize(
    ("tuner", "assessor", "mode"),
    [
        ("maximize", None, "maximize"),
        ("minimize", "maximize", "minimize"),
        (None, "minimize", "minimize"),
        ("max", "maximize", "maximize"),
        ("max", None, None),
        (None, None, None),
        (7, ["maximize"], None),
    ],
)
def test_a_target_needs_a_direction(tuner, assessor, mode):
    """A metric is compared with a target in the direction that the tuner states, or else the assessor."""
    run = {
        "tuner": {"class_args": {"optimize_mode": tuner}},
        "assessor": {"class_args": {"optimize_mode": assessor}},
    }
    assert rules.find_optimize_mode({"yml_config": run}) == mode
    for target in (0, 0.5):
        found = check_message(guard={"targetMetric": target}, experiment={CONFIG: {"yml_config": run}})
        assert found == ["guard.target! /guard/targetMetric"] * (mode is None)


@pytest.mark.parametrize(
    ("stop", "is_found"),
    [
        ({"idempotencyKey": "k"}, False),
        ({"experimentId": "s", "idempotencyKey": None}, False),
        ({"idempotencyKey": "k", "experimentId": "s"}, True),
        ({"idempotencyKey": None}, True),
        ({}, True),
        ([], False),
        (None, False),
    ],
)
def test_what_is_stopped(stop, is_found):
    """A stop has exactly one of a key and an id."""
    assert check_message(stop=stop) == ["stop.target! /stop"] * is_found


def test_a_trace():
    """A `traceparent` that is a string is of version 00, with ids that are not zero."""
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    for value in (f"00-{trace}-{span}-01", 7, None):
        assert check_message(traceparent=value) == []
    for value in (
        f"01-{trace}-{span}-01",
        f"00-{trace.upper()}-{span}-01",
        f"00-{'0' * 32}-{span}-01",
        f"00-{trace}-{'0' * 16}-01",
        f"00-{trace}-{span}-01-x",
        "",
    ):
        assert check_message(traceparent=value) == ["traceparent /traceparent"]


def find_objects(model):
    """Return the members of `model` that are objects, each with those of its own members that are."""
    found = {"search_space": {}} if model is HpoExperimentConfig else {}
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Model):
                found[name] = find_objects(kind)
            elif get_origin(kind) is dict:
                found[name] = {}
    return found


def list_objects(objects, at=""):
    """Yield the path of each object in `objects`."""
    for name, inner in objects.items():
        yield f"{at}/{name}"
        yield from list_objects(inner, f"{at}/{name}")


def nest(path, value):
    """Return an object with `value` at `path`."""
    for name in reversed(path.split("/")[1:]):
        value = {name: value}
    return value


@pytest.mark.parametrize("path", [*list_objects({CONFIG: find_objects(HpoExperimentConfig)})])
def test_each_object_of_the_models_may_be_text(path):
    """A JSON text or its base64 in the place of an object is sent as the object, with a warning there."""
    names = {"search_space": "search-space.text", "metric_dict": "metric.text"}
    path = f"/experiment{path}"
    expected = [f"{names.get(path.rpartition('/')[2], 'object.text')} {path}"]
    text = json.dumps({"a": 1})
    for written in (text, base64.b64encode(text.encode()).decode()):
        document = nest(path, written)
        undone, found = rules.undo_texts(document)
        assert (undone, show(found)) == (nest(path, {"a": 1}), expected)
        assert document == nest(path, written)
    for other in ("text", "[1]", "1", "{", "\ud800", "", 7, None, [text]):
        without = nest(path, other)
        undone, found = rules.undo_texts(without)
        assert undone is without, "most requests have no texts: nothing is copied"
        assert found == []


def test_texts_around_texts():
    """A text may contain other texts, and the warning about the outer one comes first; a deeper one stays a text."""
    inner = {"class_args": json.dumps({"tpe_args": "{}"})}
    experiment = nest(f"/{CONFIG}/yml_config", json.dumps({"tuner": json.dumps(inner), "log_level": "{}"}))
    undone, found = rules.undo_texts({"experiment": {**experiment, "Name": "{}"}})
    run = {"tuner": {"class_args": {"tpe_args": "{}"}}, "log_level": "{}"}
    assert undone == {"experiment": {**nest(f"/{CONFIG}/yml_config", run), "Name": "{}"}}
    at = f"object.text /experiment/{CONFIG}/yml_config"
    assert show(found) == [at, f"{at}/tuner", f"{at}/tuner/class_args"]
    for other in ("{}", ["{}"], None):
        assert rules.undo_texts({"experiment": other}) == ({"experiment": other}, [])


def test_texts_beside_the_experiment():
    """The guard and the stop may be texts too, and nothing else beside the experiment."""
    undone, found = rules.undo_texts({"guard": '{"maxHours": 1}', "stop": "{}", "x": "{}"})
    assert undone == {"guard": {"maxHours": 1}, "stop": {}, "x": "{}"}
    assert show(found) == ["object.text /guard", "object.text /stop"]


def test_an_experiment_without_a_configuration():
    """There is nothing else to find, but what hpoq needs for itself stays reserved."""
    for configuration in ({}, {CONFIG: None}):
        tag = {"Tag": [{"Key": "hpoq-key"}], **configuration}
        assert show([*rules.check_experiment(tag)], "/experiment") == [
            "tag.reserved! /Tag/0/Key",
            f"configuration.absent /{CONFIG}",
        ]
    for experiment in ([], "text", None, {CONFIG: "text"}, {CONFIG: []}, {CONFIG: 7}):
        assert [*rules.check_experiment(experiment)] == []
    assert show([*rules.check_experiment({"Name": "", CONFIG: []})]) == ["name.empty /experiment/Name"]


@pytest.mark.parametrize(
    ("name", "is_found"), [("a", False), ("", True), (" \t", True), (None, False), (7, False), ([], False)]
)
def test_a_name(name, is_found):
    """A name is not blank; without one the experiment has none."""
    assert check_members(Name=name) == ["name.empty /Name"] * is_found


@pytest.mark.parametrize(
    ("description", "is_found"),
    [
        ("mine [hpoq-key: 9619c93e-fafb-5042-80f4-bfc8c78519f2]", True),
        ("[HPOQ-KEY: 9619C93E-fafb-5042-80f4-bfc8c78519f2] mine", True),
        ("mine [hpoq-key: soon]", False),
        (7, False),
        (None, False),
    ],
)
def test_a_description(description, is_found):
    """A description contains no marker of hpoq."""
    assert check_members(Description=description) == ["description.reserved! /Description"] * is_found


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ([{"Key": "k", "Value": "v"}], []),
        ([{"Key": f"k{number}"} for number in range(20)], []),
        ([{"Key": f"k{number}"} for number in range(21)], ["tag.limit! "]),
        ([{}, {"Key": "HPOQ-Key", "Value": "x"}], ["tag.text /0", "tag.reserved! /1/Key"]),
        ([{"Key": "hpoq-keys"}, {"Key": "x-hpoq-key"}, {"Key": "k", "Value": "hpoq-key"}], []),
        ([{"Value": "v"}, {"Key": None}, {"Key": ""}], ["tag.text /0", "tag.text /1", "tag.text /2"]),
        (
            [{"Key": "k", "Value": "v"}, {"Key": "K"}, {"Key": "k", "Value": "w"}, {"Key": "k"}],
            ["tag.repeated /2/Key", "tag.repeated /3/Key"],
        ),
        ([{"Key": "k" * 128, "Value": "v" * 128}], []),
        ([{"Key": "k" * 129, "Value": "v" * 129}], ["tag.text /0/Key", "tag.text /0/Value"]),
        ([{"Key": "aliyun-k", "Value": "acs:v"}], ["tag.text /0/Key", "tag.text /0/Value"]),
        ([{"Key": "k:acs:", "Value": "v-aliyun"}, {"Key": "ACS:", "Value": "Aliyun"}], []),
        ([{"Key": "a http://b", "Value": "a https://b"}], ["tag.text /0/Key", "tag.text /0/Value"]),
        ([{"Key": "http:b", "Value": "https:/b"}], []),
        ([7, None, {"Key": 7}, {"Key": []}, {"Key": {}}], []),
        ("aliyun", []),
        (None, []),
    ],
)
def test_tags(tags, found):
    """There are at most 20 tags, none is hpoq's own, and the service can list experiments by each."""
    assert check_members(Tag=tags) == [one.replace(" ", " /Tag") for one in found]


@pytest.mark.parametrize(
    ("space", "rule", "ending"),
    [
        (None, "search-space.absent", ""),
        ({}, "search-space.absent", ""),
        ([{}], "type!", 'as in {"${lr}": {"_type": ..., "_value": ...}}'),
        (7, "type!", "must be an object, not a number"),
        ("space.json", "search-space.text!", "does not contain a JSON object; write an object"),
        (
            '{"${a}": 1,\n}',
            "search-space.text!",
            "a JSON object; as JSON text it is invalid: not JSON at line 1, column 11: a comma after the last item",
        ),
        (
            '{"LTAI5tCANARY0123": 1, "LTAI5tCANARY0123": 2}',
            "search-space.text!",
            "invalid: a member occurs more than once in one object (its name is not shown)",
        ),
        ("[]", "search-space.text!", "does not contain a JSON object; write an object"),
    ],
)
def test_a_search_space_is_an_object(space, rule, ending):
    """What cannot be read is rejected, with what it is instead of an object."""
    experiment = copy.deepcopy(EXPERIMENT)
    experiment[CONFIG]["search_space"] = space
    experiment[CONFIG]["platform_config"]["cmd"] = ["run"]
    (found,) = rules.check_experiment(experiment)
    place = f"/experiment/{CONFIG}" + ("" if space is None else "/search_space")
    assert show([found]) == [f"{rule} {place}"]
    assert found.violation.message.endswith(ending)


SOURCES = [
    # the metric_type, sources of another type, sources that it may have
    (
        "stdout",
        ["loss", "select 1", "select 1 from a/b"],
        ["cmd1", "CMD1 , worker", "oss://b/x", "/x.log", "from/x"],
    ),
    ("table", ["cmd1", "cmd,worker", "oss://b/x", " HTTPS://x"], ["select 1", "-- x\nselect 1", "${query}"]),
    ("summary", ["cmd1", "SELECT 1", "with x"], ["/mnt/x/", "oss://b/x", "selected", "from/x"]),
    ("json", ["cmd", "insert into x", "from x"], ["/mnt/x.json", "oss://b/x.json", "cmd.json"]),
    ("api", [], ["cmd1", "select 1", "/x", ""]),
]


@pytest.mark.parametrize(("kind", "others", "own"), SOURCES)
def test_sources_of_a_metric(kind, others, own):
    """A source of one type of metric is not that of another; the message says what the type needs."""
    needs = {
        "stdout": "needs the name of a command: cmd1, cmd2, ...",
        "table": "needs a SQL query that returns the metric",
        "summary": "needs the path of a folder of TensorBoard summaries",
        "json": "needs the path of a file",
    }
    experiment = copy.deepcopy(EXPERIMENT)
    metric = experiment[CONFIG]["metric_config"]
    metric |= {"metric_type": kind, "metric_source": [*own, *others]}
    metric["metric_dict"] = {"a=(.*)" if kind == "stdout" else "a": 1}
    experiment[CONFIG]["oss_config"] = {}
    at = f"/experiment/{CONFIG}/metric_config"
    found = [*rules.check_experiment(experiment)]
    if kind == "api":
        assert show(found) == [f"metric-type.api {at}/metric_type"]
        return
    places = range(len(own), len(own) + len(others))
    assert show(found) == [f"metric-source.form! {at}/metric_source/{index}" for index in places]
    assert {one.violation.message for one in found} == {f"metric_type {kind} {needs[kind]}"}


def test_the_name_of_a_table_is_no_query():
    """It may be right for a later service, so it is a warning."""
    for source, is_found in (("scores", True), (" p.scores_1 ", True), ("scores where x", False)):
        metric = {"metric_type": "table", "metric_source": [source], "metric_dict": {"a": 1}}
        found = check("metric_config", metric)
        assert found == ["metric-source.form metric_config/metric_source/0"] * is_found


def test_a_metric_has_a_source():
    """An empty list of sources is found; one that is not a list is reported by the models."""
    metric = EXPERIMENT[CONFIG]["metric_config"]
    found = ["metric-source.empty metric_config/metric_source"]
    assert check("metric_config", {**metric, "metric_source": []}) == found
    for other in ("", None, {}):
        assert check("metric_config", {**metric, "metric_source": other}) == []
    for kind in ("table", "summary", "json", "api"):
        sources = {"metric_type": kind, "metric_source": ["/a", " "]}
        found = [one for one in check("metric_config", metric | sources) if "metric-source" in one]
        assert found == ["metric-source.empty metric_config/metric_source/1"] * (kind != "api")


@pytest.mark.parametrize(
    ("weight", "found"),
    [
        (1, None),
        (-0.5, None),
        ("0.5", "metric-weight.text"),
        (" -.5e1 ", "metric-weight.text"),
        ("high", "metric-weight!"),
        ("nan", "metric-weight!"),
        ("", "metric-weight!"),
        (True, "metric-weight!"),
        (None, "metric-weight!"),
        ([1], "metric-weight!"),
    ],
)
def test_a_weight_is_a_number(weight, found):
    """A number in quotes is accepted; anything else that is not a number is rejected."""
    metric = {**EXPERIMENT[CONFIG]["metric_config"], "metric_dict": {"a": 1, "b/c": weight}}
    assert check("metric_config", metric) == ([f"{found} metric_config/metric_dict/b~1c"] if found else [])


def test_pairs_of_files():
    """Each pair of files is a source and a destination."""
    files = {"params_src_dst_filepath": ["a,b", "a", "a, b", "a,b,c", 7]}
    at = "params_config/params_src_dst_filepath"
    assert check("params_config", files) == [f"params.pair! {at}/1", f"params.pair! {at}/3"]
