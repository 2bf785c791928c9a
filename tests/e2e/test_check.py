"""`hpoq check` as people and machines use it."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import alilocal
from hpoq.cloud.smq import fits
from hpoq.contract.identity import derive_key
from hpoq.contract.jsontext import MOST_BODY_BYTES
from hpoq.settings import Settings
from hpoqctl.app import app
from hpoqctl.checking import MOST_MESSAGE_BYTES
from support.request import REQUEST, make_document, request

ROOT = Path(__file__).parents[2]
YAML = """\
# a comment
experiment:
  Name: x
  Nmae: y
  HpoExperimentConfiguration:
    platform_config: {name: DLC, cmd: [run]}
    oss_config:
      accessKeySecret: secret-canary
      accessKeyId: secret-canary
    metric_config:
      metric_type: stdout
      metric_source: [cmd1]
      final_mode: last
      metric_dict: {"loss=([0-9.]+)": 1}
"""


def lines(done):
    return done.stdout.decode().splitlines()


def test_violations_are_shown_in_their_source(hpoq, tmp_path):
    """Each violation names file, line and column, and shows the line with a caret below it."""
    bad = tmp_path / "bad.json"
    bad.write_text(
        REQUEST.replace('"final_mode": "final"', '"final_mode": "last"').replace(
            '"final_mode": "best"', '"final_mode": "last"'
        )
    )
    number = next(n for n, line in enumerate(bad.read_text().splitlines(), 1) if '"last"' in line)
    done = hpoq("check", bad)
    assert done.returncode == 1
    shown = done.stdout.decode()
    column = bad.read_text().splitlines()[number - 1].index('"last"') + 1
    assert f"{bad}:{number}:{column} /experiment" in shown
    caret = next(line for line in lines(done) if "^" in line)
    source = lines(done)[lines(done).index(caret) - 1]
    assert source[caret.index("^") :].startswith('"last"')
    assert lines(done)[-1] == "1 request: 0 valid, 1 invalid, 0 warnings"


def test_yaml_is_read_and_placed(hpoq_json, hpoq, tmp_path):
    """A YAML request is checked as its JSON equivalent, each violation at its own line; no secret shows."""
    path = tmp_path / "request.yaml"
    path.write_text(YAML)
    code, document = hpoq_json("check", path)
    (file,) = document["files"]
    assert code == 1
    places = {violation["rule"]: (violation["line"], violation["column"]) for violation in file["violations"]}
    assert places["enum"] == (13, 19)
    nmae = next(v for v in file["violations"] if v["pointer"] == "/experiment/Nmae")
    assert (nmae["line"], nmae["column"]) == (4, 3)
    assert b"canary" not in hpoq("check", path).stdout


def test_notations_that_only_yaml_has_are_named(hpoq_json, tmp_path):
    """A value that YAML takes as a number stays a string; the warning says so, and which number is meant."""
    document = json.loads(request())
    config = document["experiment"]["HpoExperimentConfiguration"]
    text = json.dumps(document).replace(json.dumps(config["metric_config"]["metric_dict"]), "{score: .5}")
    text = text.replace('"optimize_mode": "maximize"', '"optimize_mode": "maximize", seed: 0x10')
    text = text.replace('"Name": ', '"Description": no, "Name": ')
    path = tmp_path / "request.yaml"
    path.write_text(text)
    code, report = hpoq_json("check", path)
    (file,) = report["files"]
    found = {warning["pointer"].rpartition("/")[2]: warning for warning in file["warnings"]}
    assert code == 0
    assert {name: warning["rule"] for name, warning in found.items()} == {
        "score": "yaml.notation",
        "seed": "yaml.notation",
    }
    assert "0x10 is YAML's notation of 16" in found["seed"]["message"]
    assert found["seed"]["column"] == text.index("0x10") + 1


def test_a_credential_is_not_reported_as_a_notation(hpoq, tmp_path):
    """A credential that YAML would take as a number is the string that it should be, and is not shown."""
    path = tmp_path / "request.yaml"
    path.write_text("experiment: {HpoExperimentConfiguration: {yml_config: {password: 0x1234cafe}}}")
    assert b"1234cafe" not in hpoq("check", path).stdout


def test_several_yaml_documents(hpoq_json, tmp_path):
    """Each document of a file is a request, named by its number; an invalid document is reported in its place."""
    path = tmp_path / "requests.yaml"
    good = request()
    path.write_text(f"{good}\n---\n{good}\n---\na: [1\n")
    code, document = hpoq_json("check", path)
    assert code == 1
    assert [(file["path"], file["valid"]) for file in document["files"]] == [
        (str(path), True),
        (f"{path}#2", True),
        (f"{path}#3", False),
    ]
    assert document["files"][2]["violations"][0]["rule"] == "yaml.syntax"


def test_lines_of_json_lines(hpoq_json, tmp_path):
    """In JSON Lines, a violation has the line number of its file."""
    path = tmp_path / "requests.jsonl"
    good = request()
    path.write_text(f"{good}\n\n{good[:-1]}\n")
    _, document = hpoq_json("check", path)
    (violation,) = document["files"][1]["violations"]
    assert (violation["rule"], violation["line"]) == ("json.syntax", 3)
    assert violation["column"] == len(good)


@pytest.mark.parametrize("before", ["", "\n"])
def test_json_lines_of_a_request_that_has_several(hpoq_json, tmp_path, before):
    """A request that is written on several lines is one violation, which says how to name its file."""
    path = tmp_path / "requests.jsonl"
    path.write_text(before + json.dumps(make_document(), indent=2))
    (file,) = hpoq_json("check", path)[1]["files"]
    (violation,) = file["violations"]
    assert (violation["rule"], violation["line"]) == ("json.syntax", 1 + len(before))
    assert violation["message"].startswith("not JSON Lines, which has one request per line")
    assert "rename the file to .json" in violation["message"]


def test_a_comma_between_json_lines(hpoq_json, tmp_path):
    """A comma after a request is shown with what to do."""
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{request()}, \n{request()}\n")
    first, second = hpoq_json("check", path)[1]["files"]
    (violation,) = first["violations"]
    assert (violation["rule"], violation["line"]) == ("json.syntax", 1)
    assert violation["column"] == len(request()) + 1
    assert violation["message"] == "not JSON Lines: remove the comma at the end of the line"
    assert second["valid"]


def test_github_annotations(hpoq, tmp_path):
    """Each violation is a workflow command, escaped, and nothing else is printed."""
    path = tmp_path / "a,b.json"
    path.write_text('{"experiment": {"Na%me": 1}}')
    done = hpoq("check", path, "--github")
    assert done.returncode == 1
    errors = [line for line in lines(done) if line.startswith("::error ")]
    assert len(errors) == 1
    assert f"file={str(path).replace(',', '%2C')},line=1,col=17,title=unknown-member::" in errors[0]
    assert "/experiment/Na%25me: unknown member" in errors[0]
    assert all(re.match("::(error|warning) ", line) for line in lines(done))


def test_quiet_and_strict(hpoq, tmp_path):
    """--quiet prints nothing about valid files; --strict makes warnings count."""
    path = tmp_path / "warned.json"
    path.write_text('{"experiment": {"Name": "x"}}')
    done = hpoq("check", path, "-q")
    assert (done.returncode, lines(done)) == (0, ["1 request: 1 valid, 0 invalid, 1 warning"])
    assert hpoq("check", path, "--strict").returncode == 1


CREDENTIALS = {
    "one line of YAML": "experiment: {Nmae: x, oss_config: {credential: aaa0, passwd: bbb, password: ccc}}",
    "several lines of YAML": "experiment:\n  Nmae: x\n  oss_config:\n    passwd:\n    - aaa0\n    - bbb",
    "YAML, broken": "experiment: {oss_config: {credential: aaa0, passwd: bbb, password: ccc}",
    "a list": '{"experiment": {"Nmae": 1, "odps_config": {"access_key": ["aaa0"]}}}',
    "an object": '{"experiment": {"Nmae": 1, "odps_config": {"access_key": {"bbb": "aaa0"}}}}',
    "a command": '{"experiment": {"Nmae": 1, "cmd": "run --password aaa0 https://u:bbb@h/?token=ccc"}}',
    "a URL": '{"experiment": {"Nmae": 1, "monitor_config": {"url": "https://aaa0/bbb", "x": 1}}}',
    "a section": '{"experiment": {"HpoExperimentConfiguration": {"monitor_config": "https://h/hook/aaa0"}}}',
    "JSON, broken": '{"experiment": {"access_id": "aaa0", "pwd": "bbb" "token": ccc}}',
    "a JSON text": json.dumps(
        '{"experiment": {"Nmae": 1, "odps_config": {"access_key": "aaa0"}, "cmd": "x --password bbb"}}'
    ),
    "a JSON text, broken": json.dumps('{"experiment": {"access_id": "aaa0", "pwd": "bbb" "token": ccc}}'),
    "a JSON text of a list": json.dumps('{"experiment": {"access_key": ["aaa0"], "passwd": {"bbb": "ccc"}}}'),
    "a misspelt name": "experiment:\n  HpoExperimentConfiguration:\n    oss_config: {acessKeySecrt: aaa0, bad: 1}",
    "a misspelt name in JSON": '{"experiment": {"HpoExperimentConfiguration": {"dlc_config": '
    '{"acces_ke": {"x": ["aaa0"]}, "aces_id": "bbb", "bad": 1}}}}',
    "another place": '{"experiment": {"Accessibility": "aaa0", "access_key": "aaa0"}}',
}


@pytest.mark.parametrize("text", CREDENTIALS.values(), ids=CREDENTIALS.keys())
@pytest.mark.parametrize("form", [(), ("--json",), ("--github",)], ids=str)
def test_no_form_of_output_shows_a_credential(hpoq, tmp_path, text, form):
    """Whatever is wrong with a file, neither its excerpt nor a violation shows the secrets in it."""
    path = tmp_path / ("request.json" if text.startswith(("{", '"')) else "request.yaml")
    path.write_text(text)
    done = hpoq("check", path, *form)
    assert done.returncode == 1
    shown = (done.stdout + done.stderr).decode().replace(str(path), "")
    assert not [secret for secret in ("aaa0", "bbb", "ccc") if secret in shown], shown


def test_samples_show_no_credential(hpoq, tmp_path):
    """The commands that --sample shows have their secrets masked, and everything else as it would run."""
    document = make_document()
    cmd = document["experiment"]["HpoExperimentConfiguration"]["platform_config"]["cmd"]
    cmd[0] += " --password canary --epochs 3"
    path = tmp_path / "request.json"
    path.write_text(json.dumps(document))
    for form in ((), ("--json",)):
        shown = hpoq("check", path, "--sample", "2", *form).stdout.decode()
        assert "--password *** --epochs 3" in shown
        assert "canary" not in shown


def test_github_and_json_exclude_each_other(hpoq, tmp_path):
    """Two machine forms at once are wrong usage."""
    assert hpoq("check", ROOT / "events" / "requests", "--json", "--github").returncode == 2


def test_many_files(hpoq, tmp_path):
    """Hundreds of files are checked in one process; each violation is printed as it is found."""
    for number in range(300):
        (tmp_path / f"{number:03}.json").write_text(REQUEST if number % 150 else "{")
    done = hpoq("check", tmp_path, "-q")
    assert done.returncode == 1
    assert lines(done)[-1] == "300 requests: 298 valid, 2 invalid, 0 warnings"
    assert done.stderr == b""


TEXT = request()
BAD = {
    "json.duplicate-key": TEXT.replace('"Name"', '"Name": "x", "Name"', 1).encode(),
    "json.non-finite": TEXT.replace('"metric_dict": {', '"metric_dict": {"x": NaN, ', 1).encode(),
    "json.encoding": b'{"experiment": "\xff"}',
    "json.surrogate": b'{"experiment": "\\ud800"}',
    "json.number": b'{"experiment": ' + b"9" * 5000 + b"}",
    "json.depth": b'{"experiment":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "json.syntax": b'{"experiment": }',
    "body.too-large": b'{"experiment": "' + b"x" * MOST_BODY_BYTES + b'"}',
    "body.base64-twice": base64.b64encode(base64.b64encode(TEXT.encode())),
    "body.compressed": gzip.compress(TEXT.encode()),
}


@pytest.mark.parametrize("rule", BAD)
def test_bad_files(hpoq_json, hpoq, tmp_path, rule):
    """Any bad file is reported by its rule, never by a traceback."""
    path = tmp_path / "bad.json"
    path.write_bytes(BAD[rule])
    code, document = hpoq_json("check", path)
    assert code == 1
    assert rule in {violation["rule"] for violation in document["files"][0]["violations"]}
    done = hpoq("check", path)
    assert (done.returncode, done.stderr) == (1, b"")
    assert len(done.stdout) < 5_000


def test_broken_syntax(hpoq, tmp_path):
    """Text that is not JSON is shown with the place of its first error."""
    broken = ["{bad", "{", "]", '{"a":1}}', '"\\x"', "{'a': 1}", '{"\\q": 1}', "nul", "[[[", "{:}"]
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join(broken))
    done = hpoq("check", path)
    assert (done.returncode, done.stderr) == (1, b"")
    shown = lines(done)
    assert [line for line in shown if line.endswith("[json.syntax]")] == [
        line for line in shown if line.startswith(f"  violation {path}:")
    ]
    assert shown[-1] == f"{len(broken)} requests: 0 valid, {len(broken)} invalid, 0 warnings"


def test_send_takes_yaml(hpoq_json, hpoq, tmp_path):
    """`hpoq send` sends the JSON equivalent of a YAML request, and nothing if one is invalid."""

    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("hpo-requests")
        good = ROOT / "events" / "requests" / "dlc-stdout.yaml"
        assert hpoq("send", good, broken, "--endpoint", server.url).returncode == 1
        assert hpoq("send", good, broken, "--no-check", "--endpoint", server.url).returncode == 2
        assert queue.messages == []
        assert hpoq_json("send", good, "--endpoint", server.url)[0] == 0
        (message,) = queue.messages
    sent = json.loads(base64.b64decode(message.body))
    assert sent == json.loads((ROOT / "events" / "requests" / "dlc-stdout.json").read_text())


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_the_caret_is_under_what_is_wrong(hpoq, tmp_path, suffix):
    """A wrong name is marked at the name, a wrong placeholder at the placeholder, in JSON and in YAML."""
    document = make_document()
    config = document["experiment"]["HpoExperimentConfiguration"]
    config["platform_config"]["cmd"] = ["pai -name kmeans -Dk=${centers} -Dl={centres}"]
    config["search_space"]["centres"] = config["search_space"]["${centres}"]
    path = tmp_path / f"request.{suffix}"
    path.write_text(json.dumps(document, indent=1))
    shown = lines(hpoq("check", path))
    marked = {}
    for head, source, caret in zip(shown, shown[1:], shown[2:], strict=False):
        rule = re.search(r"\[([a-z.-]+)\]$", head)
        if rule and "^" in caret:
            marked[rule[1]] = source[caret.index("^") : caret.rindex("^") + 1]
    assert marked["placeholder.undefined"] == "${centers}"
    assert marked["placeholder.form"] == "{centres}"
    assert marked["search-space.name"] == '"centres"'


def test_header_and_message_name_the_same_line(hpoq, hpoq_json, tmp_path):
    """In JSON Lines the message about broken JSON names the line of the file, as its heading does."""
    path = tmp_path / "requests.jsonl"
    path.write_text(f'{request()}\n{request()}\n{{"a": 1,}}\n')
    (violation,) = hpoq_json("check", path)[1]["files"][2]["violations"]
    assert (violation["line"], violation["column"]) == (3, 8)
    assert violation["message"] == "not JSON at line 3, column 8: a comma after the last item"


def test_a_preview_of_what_will_happen(hpoq, hpoq_json):
    """--sample shows the plan in one line, each parameter with its range, and draws with their commands."""
    path = ROOT / "events" / "requests" / "dlc-stdout.json"
    shown = lines(hpoq("check", path, "--sample", "1", PYTHONIOENCODING="utf-8"))
    assert "  20 trials, 5 at a time, minimize val_loss=([0-9\\.]+)" in shown
    assert any(line.startswith("    ${lr}          0.0001 to 0.1, by magnitude  ") for line in shown)
    assert "    a continuous space" in shown
    assert sum("The bars show how often" in line for line in shown) == 1
    file = hpoq_json("check", path, "--sample", "2")[1]["files"][0]
    assert len(file["samples"]) == 2
    assert file["space"]["combinations"] is None


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "r.ndjson", "r.yaml", "r.yml"])
@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n"])
def test_a_file_without_a_request_is_invalid(name, content, tmp_path):
    """An empty file is a mistake, whatever its notation, and is not sent as if all were well."""
    file = tmp_path / name
    file.write_text(content)
    done = CliRunner().invoke(app, ["check", str(file), "--json"])
    assert (done.exit_code, [one["valid"] for one in json.loads(done.stdout)["files"]]) == (1, [False])
    sent = CliRunner().invoke(app, ["send", str(file), "--endpoint", "http://127.0.0.1:1"])
    assert (sent.exit_code, "Nothing was sent" in sent.output) == (1, True)


def test_a_request_that_fits_no_message_is_a_warning(tmp_path):
    """`hpoq send` refuses it, so `hpoq check` says so before."""
    file = tmp_path / "r.json"
    for size, rules in ((MOST_MESSAGE_BYTES, []), (MOST_MESSAGE_BYTES + 1, ["body.too-large"])):
        text = request(Description="x" * size)
        file.write_text(request(Description="x" * (2 * size - len(text))))
        assert file.stat().st_size == size
        assert fits(file.read_bytes()) is (not rules)
        document = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)
        assert [one["rule"] for one in document["files"][0]["warnings"]] == rules


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"Experiment": {}}, "did you mean experiment?"),
        ({"expriment": {}}, "did you mean experiment?"),
        ({"HpoExperimentConfig": {}}, "did you mean HpoExperimentConfiguration?"),
    ],
)
def test_a_misspelt_wrapper_gets_a_suggestion(document, hint, tmp_path):
    """A document that is no request at all may only have its one name wrong."""
    file = tmp_path / "r.json"
    file.write_text(json.dumps(document))
    assert hint in CliRunner().invoke(app, ["check", str(file)]).output


@pytest.mark.parametrize(
    "member",
    ["access_key: *CANARY7", "access_key: !CANARY7", "CANARY7: a\n  CANARY7: b", 'access_key: "CANARY7'],
)
def test_mistakes_of_yaml_show_no_credential(member, tmp_path):
    """An alias, a tag, a repeated name or an unclosed string may be a credential."""
    file = tmp_path / "r.yaml"
    file.write_text(f"dlc_config:\n  {member}\n")
    for options in ([], ["--json"], ["--github"]):
        done = CliRunner().invoke(app, ["check", str(file), *options])
        assert (done.exit_code, "CANARY7" in done.output) == (1, False), done.output
    sent = CliRunner().invoke(app, ["send", str(file), "--no-check", "--endpoint", "http://127.0.0.1:1"])
    assert (sent.exit_code, "CANARY7" in sent.output) == (2, False), sent.output


def test_a_notation_of_yaml_has_one_remedy(tmp_path):
    """A value without quotes is not answered by a hint to remove them, nor by one to add what would be wrong."""
    file = tmp_path / "r.yaml"
    document = make_document()
    document["experiment"]["HpoExperimentConfiguration"]["yml_config"]["debug"] = "DEBUG"
    file.write_text(json.dumps(document).replace('"DEBUG"', "False"))
    report = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)["files"][0]
    assert [one["message"] for one in report["violations"]] == ["must be a boolean, not a string"]
    assert [one["message"] for one in report["warnings"]] == [
        "False is YAML's notation of false, but is read as a string: write false"
    ]


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("12h", "write 12 without a unit"),
        ("'12h'", "write 12 without quotes and without a unit"),
        ("90 min", "write 1.5, the number of hours"),
    ],
)
def test_quotes_that_are_not_there_are_not_to_be_removed(tmp_path, written, remedy):
    """A string of YAML may be written without quotes."""
    file = tmp_path / "r.yaml"
    file.write_text(json.dumps({**make_document(), "guard": {"maxHours": "H"}}).replace('"H"', written))
    report = json.loads(CliRunner().invoke(app, ["check", str(file), "--json"]).stdout)["files"][0]
    assert [one["message"] for one in report["violations"]] == [f"must be a number, not a string; {remedy}"]


def test_a_name_that_is_too_long_is_wrong_usage():
    """No file has such a name, so none can be checked."""
    done = CliRunner().invoke(app, ["check", "x" * 5000])
    assert (done.exit_code, "File name too long" in done.output) == (2, True), done.output


@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "-"])
def test_what_is_not_json_in_base64_is_explained_without_a_place(tmp_path, name):
    """The place in the message is one of the decoded text, and an excerpt of base64 may hold a credential."""
    text = base64.b64encode(b"\xef\xbb\xbf\xe2\x80\x8b{}")
    (tmp_path / "r.json").write_bytes(text)
    (tmp_path / "r.jsonl").write_bytes(text)
    path = name if name == "-" else str(tmp_path / name)
    done = CliRunner().invoke(app, ["check", "--json", path], input=text)
    ((violation,),) = [file["violations"] for file in json.loads(done.output)["files"]]
    assert violation["message"].endswith("an invisible character; write an ordinary space"), violation
    assert "line" not in violation


@pytest.mark.parametrize("name", ["r.txt", "r.jsonl"])
def test_a_request_in_base64_is_not_shown(tmp_path, name):
    """No line of base64 is the place of a member, and each may hold a credential."""
    document = make_document()
    document["experiment"]["HpoExperimentConfiguration"]["oss_config"] = {
        "accessKeySecret": "canary" * 9,
        "x": 1,
    }
    text = base64.b64encode(json.dumps(document).encode())
    (tmp_path / name).write_bytes(text)
    done = CliRunner().invoke(app, ["check", str(tmp_path / name)])
    assert (done.exit_code, "/oss_config/x [unknown-member]" in done.output) == (1, True), done.output
    assert not any(text.decode()[at : at + 12] in done.output for at in range(0, len(text) - 12, 4))


@pytest.mark.parametrize(
    ("environ", "namespace"),
    [
        ({"HPOQ_NAME": "staging"}, "staging"),
        ({"HPOQ_NAME": "other", "HPOQ_NAMESPACE": "staging"}, "staging"),
        ({"HPOQ_NAME": "staging", "HPOQ_NAMESPACE": ""}, "staging"),
        ({"HPOQ_NAME": "-"}, ""),
    ],
)
def test_the_key_is_that_of_the_deployment(tmp_path, environ, namespace):
    """The namespace is part of the key, and the name of the deployment is the namespace if that is not set."""
    (tmp_path / "request.json").write_text(request("k"))
    done = CliRunner().invoke(app, ["check", "--json", str(tmp_path / "request.json")], env=environ)
    (row,) = json.loads(done.stdout)["files"]
    assert row["key"] == derive_key("producer", "k", Settings.from_environment(environ).namespace)
    assert row["key"] == derive_key("producer", "k", namespace)
