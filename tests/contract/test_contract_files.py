"""The files in events/contract are those that `hpoq contract` writes."""

import functools
import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from requestschema import CONTRACT, REQUESTS, ROOT, nodes

from hpoqctl.contract import command, contract_files
from hpoqctl.schema.members import MEMBERS
from support.budget import examples

FILES = contract_files({name: json.loads(path.read_text("utf-8")) for name, path in REQUESTS.items()})


def run(*arguments):
    """Run `hpoq contract` with the examples of this repository; return its exit code and its rows."""
    done = CliRunner().invoke(
        command, ["--examples", str(REQUESTS["minimal"].parent), "--json", *map(str, arguments)]
    )
    return done.exit_code, {row["path"]: row["state"] for row in json.loads(done.output)["files"]}


def test_the_files_are_current():
    """Writing the contract again changes no byte, and there are no other files."""
    assert {path.name for path in CONTRACT.iterdir()} == {*FILES, "README.md"}
    for name, text in FILES.items():
        assert (CONTRACT / name).read_bytes() == text.encode(), f"{name} is not current: run `hpoq contract`"


def test_written_then_current(tmp_path):
    """Written files are current afterwards, and a missing folder is created."""
    folder = tmp_path / "new" / "contract"
    assert run("--output", folder) == (0, {str(folder / name): "written" for name in FILES})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: text.encode() for name, text in FILES.items()
    }
    assert run("--output", folder, "--check") == (0, {str(folder / name): "current" for name in FILES})


def test_check_finds_what_is_not_current(tmp_path):
    """--check reports missing and outdated files, exits with 1, and writes nothing."""
    run("--output", tmp_path)
    (tmp_path / "asyncapi.yaml").unlink()
    (tmp_path / "failed.schema.json").write_text("{}")
    code, states = run("--output", tmp_path, "--check")
    differing = {path: state for path, state in states.items() if state != "current"}
    assert code == 1
    assert differing == {
        str(tmp_path / "asyncapi.yaml"): "missing",
        str(tmp_path / "failed.schema.json"): "outdated",
    }
    assert not (tmp_path / "asyncapi.yaml").exists()
    assert (tmp_path / "failed.schema.json").read_text() == "{}"


def test_without_examples(tmp_path, monkeypatch):
    """Without the folder of examples the command fails with a usage error and writes nothing."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 2
    assert "events/requests" in done.output
    assert not list(tmp_path.iterdir())


def test_the_readable_output(monkeypatch):
    """The readable output has one line per file with its state."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(command, ["--check"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [f"events/contract/{name}: current" for name in FILES]


def credentials(value):
    """Yield the name of every member that is marked writeOnly."""
    for node in nodes(value):
        for name, schema in (node.get("properties") or {}).items():
            if isinstance(schema, dict) and schema.get("writeOnly"):
                assert schema["format"] == "password"
                yield name


def test_credentials_are_written_only():
    """Each credential is marked writeOnly, so that no tool shows it."""
    assert set(credentials(json.loads(FILES["request.schema.json"]))) == {
        "accessKeyID",
        "accessKeySecret",
        "access_id",
        "access_key",
        "access_key_id",
        "access_key_secret",
        "url",
    }


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
def test_patterns_mean_the_same_everywhere(name):
    """No pattern uses syntax that ECMA-262 and Python interpret differently, or that RE2 and PCRE lack."""
    patterns = [
        node["pattern"] for node in nodes(json.loads(FILES[name])) if isinstance(node.get("pattern"), str)
    ]
    assert patterns
    for pattern in patterns:
        assert not re.search(r"\\[sSdDwWbBpPAZzuU]|\(\?|\\[1-9]", pattern), pattern


@functools.cache
def find_patterns_to_the_end(name):
    """Return each pattern of a file that ends with `$`, texts that match, and a validator of the limits."""
    found = {}
    for node in nodes(json.loads(FILES[name])):
        if str(node.get("pattern", "")).endswith("$"):
            checked = {
                keyword: node[keyword] for keyword in ("pattern", "not", "maxLength") if keyword in node
            }
            found[json.dumps(checked, sort_keys=True)] = checked
    return [
        (checked["pattern"], st.from_regex(checked["pattern"]), Draft202012Validator(checked))
        for checked in found.values()
    ]


@settings(max_examples=examples(10))
@given(st.data())
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
def test_no_pattern_ends_before_a_line_feed(name, data):
    """No text passes with a final line feed only because `$` in Python and PCRE also matches before it."""
    for pattern, texts, validator in find_patterns_to_the_end(name):
        text = data.draw(texts).removesuffix("\n") + "\n"
        if validator.is_valid(text):
            assert re.search(pattern.removesuffix("$") + r"\Z", text)


DEFINITIONS = json.loads(FILES["request.schema.json"])["$defs"]


@pytest.mark.parametrize("name", [name for name, one in DEFINITIONS.items() if "properties" in one])
def test_every_member_of_a_request_is_explained(name):
    """Each member has a description, and an example of its own unless it is another object; examples are valid."""
    schema = json.loads(FILES["request.schema.json"])
    for member, value in DEFINITIONS[name]["properties"].items():
        assert value.get("description", "").endswith((".", "]")), (name, member)
        assert "examples" in value or "$ref" in json.dumps(value), (name, member)
        for example in value.get("examples", ()):
            Draft202012Validator({**value, "$defs": schema["$defs"]}).validate(example)


def test_the_texts_name_no_member_that_is_not_there():
    """Each text of the table of members belongs to a member of the schema."""
    for name, members in MEMBERS.items():
        assert set(members) <= set(DEFINITIONS[name]["properties"]), name


def test_the_reference_page_has_every_member():
    """The page has a row for each member of each object."""
    page = FILES["reference.md"]
    for name in MEMBERS.keys() - {"CloudEvent"}:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == set(
            DEFINITIONS[name]["properties"]
        )
