"""`hpoq check` as people and machines use it."""

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

import alilocal

ROOT = Path(__file__).parents[2]
MINIMAL = (ROOT / "events" / "requests" / "minimal.json").read_text()
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


def test_violations_stand_in_their_source(hpoq, tmp_path):
    """Each violation names file, line and column, and shows the line with a caret below it."""
    bad = tmp_path / "bad.json"
    bad.write_text(
        MINIMAL.replace('"final_mode": "final"', '"final_mode": "last"').replace(
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
    assert lines(done)[-1] == "1 file: 0 valid, 1 invalid, 0 warnings"


def test_yaml_is_read_and_placed(hpoq_json, hpoq, tmp_path):
    """A YAML request is judged as the JSON that it stands for, each violation at its own line; no secret shows."""
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


def test_several_yaml_documents(hpoq_json, tmp_path):
    """Each document of a file is a request, named by its number; one that is none is told in its place."""
    path = tmp_path / "requests.yaml"
    good = json.dumps(json.loads(MINIMAL))
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
    """In JSON Lines a violation stands at the line of its file."""
    path = tmp_path / "requests.jsonl"
    good = json.dumps(json.loads(MINIMAL))
    path.write_text(f"{good}\n\n{good[:-1]}\n")
    _, document = hpoq_json("check", path)
    (violation,) = document["files"][1]["violations"]
    assert (violation["rule"], violation["line"]) == ("json.syntax", 3)
    assert violation["column"] == len(good)


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
    """--quiet says nothing of what is valid; --strict makes warnings count."""
    path = tmp_path / "warned.json"
    path.write_text('{"experiment": {"Name": "x"}}')
    done = hpoq("check", path, "-q")
    assert (done.returncode, lines(done)) == (0, ["1 file: 1 valid, 0 invalid, 1 warning"])
    assert hpoq("check", path, "--strict").returncode == 1


def test_forms_exclude_each_other(hpoq, tmp_path):
    """Two machine forms at once are wrong usage."""
    assert hpoq("check", ROOT / "events" / "requests", "--json", "--github").returncode == 2


def test_many_files(hpoq, tmp_path):
    """A thousand files are one process; what is wrong with one is told as it is found."""
    for number in range(1000):
        (tmp_path / f"{number:04}.json").write_text(MINIMAL if number % 500 else "{")
    done = hpoq("check", tmp_path, "-q")
    assert done.returncode == 1
    assert lines(done)[-1] == "1000 files: 998 valid, 2 invalid, 0 warnings"
    assert done.stderr == b""


TEXT = json.dumps(json.loads(MINIMAL))
BAD = {
    "json.duplicate-key": TEXT.replace('"Name"', '"Name": "x", "Name"', 1).encode(),
    "json.non-finite": TEXT.replace('"metric_dict": {', '"metric_dict": {"x": NaN, ', 1).encode(),
    "json.encoding": b'{"experiment": "\xff"}',
    "json.surrogate": b'{"experiment": "\\ud800"}',
    "json.number": b'{"experiment": ' + b"9" * 5000 + b"}",
    "json.depth": b'{"experiment":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "json.syntax": b'{"experiment": }',
    "body.too-large": b'{"experiment": "' + b"x" * 10_000_000 + b'"}',
    "body.base64-twice": base64.b64encode(base64.b64encode(TEXT.encode())),
    "body.compressed": gzip.compress(TEXT.encode()),
}


@pytest.mark.parametrize("rule", BAD)
def test_bad_files(hpoq_json, hpoq, tmp_path, rule):
    """Whatever a file holds, the answer is its rule, never a traceback."""
    path = tmp_path / "bad.json"
    path.write_bytes(BAD[rule])
    code, document = hpoq_json("check", path)
    assert code == 1
    assert rule in {violation["rule"] for violation in document["files"][0]["violations"]}
    done = hpoq("check", path)
    assert (done.returncode, done.stderr) == (1, b"")
    assert len(done.stdout) < 5_000


def test_broken_syntax(hpoq, tmp_path):
    """Text that is no JSON at all is shown where it breaks, whatever it breaks at."""
    broken = ["{bad", "{", "]", '{"a":1}}', '"\\x"', "{'a': 1}", '{"\\q": 1}', "nul", "[[[", "{:}"]
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join(broken))
    done = hpoq("check", path)
    assert (done.returncode, done.stderr) == (1, b"")
    shown = lines(done)
    assert [line for line in shown if line.endswith("[json.syntax]")] == [
        line for line in shown if line.startswith(f"  violation {path}:")
    ]
    assert shown[-1] == f"{len(broken)} files: 0 valid, {len(broken)} invalid, 0 warnings"


def test_send_takes_yaml(hpoq_json, hpoq, tmp_path):
    """`hpoq send` sends the JSON that a YAML request stands for, and nothing where one is none."""

    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with alilocal.serve() as server:
        queue = server.cloud.queues.create("hpo-requests")
        good = ROOT / "events" / "requests" / "dlc-stdout.yaml"
        assert hpoq("send", good, broken, "--endpoint", server.url).returncode == 2
        assert queue.messages == []
        assert hpoq_json("send", good, "--endpoint", server.url)[0] == 0
        (message,) = queue.messages
    sent = json.loads(base64.b64decode(message.body))
    assert sent == json.loads((ROOT / "events" / "requests" / "dlc-stdout.json").read_text())
