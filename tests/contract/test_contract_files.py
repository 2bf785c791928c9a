"""events/contract is what `hpoq contract` writes."""

import json
import re

import pytest
from click.testing import CliRunner
from requestschema import CONTRACT, REQUESTS, ROOT, nodes

from hpoq.cli.contract import command, contract_files

FILES = contract_files({name: json.loads(path.read_text("utf-8")) for name, path in REQUESTS.items()})


def run(*arguments):
    """`hpoq contract` with the examples of this repository: its exit code, and its rows in JSON."""
    done = CliRunner().invoke(
        command, ["--examples", str(REQUESTS["minimal"].parent), "--json", *map(str, arguments)]
    )
    return done.exit_code, {row["path"]: row["state"] for row in json.loads(done.output)["files"]}


def test_the_files_are_current():
    """Writing the contract again changes no byte of it, and leaves no file over."""
    assert {path.name for path in CONTRACT.iterdir()} == {*FILES, "README.md"}
    for name, text in FILES.items():
        assert (CONTRACT / name).read_bytes() == text.encode(), f"{name} is not current: run `hpoq contract`"


def test_written_then_current(tmp_path):
    """What was written is current; a folder that is not there is made."""
    folder = tmp_path / "new" / "contract"
    assert run("--output", folder) == (0, {str(folder / name): "written" for name in FILES})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: text.encode() for name, text in FILES.items()
    }
    assert run("--output", folder, "--check") == (0, {str(folder / name): "current" for name in FILES})


def test_check_finds_what_is_not_current(tmp_path):
    """--check tells which file is missing or differs, exits 1, and writes nothing."""
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
    """Where there are no requests to show, it is a wrong usage, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 2
    assert "events/requests" in done.output
    assert not list(tmp_path.iterdir())


def test_for_people(monkeypatch):
    """Each file has a line that tells its state."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(command, ["--check"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [f"events/contract/{name}: current" for name in FILES]


def credentials(value):
    """Every member that is written only, by name."""
    for node in nodes(value):
        for name, schema in (node.get("properties") or {}).items():
            if isinstance(schema, dict) and schema.get("writeOnly"):
                assert schema["format"] == "password"
                yield name


def test_credentials_are_written_only():
    """Each credential is marked as such, so that no tool shows one."""
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
    """No pattern uses what ECMA-262 and Python read differently."""
    patterns = [
        node["pattern"] for node in nodes(json.loads(FILES[name])) if isinstance(node.get("pattern"), str)
    ]
    assert patterns
    for pattern in patterns:
        shared = pattern.replace(r"[\s\S]", "")
        assert not re.search(r"\\[sSdDwWbBpPAZ]|\$|\(\?[a-zP<]", shared), pattern
