"""What a configuration is warned about: where each rule begins and ends, and what its message proposes."""

import copy

import pytest

from hpoq.contract import lint
from hpoq.contract.finding import Hints
from hpoq.contract.jsontext import tokens_of
from hpoq.contract.search_space import ARITY
from support.request import make_document

BASE = make_document()["experiment"]["HpoExperimentConfiguration"]
DELETE = object()
CHOICE = {"_type": "choice", "_value": [1, 2]}
DLC = {
    "platform_config/name": "DLC",
    "platform_config/cmd": ["run ${centres}"],
    "dlc_config": {"region": "r"},
}
STDOUT = {"metric_config/metric_type": "stdout", "metric_config/metric_source": ["cmd1"]}


def change(changes):
    """Return the base configuration, in which nothing is found, with the value at each pointer set or deleted."""
    config = copy.deepcopy(BASE)
    for pointer, value in changes.items():
        *parents, last = tokens_of(f"/{pointer}")
        place = config
        for token in parents:
            place = place.setdefault(token, {})
        if value is DELETE:
            del place[last]
        else:
            place[last] = value
    return config


def check(changes):
    """Return the warnings about the changed base: rule and pointer in the configuration, and message."""
    config = change(changes)
    found = list(lint.lint(config, Hints()))
    assert not any(one.rejects for one in found)
    violations = [one.violation for one in found]
    assert all(f"{one.pointer}/".startswith(f"{lint.CONFIG}/") for one in violations)
    return [(f"{one.rule} {one.pointer[len(lint.CONFIG) + 1 :]}".strip(), one.message) for one in violations]


def places(changes):
    """Return rule and pointer of each warning about the changed base, in order of the pointers."""
    return sorted(place for place, _ in check(changes))


def message(changes, rule=""):
    """Return the message of the only warning of the rule."""
    (text,) = [text for place, text in check(changes) if place.startswith(rule)]
    return text


NAME = "platform_config/name"
COMPLETE = {
    "MaxCompute": ("odps_config", {"project_name": "p", "end_point": "e"}),
    "DLC": ("dlc_config", {"region": "r"}),
    "paiflow": ("paiflow_config", {"region_id": "r"}),
}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("DLC", "dlc_config"),
        ("dlc", "dlc_config"),
        ("MaxCompute", "odps_config"),
        ("paiflow", "paiflow_config"),
        ("PAI", None),
        ("DataScience", None),
        ("LOCAL", None),
    ],
)
def test_each_platform_needs_its_configuration(name, needed):
    """A documented platform is accepted in any case, and usually needs an object with its access data."""
    without = {NAME: name, "platform_config/cmd": ["run ${centres}"], "metric_config/metric_type": "api"}
    without["odps_config"] = DELETE
    expected = [f"platform.config {NAME}"] if needed else []
    assert places(without) == expected
    assert places({**without, NAME: DELETE}) == places({**without, NAME: 1}) == []
    if needed:
        assert message(without).endswith(f"usually needs {needed}")
        assert name in message(without)
        assert places({**without, needed: None}) == expected
        complete = dict(COMPLETE.values())[needed]
        assert places({**without, needed: complete}) == []


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("MaxComput", "MaxCompute"),
        ("DLCs", "DLC"),
        ("paiflo", "paiflow"),
        ("PAI-Flow", "paiflow"),
        ("Spark", None),
        ("", None),
    ],
)
def test_an_unknown_platform(name, suggested):
    """A platform that is not documented is named, with one that is similar; its commands are not checked."""
    changes = {NAME: name, "platform_config/cmd": ["pai -Dk=${centres}", "-k", " "]}
    assert places(changes) == [f"platform.unknown {NAME}"]
    assert message(changes).endswith(
        f"; did you mean {suggested}?" if suggested else "MaxCompute and paiflow"
    )


@pytest.mark.parametrize("platform", COMPLETE)
def test_what_each_platform_needs(platform):
    """The configuration of a platform has its place, which that of another platform does not need."""
    section, members = COMPLETE[platform]
    base = {NAME: platform, "platform_config/cmd": ["run ${centres}"], section: members}
    assert places(base) == []
    for missing in members:
        for held in ({}, {missing: None}):
            rest = {name: value for name, value in members.items() if name != missing} | held
            assert check({**base, section: rest}) == [
                (f"platform.config {section}", f"{platform} usually needs {missing}")
            ]
        assert places({**base, NAME: "LOCAL", section: {}}) == []
        assert places({**base, section: {**members, missing: ""}}) == []  # reported as an empty text
    for endpoint in ("endpoint", "end_point") if platform == "DLC" else ():
        assert "platform.config dlc_config" not in places({**base, section: {endpoint: "e"}})


@pytest.mark.parametrize(
    ("resume", "is_found"), [("0", False), ("1", False), ("", True), ("yes", True), (1, False), (None, False)]
)
def test_resume(resume, is_found):
    """A string in `resume` is "0" or "1"; the model rejects other types."""
    place = "platform_config/resume"
    assert places({place: resume}) == [f"platform.resume {place}"] * is_found


COMMANDS = "platform_config/cmd"


@pytest.mark.parametrize(
    ("name", "commands", "found"),
    [
        ("MaxCompute", ["PAI -Dk=${centres}", "select 1", "python_x ${a}"], []),
        ("MaxCompute", ["${centres}", "--k=1", " -k", "- k", "-1"], ["command/1", "command/2"]),
        ("MaxCompute", ["--k=${centres}"], []),
        ("MaxCompute", ["", "${centres}", " \t"], ["command/0", "command/2"]),
        ("MaxCompute", ["dlc submit ${centres}"], ["mismatch/0"]),
        ("MaxCompute", ["select 1", " Python3 x ${centres}"], ["mismatch/1"]),
        ("MaxCompute", ["python x", "torchrun x", "shell x"], ["mismatch/0", "mismatch/1"]),
        ("MaxCompute", ["bash x", "sh x", "paish x"], ["mismatch/0", "mismatch/1"]),
        ("DLC", ["python x ${centres}", "dlc submit", "bash x"], []),
        ("DLC", ["pai -name ${centres}", "x", "  PAI  -x"], ["mismatch/0", "mismatch/2"]),
        ("DLC", ["pai ${centres}", "paid -x", "x pai -x"], []),
        ("dlc", ["pai -name ${centres}"], ["mismatch/0"]),
        ("Local", ["pai -name ${centres}"], ["mismatch/0"]),
        ("PAI", ["pai -name ${centres}", "python x"], []),
        ("maxcompute", ["pai -name ${centres}"], []),
    ],
)
def test_commands(name, commands, found):
    """A command is neither empty nor an argument of the one before, and in the language of its platform."""
    shown = [
        place for place in places({**DLC, NAME: name, COMMANDS: commands}) if place.startswith("platform.")
    ]
    assert [place.replace(f" {COMMANDS}/", "/").removeprefix("platform.") for place in shown] == found


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("run --x=\u2019${centres}\u2019", "a typographic quote (U+2019)"),
        ("run \u201c${centres}\u201d", "a typographic quote (U+201C)"),
        ("run \u2013x=${centres}", "a typographic dash (U+2013)"),
        ("run \u2014x=${centres}", "a typographic dash (U+2014)"),
        ("run\u00a0${centres}", "a special space or an invisible character (U+00A0)"),
        ("run\u3000${centres}", "a special space or an invisible character (U+3000)"),
        ("run ${centres}\u200b", "a special space or an invisible character (U+200B)"),
        ("dlc submit --command='run \u2013x=${centres}'", "a typographic dash (U+2013)"),
        ("run --x=${centres} --a='' \u201cb\u201d --c=''", "a typographic quote (U+201C)"),
        ("run --title='a \u201cb\u201d' --x=${centres}", None),
        ("run 'a'\u2013b --x=${centres}", None),
        ('run --title="a\u3000b \u2014\u2014 c" --x=${centres}', None),
        ("SELECT '\u201cx\u201d', 'a \u2013 b', '\u805a\u7c7b\uff08${centres}\uff09'", None),
    ],
)
def test_typographic_characters_in_a_command(command, what):
    """Every trial would fail; in a quoted text they are meant, but not in a quoted command."""
    found = [text for place, text in check({COMMANDS: [command]}) if place.startswith("platform.command")]
    assert found == ([f"{what}, which programs do not understand; write the ordinary one"] if what else [])


def test_an_experiment_without_commands():
    """There is nothing to run if the list of commands is empty; the models report one that is not a list."""
    assert check({COMMANDS: []}) == [
        (f"platform.command {COMMANDS}", "no command, so there is nothing to run")
    ]
    assert places({COMMANDS: ""}) == places({COMMANDS: DELETE}) == []


def test_a_command_of_another_platform_is_named():
    """The message has the platform, or the program that MaxCompute does not run."""
    assert message({**DLC, COMMANDS: ["pai -Dk=${centres}"]}).endswith("; the platform is DLC")
    assert message({COMMANDS: ["DLC submit ${centres}"]}).endswith("not dlc")


@pytest.mark.parametrize(
    ("section", "pair"),
    [
        ("oss_config", "accessKeyID accessKeySecret"),
        ("odps_config", "access_id access_key"),
        ("dlc_config", "access_id access_key"),
        ("ts_config", "access_key_id access_key_secret"),
        ("paiflow_config", "access_key_id access_key_secret"),
    ],
)
def test_a_key_pair_is_complete(section, pair):
    """Each configuration with access data has both parts of a key pair or none."""
    key_id, secret = pair.split()
    rest = BASE["odps_config"] if section == "odps_config" else {}
    assert places({section: rest}) == []
    assert places({section: {**rest, key_id: "x", secret: "y"}}) == []
    for one, other in ((key_id, secret), (secret, key_id)):
        for held in ({one: "x"}, {one: "x", other: None}):
            assert check({section: {**rest, **held}}) == [
                (f"credentials.pair {section}", f"incomplete key pair: {other} is missing")
            ]
    assert places({"ts_config": [key_id]}) == []


@pytest.mark.parametrize(
    "path",
    [
        {"metric_config/metric_source": ["oss://b/x"]},
        {"params_config/params_src_dst_filepath": ["a,oss://b/c"]},
        {"output_config/model_path": "oss://b/c"},
        {"output_config/summary_path": "oss://b/c"},
    ],
)
def test_paths_in_oss_need_its_configuration(path):
    """A path in OSS, of the metric, of parameters or of results, usually needs `oss_config`."""
    assert check(path) == [("storage.oss", "oss:// paths usually need oss_config")]
    assert places({**path, "oss_config": {}}) == []
    assert places({**path, "oss_config": None}) == ["storage.oss"]
    ((name, value),) = path.items()
    local = value.replace("oss:", "") if isinstance(value, str) else [value[0].replace("oss:", "")]
    assert places({name: local}) == []
    assert places({"output_config": {"model_path": 7, "summary_path": None}}) == []


WEIGHTS = "metric_config/metric_dict"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({}, "no metric"),
        ({"a": 0}, "every weight is 0"),
        ({"a": 0, "b": 0.0}, "every weight is 0"),
        ({"a": 0, "b": 1}, None),
        ({"a": -1}, None),
        (None, None),
        ([], None),
    ],
)
def test_a_metric_has_a_weight(weights, words):
    """There is at least one metric whose weight is not 0."""
    shown = check({WEIGHTS: weights})
    assert [place for place, _ in shown] == [f"metric.empty {WEIGHTS}"] * (words is not None)
    assert all(words in text for _, text in shown)


def test_a_metric_has_a_name():
    """A table, a summary or a file has no metric without a name."""
    for name in ("", " "):
        for kind in ("table", "summary", "json"):
            changes = {WEIGHTS: {name: 1, "score": 1}, "metric_config/metric_type": kind}
            assert message(changes) == "a metric without a name"
            assert places(changes) == [f"metric.empty {WEIGHTS}/{name}".strip()]


def test_a_table_needs_the_configuration_of_maxcompute():
    """The type `table`, and no other, usually needs `odps_config`."""
    for held in (DELETE, None):
        changes = {**DLC, "odps_config": held}
        assert places(changes) == ["metric-type.odps metric_config/metric_type"]
        assert places({**changes, "metric_config/metric_type": "summary"}) == []


SOURCES = "metric_config/metric_source"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("cmd", []),
        ("cmd1", []),
        ("CMD2", []),
        (" cmd 2", []),
        ("cmd0", ["counted"]),
        ("cmd3", ["counted"]),
        ("cmd000000002", []),
        ("cmd" + "9" * 5000, ["counted"]),
        ("cmd1,worker", []),
        ("cmd1 , Worker ", []),
        ("cmd,Ps-0", ["worker"]),
        ("cmd3,ps", ["counted", "worker"]),
        ("cmd1,", []),
        ("oss://b/cmd9", []),
        ("/mnt/cmd9,ps", []),
    ],
)
def test_a_source_of_stdout_is_one_of_the_commands(source, words):
    """Its number is that of a command, counted from 1, and its role is `worker`, the only documented one."""
    changes = {**STDOUT, WEIGHTS: {"a=(.*)": 1}, SOURCES: ["cmd1", source], "oss_config": {}}
    shown = check(changes)
    assert [place for place, _ in shown] == [f"metric-source.command {SOURCES}/1"] * len(words)
    assert all(word in text for word, (_, text) in zip(words, shown, strict=True))
    assert places({**changes, "metric_config/metric_type": "api"}) == []


def test_the_commands_are_counted():
    """The message has the number of the commands; nothing is said about the number if they cannot be read."""
    changes = {**STDOUT, WEIGHTS: {"a=(.*)": 1}, SOURCES: ["cmd3"]}
    assert message(changes) == "there are 2 commands, counted from cmd1"
    assert message({**changes, COMMANDS: ["x ${centres}"]}) == "there is 1 command, counted from cmd1"
    assert places({**changes, COMMANDS: "run ${centres}", SOURCES: ["cmd0", "cmd9"]}) == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("acc=([0-9.]+)", None),
        ("(?i)acc=([0-9.]+)", None),
        ("准确率=([0-9.]+)", None),
        ("(?im:acc)=(.*)", None),
        ("(?ai)acc=(.*)", None),
        ("(?ia)acc=(.*)", None),
        ("(?i-s:acc)=(.*)", None),
        ("(?ii:acc)=(.*)", None),
        ("(?xi)acc=(.*) # (comment", None),
        ("(?P<value>.*)", None),
        ("(?:a)=(.*)", None),
        ("a/b=(.*)", None),
        ("a=([[0-9]+)", None),
        ("a" * 997 + "(b)", None),
        ("a" * 998 + "(b)", "a pattern of 1001 characters is too long"),
        ("a", "a group around the number"),
        ("(?:a)", "a group around the number"),
        ("(a)=(.*)", "2 groups; the first one is the metric"),
        ("(a)(b)(c)", "3 groups"),
        ("a=([[:digit:]]+)", "write [0-9]"),
        ("/a=(.*)/", "the slashes"),
        ("/a=(.*)/i", "the slashes"),
        ('r"a=(.*)"', "the r and the quotes"),
        ("R'a=(.*)'", "the r and the quotes"),
        ("'a=(.*)'", None),
        ('"a": "(.*)"', None),
        ("(a", "is invalid"),
        ("a(?i)(b)", "is invalid"),
        ("(?<value>.*)", "is invalid; a named group is (?P<name>...)"),
        ("a{99999999999999999999}(b)", "is invalid"),
        (r"(\d++)", "is invalid"),
        ("a{2}+(b)", "is invalid"),
        ("(?>a)(b)", "is invalid"),
        (r"a\++([*+]+)[]*+](?:[^]]+)", None),
        (r"a.*[b]+([0-9])", None),
        ("a{,2}+(b)", "is invalid"),
        ("(.+)}+{}+", None),
    ],
)
def test_a_metric_of_stdout_is_a_pattern_with_one_group(pattern, words):
    """The only warning about a pattern says what is wrong with it, and what to write."""
    place = WEIGHTS + "/" + pattern.replace("~", "~0").replace("/", "~1")
    shown = check({**STDOUT, WEIGHTS: {pattern: 1}})
    assert [name for name, _ in shown] == [f"metric.pattern {place}"] * (words is not None)
    assert all(words in text for _, text in shown)
    assert all(text.endswith("is invalid") == (words == "is invalid") for _, text in shown)


def test_a_pattern_may_be_nested_too_deeply_for_python():
    """It is warned about like any other pattern that is not usable."""
    pattern = "(" * 1000
    assert places({**STDOUT, WEIGHTS: {pattern: 1}}) == [f"metric.pattern {WEIGHTS}/{pattern}"]


def test_only_the_first_characters_of_all_patterns_are_checked():
    """After 2,000 characters no more patterns are compiled; one that is too long takes nothing of them."""
    weights = {"a" * 1001: 1, "b" * 1000: 1, "c" * 1000: 1, "d": 1}
    shown = places({**STDOUT, WEIGHTS: weights})
    assert shown == [f"metric.pattern {WEIGHTS}/{name}" for name in list(weights)[:3]]


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("score=([0-9.]+)", True),
        ("score=(.*)", True),
        (r"score=(\d+)", True),
        (r"score=(\w*)", True),
        (r"score=(\S+)", True),
        ("score=(?P<value>[0-9]+)", True),
        ("count(*)", False),
        ("count(a)", False),
        ("score", False),
        ("x" * 997 + "(.*)", True),
        ("x" * 998 + "(.*)", False),
    ],
)
def test_a_pattern_as_a_metric_of_another_type(name, is_found):
    """A name that is a group of a regular expression matches nothing; its first 1,000 characters are looked at."""
    for kind in ("table", "summary", "json"):
        changes = {"metric_config/metric_type": kind, WEIGHTS: {name: 1}}
        assert places(changes) == [f"metric.pattern {WEIGHTS}/{name}"] * is_found
    assert places({"metric_config/metric_type": "api", WEIGHTS: {name: 1}}) == []


@pytest.mark.parametrize(
    "name",
    [
        *("exp_id", "trial_id", "NNI_OUTPUT_DIR", "params"),
        *("tuner_params_list", "tuner_params_dict", "tuner_params_json"),
    ],
)
def test_names_of_the_engine(name):
    """The engine replaces some names itself: a command may have them, and a search space should not."""
    assert places({COMMANDS: [f"pai ${{centres}} ${{{name}}}"]}) == []
    place = f"search_space/${{{name}}}"
    assert places({place: CHOICE}) == [f"search-space.name {place}"]


def test_a_placeholder_that_is_not_in_the_search_space():
    """Each is reported once for a command, cut to 60 characters, with a name of the search space that is similar."""
    found = check({COMMANDS: ["pai ${centres} ${f} ${e} ${d} ${c} ${b} ${a} ${b}", "${a} ${}"]})
    assert [place[-1] for place, _ in found] == [*"0000001"]
    assert {place[:-1] for place, _ in found} == {f"placeholder.undefined {COMMANDS}/"}
    assert [text[:4] for _, text in found] == [f"${{{name}}}" for name in "abcdefa"]
    assert message({COMMANDS: ["${centres} ${centers}"]}).endswith("; did you mean ${centres}?")
    assert message({COMMANDS: ["${centres} ${expid}"]}).endswith("; did you mean ${exp_id}?")
    for other in ("${i}", "${home}"):  # of a loop or the environment
        short = {COMMANDS: [f"${{lr}} {other}"], "search_space": {"${lr}": CHOICE}}
        assert message(short).endswith("it is not replaced")
    own = {COMMANDS: ["${EXP_ID} ${expid}"], "search_space": {"${EXP_ID}": CHOICE}}
    assert message(own).endswith("; did you mean ${EXP_ID}?")
    assert message({COMMANDS: [f"${{centres}} ${{{'x' * 70}}}"]}).startswith(f"${{{'x' * 58} is not in")
    assert "did you mean" not in message({COMMANDS: ["${x}"], "search_space": {"$x": CHOICE}}, "placeholder")
    nested = {"_type": "choice", "_value": [{"_name": "n", "${b}": CHOICE}]}
    assert places({COMMANDS: ["${a} ${b}"], "search_space": {"${a}": nested}}) == []
    values = {
        "_type": "choice",
        "_value": [{"${b}": 1}, {"_name": "n"}],
    }  # not all have a name, so they are values
    found = [f"placeholder.undefined {COMMANDS}/0"]
    assert places({COMMANDS: ["${a} ${b}"], "search_space": {"${a}": values}}) == found


def test_placeholders_without_a_readable_search_space():
    """Without a search space no placeholder is defined; one that cannot be read says nothing about them."""
    absent = [f"placeholder.undefined {COMMANDS}/0", "search-space.absent"]
    assert places({"search_space": DELETE}) == absent
    assert places({"search_space": None}) == absent
    assert places({"search_space": "space.json"}) == []
    assert places({"search_space": ["${centres}"]}) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("centres", "; did you mean ${centres}?"),
        ("$centres", "; did you mean ${centres}?"),
        ("$(centres)", "; did you mean ${centres}?"),
        ("${centres", "; did you mean ${centres}?"),
        ("${a} b", ""),
        ("a-b", ""),
        ("${}", ""),
        ("x" * 60, f"; did you mean ${{{'x' * 60}}}?"),
        ("x" * 61, ""),
        ("x" + "-" * 998 + "y", ""),
        ("x" + "-" * 999 + "y", "; did you mean ${x}?"),
    ],
)
def test_a_name_has_the_form_of_a_placeholder(name, hint):
    """Another name replaces plain words; if it has one word, in its first 1,000 characters, its form is proposed."""
    place = f"search_space/{name}"
    assert places({place: CHOICE}) == [f"search-space.name {place}"]
    assert message({place: CHOICE}).endswith(f"so it replaces plain words{hint}")


def test_a_name_that_no_command_uses():
    """Parameter files or a placeholder for all names may use each name; unreadable commands may too."""
    other = {"search_space/${other}": CHOICE}
    unused = ["search-space.unused search_space/${other}"]
    assert places(other) == unused
    assert places({**other, COMMANDS: ["${centres}", "${other}"]}) == []
    assert places({**other, "params_config": {}}) == []
    assert places({**other, "params_config": None}) == unused
    for everything in ("tuner_params_list", "tuner_params_dict", "tuner_params_json", "params"):
        assert places({**other, COMMANDS: [f"run ${{{everything}}}"]}) == []
    assert places({**other, COMMANDS: ["${centres} ${trial_id}"]}) == unused
    assert places({**other, COMMANDS: "run"}) == []
    assert places({**other, COMMANDS: DELETE}) == []


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("run $centres", ["$centres"]),
        ("run {centres}", ["{centres}"]),
        ("run $centres {centres} $centres", ["$centres"]),
        ("run ${centres} $centres {centres}", []),
        ("run $(centres) %trees%", ["$(centres)", "%trees%"]),
        ("run ${ centres }", ["${ centres }"]),
        ("run ${centres  } ${  trees}", ["${centres  }", "${  trees}"]),
        ("run $( centres) %centres $(centres 1) %(trees)% ${ }", []),
        ("run $centres_2 $HOME {other} $1", []),
        ("run {centresé}", []),
        ("run $trees {centres}", ["$trees", "{centres}"]),
        ("run {plain} $plain", []),
        ("run ${plain}", []),
    ],
)
def test_other_forms_of_a_placeholder(command, shown):
    """In a command `$name` and `{name}` are not replaced, so `${name}` is proposed, once for each name."""
    space = {
        "${centres}": CHOICE,
        "${trees}": CHOICE,
        "${plain}": CHOICE,
        "{plain}": CHOICE,
        "$plain": CHOICE,
    }
    changes = {"search_space": space, COMMANDS: ["run ${params}", command]}
    found = [(place, text) for place, text in check(changes) if place.startswith("placeholder.form")]
    assert [place for place, _ in found] == [f"placeholder.form {COMMANDS}/1"] * len(shown)
    for form, (_, text) in zip(shown, found, strict=True):
        assert text.startswith(form)
        assert text.endswith(f"; did you mean ${{{form.strip('$(){}% ')}}}?")


def test_an_escaped_placeholder_keeps_its_dollar_sign():
    """The tool whose escape it is, such as Terraform, would have removed one of the two."""
    assert check({COMMANDS: ["run ${centres} a$$b", "run $${centres}"]}) == [
        (f"placeholder.form {COMMANDS}/1", "$${centres} becomes a $ and the value; write ${centres}")
    ]
    assert places({COMMANDS: ["run ${centres} $${exp_id}"]}) == [f"placeholder.form {COMMANDS}/0"]
    assert places({COMMANDS: ["run ${centres} $${other}"]}) == [f"placeholder.undefined {COMMANDS}/0"]


@pytest.mark.parametrize(
    ("space", "found"),
    [
        ({"_type": "choice", "_value": [1, 2]}, []),
        ({"_type": "choice"}, []),
        ({"_value": [1, 2]}, []),
        ({"_type": 5}, []),
        ({"model": {"${centres}": CHOICE}, "k": CHOICE}, ["search-space.name search_space/k"]),
        ({"${model}": {"${centres}": CHOICE}}, []),
        ({"model": {"${other}": CHOICE}}, [f"placeholder.undefined {COMMANDS}/0"]),
    ],
)
def test_what_is_no_parameter_has_no_name(space, found):
    """A search space without names, or an object around parameters, is reported elsewhere, and as one mistake."""
    assert places({"search_space": space, COMMANDS: ["run ${centres}"]}) == found
    if "model" in space:
        others = {"search_space": space, "params_config": {"params_src_dst_filepath": ["a,b"]}}
        assert places({**others, COMMANDS: ["run ${centres}"]}) == found


def test_other_forms_after_a_command_that_uses_every_name():
    """Each command is looked at by itself."""
    changes = {"search_space": {"${lr}": CHOICE}, COMMANDS: ["run ${lr}", "run $lr"]}
    places = [place for place, _ in check(changes) if place.startswith("placeholder.form")]
    assert places == [f"placeholder.form {COMMANDS}/1"]


MODE = "yml_config/tuner/class_args/optimize_mode"


@pytest.mark.parametrize(
    ("smaller_is_better", "words"),
    [
        (True, "loss logloss error err rmse rmsle mse mae mape perplexity"),
        (False, "accuracy acc auc f1 precision recall ndcg"),
    ],
)
def test_the_name_of_a_metric_says_its_direction(smaller_is_better, words):
    """A loss is to be minimized and an accuracy to be maximized: by the mode, or by a negative weight."""
    for name in (*words.split(), f"eval/{words.split()[0].upper()}_2"):
        place = f"metric.direction {WEIGHTS}/{name.replace('/', '~1')}"
        for mode, weight in (("maximize", 1), ("maximize", -0.5), ("minimize", 1), ("minimize", -2)):
            is_wrong = ((mode == "minimize") == (weight > 0)) != smaller_is_better
            assert places({WEIGHTS: {name: weight}, MODE: mode}) == [place] * is_wrong
        for weight in (0, True, "1", None):
            assert places({WEIGHTS: {name: weight, "score": 1}, MODE: "minimize"}) == []
    assert len(places({WEIGHTS: {"loss": 0, "score": 0, "mse": 1}})) == 1


def test_a_metric_whose_direction_is_not_known():
    """A word must stand alone, and a name that has words of both directions says nothing."""
    for name in ("glossary", "lossy", "error/accuracy", "score", "x" * 996 + " loss"):
        for mode in ("maximize", "minimize"):
            assert places({WEIGHTS: {name: 1}, MODE: mode}) == []
    for name in ("loss", "auc"):
        assert places({WEIGHTS: {name: 1}, MODE: "max"}) == [f"optimize-mode {MODE}"]
    assert places({WEIGHTS: {"x" * 995 + " loss": 1}}) != []


def test_the_message_about_a_direction_has_all_that_decides_it():
    """It has the word, the mode and the weight, of which long ones are cut to 20 characters."""
    assert message({WEIGHTS: {"val_loss": 1}}).startswith("loss is maximized by maximize with the weight 1;")
    assert message({WEIGHTS: {"mse+mae": 1}}).startswith("mae is maximized")
    assert message({WEIGHTS: {"auc": -1.5}}).startswith("auc is minimized by maximize with the weight -1.5;")
    assert f"weight {'9' * 20};" in message({WEIGHTS: {"loss": 10**30 - 1}})


@pytest.mark.parametrize("name", ["neg_log_loss", "negative-mse", "minus loss", "inverse_rmse", "inv_error"])
def test_a_metric_that_is_turned_round_says_no_direction(name):
    """scikit-learn, for one, calls a loss that is to be maximized neg_log_loss."""
    for mode in ("minimize", "maximize"):
        assert places({WEIGHTS: {name: 1}, MODE: mode}) == []
    found = [f"metric.direction {WEIGHTS}/loss"]
    assert places({WEIGHTS: {"rmse": "1", name: 1, "loss": 1}, MODE: "maximize"}) == found


# As EasyRec's "PAI-NNI-HPO" documents them; a star marks an argument of any type.
ARGUMENTS = {
    "tpe": "seed:int tpe_args:object",
    "gridsearch": "",
    "random": "seed:int",
    "evolution": "population_size:int",
    "gp": "utility:str kappa:float xi:float nu:float alpha:float cold_start_num:int selection_num_warm_up:int "
    "selection_num_starting_points:int",
    "pbt": "all_checkpoint_dir:str population_size:int fraction:float",
}
VALUES = {"int": 40, "float": 1.5, "str": "x", "bool": True, "object": {}}
DEMANDS = {
    "int": "an integer",
    "float": "a number with a decimal point, such as 1.0",
    "str": "a string",
    "object": "an object",
}
TUNER = "yml_config/tuner"
ASSESSOR = "yml_config/assessor"
NAMED = {f"{ASSESSOR}/name": "PAIAssessor"}


@pytest.mark.parametrize("tuner", ARGUMENTS)
def test_arguments_of_a_tuner(tuner):
    """A documented argument has the type that the engine demands, and no other argument is documented."""
    arguments = dict(one.split(":") for one in ARGUMENTS[tuner].split())
    known = {name for line in ARGUMENTS.values() for name in (one.split(":")[0] for one in line.split())}
    # The engine has such names for few tuners.
    others = [f"{tuner}Tuner"] if tuner in ("gp", "pbt") else []
    for name in (tuner, tuner.upper(), *others):
        for argument in known | {"optimize_mode", "quite_other"}:
            wanted = arguments.get(argument)
            place = f"tuner.argument {TUNER}/class_args/{argument}"
            for kind, value in {**VALUES, "null": None}.items():
                if (argument, kind) == ("utility", "str"):
                    value = "ei"
                given = {argument: value, "optimize_mode": "maximize"}
                shown = check({TUNER: {"name": name, "class_args": given}})
                if argument == "optimize_mode" or wanted == kind or (wanted and kind == "null"):
                    assert shown == []
                elif wanted:
                    assert shown == [(place, f"the engine requires {DEMANDS[wanted]}")]
                else:
                    assert [found for found, _ in shown] == [place]
                    assert shown[0][1].lower().startswith(f"not a documented argument of {tuner}")


def test_a_misspelt_argument():
    """It is followed by a similar argument of this tuner; the arguments of an unknown tuner are not known."""
    changes = {TUNER: {"name": "TPE", "class_args": {"optimize_mode": "maximize", "sed": 1}}}
    assert message(changes).endswith("; did you mean seed?")
    changes[TUNER]["name"] = "GP"
    assert "did you mean" not in message(changes)
    changes[TUNER]["name"] = "SMAC"
    assert places(changes) == [f"tuner.unknown {TUNER}/name"]
    changes[TUNER]["name"] = None
    assert places(changes) == [f"tuner.unknown {TUNER}"]
    assert places({**changes, f"{TUNER}/class_args/a~1b": 1, f"{TUNER}/name": "TPE"})[0].endswith("/a~1b")


TPE_ARGS = f"{TUNER}/class_args/tpe_args"


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("gamma", 0.25, None),
        ("gamma", 1, None),
        ("gamma", None, None),
        ("gamma", "0.25", "a number"),
        ("gamma", True, "a number"),
        ("n_startup_jobs", 20, None),
        ("n_startup_jobs", 20.0, "an integer"),
        ("constant_liar_type", "best", None),
        ("constant_liar_type", None, None),
        ("n_startup_job", 20, "; did you mean n_startup_jobs?"),
        ("seed", 1, "not a documented member of tpe_args"),
    ],
)
def test_members_of_tpe_args(argument, value, words):
    """The engine's TPE takes six arguments of its own, and ends at any other one."""
    changes = {f"{TPE_ARGS}/{argument}": value}
    assert places(changes) == [f"tuner.argument {TPE_ARGS}/{argument}"] * (words is not None)
    assert words is None or message(changes).endswith(words)
    assert "tuner.argument" not in str(places({**changes, f"{TUNER}/name": "SMAC"}))


def test_the_documented_members_of_tpe_args():
    """As NNI's reference of its tuners lists them with their defaults."""
    numbers = {"n_startup_jobs": 20, "n_ei_candidates": 24, "linear_forgetting": 25, "prior_weight": 1.0}
    assert places({TPE_ARGS: {"constant_liar_type": "best", **numbers, "gamma": 0.25}}) == []


def test_an_argument_of_tpe_in_the_wrong_object():
    changes = {f"{TUNER}/class_args/n_startup_jobs": 5}
    assert message(changes) == "not a documented argument of TPE; it belongs in tpe_args"
    changes = {TUNER: {"name": "GP", "class_args": {"optimize_mode": "maximize", "n_startup_jobs": 5}}}
    assert "tpe_args" not in message(changes)
    assert places({MODE: {"n_startup_job": 5}}) == [f"optimize-mode {MODE}"]


def test_each_member_of_tpe_args_is_checked():
    changes = {f"{TPE_ARGS}/gamma": 1, f"{TPE_ARGS}/unknown": 1, f"{TPE_ARGS}/prior_weight": "x"}
    assert places(changes) == [f"tuner.argument {TPE_ARGS}/{name}" for name in ("prior_weight", "unknown")]


@pytest.mark.parametrize("name", ["direction", "Goal", "MODE"])
def test_other_names_of_the_mode(name):
    """Other tools call it so."""
    assert message({f"{TUNER}/class_args/{name}": "maximize"}).endswith("; did you mean optimize_mode?")


def test_arguments_that_work_with_no_name():
    """PBT's check of its arguments and its constructor call one argument by different names."""
    for name in ("factor", "factors"):
        changes = {TUNER: {"name": "PBT", "class_args": {"optimize_mode": "maximize", name: 1}}}
        assert message(changes) == "the engine takes neither factor nor factors; remove it"
        changes[TUNER]["name"] = "GP"
        assert message(changes).startswith("not a documented argument of GP")


def test_the_utility_of_gp():
    changes = {TUNER: {"name": "GP", "class_args": {"optimize_mode": "maximize", "utility": "eii"}}}
    assert message(changes) == "the engine supports only ei, ucb, poi; did you mean ei?"


@pytest.mark.parametrize(
    ("tuner", "argument", "value", "words"),
    [
        ("Random", "seed", -1, "at least 0"),
        ("Random", "seed", 0, None),
        ("TPE", "seed", 10**30, None),
        ("Evolution", "population_size", 0, "1 to 99999"),
        ("PBT", "population_size", 100_000, "1 to 99999"),
        ("PBT", "population_size", 99_999, None),
        ("GP", "cold_start_num", 0, "at least 1"),
        ("TPE", "tpe_args/n_ei_candidates", 0, "at least 1"),
        ("TPE", "tpe_args/n_startup_jobs", 0, None),
        ("TPE", "tpe_args/constant_liar_type", "bets", "only best, worst, mean and null; did you mean best?"),
        ("TPE", "tpe_args/constant_liar_type", "none", "only best, worst, mean and null"),
        ("TPE", "tpe_args/constant_liar_type", "Mean", None),
        ("TPE", "tpe_args/constant_liar_type", None, None),
    ],
)
def test_values_that_a_tuner_cannot_run_with(tuner, argument, value, words):
    """What ends the engine's own checks or its first draw."""
    place = f"{TUNER}/class_args/{argument}"
    base = {TUNER: {"name": tuner, "class_args": {"optimize_mode": "maximize"}}}
    assert places({**base, place: value}) == [f"tuner.argument {place}"] * (words is not None)
    assert words is None or message({**base, place: value}).endswith(words)


@pytest.mark.parametrize(
    ("size", "trials", "at_once", "most"),
    [
        (None, 50, 33, 32),
        (None, 50, 32, None),
        (4, 50, 5, 4),
        (1, 50, 2, 1),
        (4, 4, 4, None),
        (None, 20, 20, None),
    ],
)
def test_evolution_needs_individuals_for_all_trials_at_once(size, trials, at_once, most):
    arguments = {"optimize_mode": "maximize", "population_size": size}
    changes = {TUNER: {"name": "Evolution", "class_args": arguments}, TRIALS: trials, AT_ONCE: at_once}
    what = f"more than the population_size of Evolution, which is {most}"
    assert check(changes) == [(f"run.concurrency {AT_ONCE}", what)] * (most is not None)
    changes[TUNER] = {"name": "PBT", "class_args": {**arguments, "population_size": 1}}
    assert "run.concurrency" not in str(places(changes))


def test_evolution_needs_no_individuals_for_trials_that_do_not_run():
    changes = {
        TUNER: {"name": "Evolution", "class_args": {"optimize_mode": "maximize"}},
        TRIALS: 20,
        AT_ONCE: 40,
    }
    assert check(changes) == [(f"run.concurrency {AT_ONCE}", "more than max_trial_number, which is 20")]


def test_the_individuals_of_evolution_are_counted_only_if_they_are_a_number():
    for size in ("4", True):
        arguments = {"optimize_mode": "maximize", "population_size": size}
        changes = {TUNER: {"name": "Evolution", "class_args": arguments}, TRIALS: 50, AT_ONCE: 5}
        assert places(changes) == [f"tuner.argument {TUNER}/class_args/population_size"]


@pytest.mark.parametrize(
    ("tuner", "trials", "is_found"),
    [("TPE", 21, True), ("TPE", 20, False), ("GridSearch", 20, True), ("Random", 50, False)],
)
def test_a_range_that_does_not_fit_into_memory(tuner, trials, is_found):
    """These tuners keep a number for each value; TPE draws its first trials without."""
    changes = {TUNER: {"name": tuner, "class_args": {"optimize_mode": "maximize"}}, TRIALS: trials}
    for value in ([0, 2**32], [-(10.0**9), 1], [0.5, 10**350]):
        found = [
            one for one in places({**changes, SPACE: {"_type": "randint", "_value": value}}) if "tuner" in one
        ]
        assert found == [f"search-space.tuner {SPACE}/_value"] * is_found
    for spec in ({"_type": "randint", "_value": [0, 10**8]}, {"_type": "uniform", "_value": [0, 2**32]}):
        assert places({**changes, SPACE: spec}) == []
    several = {
        "${a}": {"_type": "randint", "_value": "0"},
        "${b}": {"_type": "randint", "_value": [1, 10**8 + 2]},
    }
    found = [one for one in places({**changes, "search_space": several}) if "tuner" in one]
    assert found == ["search-space.tuner search_space/${b}/_value"] * is_found
    for value in ([1], ["a", 1], 5, [None, 2**40], [0, "a"]):
        assert "tuner" not in str(places({**changes, SPACE: {"_type": "randint", "_value": value}}))


@pytest.mark.parametrize("tuner", [DELETE, None, {}, {"name": ""}, {"name": None}])
def test_a_run_needs_a_tuner(tuner):
    """The engine refuses a run without one; without `yml_config` nothing is known of the run."""
    place = f"tuner.unknown {TUNER}" if isinstance(tuner, dict) else "tuner.unknown yml_config"
    assert places({TUNER: tuner}) == [place]
    assert message({TUNER: tuner}).startswith("no tuner, which the engine requires; PAI documents Evolution,")
    assert places({TUNER: "TPE"}) == places({f"{TUNER}/name": 1}) == []
    for run in ({}, [TUNER], "x"):
        assert "tuner.unknown" not in str(places({"yml_config": run}))


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("tpee", "; did you mean TPE?"),
        ("GridSearchTuner", "; did you mean GridSearch?"),
        ("tpetuner", "; did you mean TPE?"),
        ("DistributedPBTTuner", "; did you mean PBT?"),
        ("PBTTuner", None),
        ("Tuner", "PBT, Random, TPE"),
        ("SMAC", "Evolution, GP, GridSearch, PBT, Random, TPE"),
    ],
)
def test_an_unknown_tuner(name, ending):
    """A tuner that PAI does not document is followed by those that it does, and by a similar one."""
    place = f"{TUNER}/name"
    assert places({place: name, f"{MODE}": "maximize"}) == [f"tuner.unknown {place}"] * (ending is not None)
    assert ending is None or message({place: name}).endswith(ending)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evolution", "Evolution needs optimize_mode"),
        ("PBT", "PBT needs optimize_mode"),
        ("Random", None),
        ("GridSearch", None),
        ("GP", "GP maximizes; set it to maximize or minimize"),
        ("TPE", "TPE minimizes; set it to maximize or minimize"),
        ("unknown", None),
        (None, None),
    ],
)
def test_a_missing_mode(name, words):
    """Tuners that compare the metric need a mode, or have one of their own, which the message has."""
    for tuner in ({"name": name}, {"name": name, "class_args": {"optimize_mode": None}}):
        shown = [text for place, text in check({TUNER: tuner}) if place == f"tuner.mode {TUNER}"]
        assert len(shown) == (words is not None)
        assert all(text.endswith(words) for text in shown)


@pytest.mark.parametrize(
    ("mode", "meant"),
    [
        ("max", "maximize"),
        ("MINIMISE", "minimize"),
        ("Maximize", "maximize"),
        ("min", "minimize"),
        ("mi", None),
        ("", None),
        ("best", None),
        (7, None),
    ],
)
def test_an_unknown_mode(mode, meant):
    """A mode that begins like one of the two is followed by it, at the tuner and at the assessor."""
    for place in (MODE, f"{ASSESSOR}/class_args/optimize_mode"):
        changes = {**(NAMED if place != MODE else {}), place: mode}
        is_reported = isinstance(mode, str) or place == MODE  # the models report one of the wrong type
        assert places(changes) == [f"optimize-mode {place}"] * is_reported
        assert not is_reported or message(changes).endswith(
            f"; did you mean {meant}?" if meant else "maximize and minimize"
        )


SPACE = "search_space/${centres}"


@pytest.mark.parametrize("tuner", [*ARGUMENTS, "other", None])
def test_types_that_a_tuner_supports(tuner):
    """GP has no normal types; the other tuners have all types. A tuner that is not documented may have all."""
    for kind in (*ARITY, None, "other"):
        shown = check({TUNER: {"name": tuner}, SPACE: {"_type": kind, "_value": [1, 2, 1]}})
        found = [one for one in shown if one[0].startswith("search-space.tuner")]
        if tuner == "gp" and "normal" in str(kind):
            what = f"GP does not support {kind}; choose another type, or another tuner"
            assert found == [(f"search-space.tuner {SPACE}/_type", what)]
        else:
            assert found == [], kind


NUMBERS_ONLY = "GP supports only numbers in a choice; choose another tuner"
NO_NESTED = "does not support nested choices; write one choice, or choose another tuner"


@pytest.mark.parametrize(
    ("items", "of_gp", "of_pbt"),
    [
        ([1, 2.5, True, None], None, None),
        ([], None, None),
        ([1, "a"], NUMBERS_ONLY, None),
        ([1, {"_name": "m"}], f"GP {NO_NESTED}", f"PBT {NO_NESTED}"),
        ("a", None, None),
        ({"a": {}}, None, None),
        (None, None, None),
    ],
)
def test_choices_that_a_tuner_supports(items, of_gp, of_pbt):
    """A choice of GP has only numbers, and one of GP or PBT is not nested."""
    for tuner in (*ARGUMENTS, "GPTuner"):
        words = {"gp": of_gp, "GPTuner": of_gp, "pbt": of_pbt}.get(tuner)
        shown = check({TUNER: {"name": tuner}, SPACE: {"_type": "choice", "_value": items}})
        found = [one for one in shown if one[0].startswith("search-space.tuner")]
        assert found == ([(f"search-space.tuner {SPACE}/_value", words)] if words else []), tuner


def test_the_place_of_a_type_that_a_tuner_does_not_support():
    """The name is escaped in the pointer, and entries that are not objects are reported elsewhere."""
    space = {"a/b": {"_type": "normal", "_value": [0, 1]}, "c": "normal", "d": None}
    shown = places({TUNER: {"name": "GP"}, "search_space": space})
    assert "search-space.tuner search_space/a~1b/_type" in shown
    assert sum(one.startswith("search-space.tuner") for one in shown) == 1
    shown = places({TUNER: {"name": "GP"}, SPACE: {"_type": "randint", "_value": ["1", {"_name": "a"}]}})
    assert "search-space.tuner" not in str(shown)


@pytest.mark.parametrize("assessor", [{}, {"name": ""}, {"name": None}, {"class_args": {"start_step": 1}}])
def test_an_assessor_needs_a_name(assessor):
    assert check({ASSESSOR: assessor}) == [
        (f"assessor.unknown {ASSESSOR}", "the engine requires the name of an assessor")
    ]
    assert places({ASSESSOR: "PAIAssessor"}) == places({f"{ASSESSOR}/name": 1}) == []


def test_pbt_has_no_assessor():
    """Its documentation says so; it stops and replaces trials itself."""
    pbt = {"name": "PBT", "class_args": {"optimize_mode": "maximize"}}
    assert places({TUNER: pbt, **NAMED}) == [f"assessor.unknown {ASSESSOR}"]
    assert places({TUNER: pbt, ASSESSOR: None}) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "PAIAssessor", None),
        ("name", "paiassessor", None),
        ("name", "Medianstop", "only PAIAssessor"),
        ("class_args/proportion", 0, None),
        ("class_args/proportion", 1, None),
        ("class_args/proportion", 1.01, "0.5 is the median"),
        ("class_args/proportion", -0.01, "between 0 and 1"),
        ("class_args/proportion", "2", None),
        ("class_args/start_step", 0, None),
        ("class_args/start_step", -1, "not be less than 0"),
        ("class_args/start_step", "-1", None),
        ("class_args/moving_avg", "true", None),
        ("class_args/moving_avg", "false", None),
        ("class_args/moving_avg", "True", '"true" or "false"'),
        ("class_args/moving_avg", "", '"true" or "false"'),
        ("class_args/moving_avg", True, 'documents a string; "true" or "false" is sent'),
        ("class_args/moving_avg", None, None),
        ("class_args/patience", 5, "by the engine"),
        ("class_args/platform", "DLC", "by the engine"),
        ("class_args/optimize_mode", "maximize", None),
        ("class_args/optimize_mode", "minimize", "other direction"),
        ("class_args/optimize_mode", None, None),
    ],
)
def test_the_assessor(path, value, words):
    """Each argument of the assessor is in its range, and its mode is that of the tuner."""
    rules = {
        "name": "assessor.unknown",
        "class_args/optimize_mode": "optimize-mode",
        "class_args/patience": "engine-member",
        "class_args/platform": "engine-member",
    }
    rule = "moving-avg.type" if value is True else rules.get(path, "assessor.argument")
    shown = check({**NAMED, f"{ASSESSOR}/{path}": value})
    assert [place for place, _ in shown] == [f"{rule} {ASSESSOR}/{path}"] * (words is not None)
    assert all(words in text for _, text in shown)


def test_a_moving_average_that_is_neither_text_nor_boolean():
    """Only a boolean is converted, so the message must not say that of a number."""
    assert message({**NAMED, f"{ASSESSOR}/class_args/moving_avg": 1}) == (
        'the API documents a string: write "true" or "false"'
    )


def test_the_modes_of_tuner_and_assessor():
    """Only modes that both are known are compared; a wrong one is reported where it is."""
    other = f"{ASSESSOR}/class_args/optimize_mode"
    assert places({**NAMED, MODE: "minimize", other: "minimize"}) == []
    assert places({**NAMED, MODE: "minimize", other: "maximize"}) == [f"optimize-mode {other}"]
    assert places({**NAMED, MODE: "max", other: "maximize"}) == [f"optimize-mode {MODE}"]
    assert places({**NAMED, TUNER: {"name": "Random"}, other: "minimize"}) == []


TRIALS, AT_ONCE = "yml_config/max_trial_number", "yml_config/trial_concurrency"


@pytest.mark.parametrize(
    ("trials", "at_once", "found"),
    [
        (1, 1, []),
        (10, 10, []),
        (10, 11, ["run.concurrency"]),
        (10, 10.5, ["run.concurrency"]),
        (1, 2, ["run.concurrency"]),
        (0, 2, ["run.number max"]),
        (-1, 2, ["run.number max"]),
        (5, 0, ["run.number trial"]),
        (0, -1, ["run.number max", "run.number trial"]),
        (1.0, 1, []),
        (0.0, 1, ["run.number max"]),
        (5, -1.0, ["run.number trial"]),
        (True, 2, []),
        (False, 1, []),
        ("5", 6, []),
        (5, "6", []),
        (2, True, []),
        (5, None, []),
        (None, 5, ["run.unlimited"]),
        (None, None, ["run.unlimited"]),
    ],
)
def test_the_number_of_trials(trials, at_once, found):
    """There are trials, and not more at the same time than in all."""
    pointers = {
        "run.concurrency": f"run.concurrency {AT_ONCE}",
        "run.number max": f"run.number {TRIALS}",
        "run.number trial": f"run.number {AT_ONCE}",
        "run.unlimited": "run.unlimited yml_config",
    }
    assert places({TRIALS: trials, AT_ONCE: at_once}) == [pointers[one] for one in found]


def test_the_number_of_trials_is_limited():
    """Nothing limits it without a number, unless the run only tries out the configuration."""
    assert message({TRIALS: DELETE}).endswith("set yml_config.max_trial_number")
    assert places({TRIALS: DELETE, "yml_config/debug": True}) == []
    assert places({TRIALS: DELETE, "yml_config/debug": False}) == ["run.unlimited yml_config"]
    assert places({TRIALS: 10, "yml_config/debug": True}) == []
    assert places({TRIALS: 1, "yml_config/debug": True}) == [f"run.concurrency {AT_ONCE}"]
    assert places({"yml_config": DELETE}) == ["run.unlimited"]
    assert places({"yml_config": {}}) == ["run.unlimited"]
    assert message({TRIALS: 1}).endswith("which is 1")
    assert TRIALS.partition("/")[2] in message({TRIALS: 0})


def test_a_run_without_a_search_space():
    """A run has something to vary; without a run nothing needs a search space."""
    commands = {COMMANDS: ["run"]}
    assert places({**commands, "search_space": {}}) == ["search-space.absent search_space"]
    assert "with an empty search_space" in message({**commands, "search_space": {}})
    assert places({**commands, "search_space": DELETE}) == ["search-space.absent"]
    assert message({**commands, "search_space": None}).startswith("without search_space")
    for other in ([], "", 0):  # reported as a value of the wrong type
        assert places({**commands, "search_space": other}) == []
    assert places({**commands, "search_space": DELETE, "yml_config": DELETE}) == ["run.unlimited"]


@pytest.mark.parametrize(
    ("level", "ending"),
    [
        *((level, None) for level in ("trace", "debug", "info", "warning", "error", "fatal", "INFO", 7)),
        ("loud", "debug, error, fatal, info, trace, warning"),
        ("", "debug, error, fatal, info, trace, warning"),
        ("WARN", "; did you mean warning?"),
        ("fata", "; did you mean fatal?"),
    ],
)
def test_a_log_level(level, ending):
    """A level that the engine does not know is followed by those that it knows, and by a similar one."""
    place = "yml_config/log_level"
    assert places({place: level}) == [f"run.log-level {place}"] * (ending is not None)
    assert ending is None or message({place: level}).endswith(ending)


@pytest.mark.parametrize(
    ("name", "value", "ending"),
    [
        ("day", "everyday", None),
        ("day", "weekend", None),
        ("day", 7, None),
        ("day", "monday", "everyday and weekend"),
        ("day", "Weekend", "; did you mean weekend?"),
        ("day", "EVERYDAY", "; did you mean everyday?"),
        ("start_time", "00:00", None),
        ("start_time", "09:59", None),
        ("start_time", "23:59", None),
        ("start_time", "8:00", "; did you mean 08:00?"),
        ("start_time", "08:00:00", "; did you mean 08:00?"),
        ("end_time", "8:15", "; did you mean 08:15?"),
        ("end_time", "24:00", "up to 23:59"),
        ("end_time", "12:60", "up to 23:59"),
        ("end_time", "noon", "up to 23:59"),
        ("end_time", "", "up to 23:59"),
        ("end_time", 12, None),
        ("end_time", None, None),
    ],
)
def test_a_schedule(name, value, ending):
    """Day and times have the form that the engine requires; a form that is nearly right is completed."""
    place = f"schedule_config/{name}"
    assert places({place: value}) == [f"schedule {place}"] * (ending is not None)
    assert ending is None or message({place: value}).endswith(ending)


@pytest.mark.parametrize(
    ("start", "end", "is_found"),
    [
        ("07:00", "20:00", False),
        ("20:00", "07:00", True),
        ("07:00", "07:00", True),
        ("07:00", "07:01", False),
    ],
)
def test_a_schedule_ends_after_it_starts(start, end, is_found):
    """Whether a night is meant is not documented, so the end is later than the start."""
    changes = {"schedule_config/start_time": start, "schedule_config/end_time": end}
    assert places(changes) == ["schedule schedule_config/end_time"] * is_found


@pytest.mark.parametrize(
    ("monitor", "found"),
    [
        ({"url": "https://a", "is_at_all": "True"}, []),
        ({"url": "https://a", "is_at_all": "false"}, []),
        ({"url": "https://a", "is_at_all": "yes"}, ["/is_at_all"]),
        ({"url": "https://a", "at_mobiles": "[1]", "at_user_ids": "[]"}, []),
        ({"url": "https://a", "at_mobiles": "1472583690"}, ["/at_mobiles"]),
        ({"url": "https://a", "at_user_ids": "a, b"}, ["/at_user_ids"]),
        ({"keyword": "a"}, [""]),
        ({"url": ""}, [""]),
        ({"url": None, "is_at_all": ""}, ["", "/is_at_all"]),
        ({}, []),
        (None, []),
        ("https://a", []),
    ],
)
def test_alerts(monitor, found):
    """An alert needs the place that it is sent to, and a boolean is a string there."""
    assert places({"monitor_config": monitor}) == [f"monitor monitor_config{place}" for place in found]


def test_members_that_only_the_engine_documents():
    """They are accepted, wherever they are, with a warning."""
    assert places({"metric_config/optimize_mode": "maximize"}) == [
        "engine-member metric_config/optimize_mode"
    ]
    assert places({"dlc_config": {"end_point": "x"}}) == ["engine-member dlc_config/end_point"]
    assert message({"dlc_config": {"end_point": "x"}}).endswith("this member as endpoint")
    assert places({"dlc_config": {"endpoint": "x"}}) == []
    assert places({"k8s_config": {"nni_container_cpu_limit": "1"}}) == ["k8s k8s_config"]
    assert places({"k8s_config": {}}) == []
