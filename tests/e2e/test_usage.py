"""What all commands of `hpoq` do alike where they are used wrongly, or where they cannot write."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MINIMAL = json.loads((ROOT / "events" / "requests" / "minimal.json").read_text())


@pytest.mark.parametrize("command", ["check", "replay", "send --endpoint http://127.0.0.1:1"])
def test_a_folder_of_nothing_is_wrong_usage(hpoq, tmp_path, command):
    """A folder that holds no requests or events is told, not taken for success."""
    (tmp_path / "README.md").write_text("no request")
    done = hpoq(*command.split(), tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} holds no files to read" in done.stderr.decode()


def test_a_folder_that_cannot_be_made(hpoq, tmp_path):
    """Where nothing can be written, a sentence says so."""
    (tmp_path / "file").write_text("")
    done = hpoq("contract", "--output", tmp_path / "file" / "below")
    assert done.returncode == 1
    assert done.stderr.decode() == f"Error: [Errno 20] Not a directory: '{tmp_path}/file/below'\n"


@pytest.mark.parametrize("example", ["{bad", "[]"])
def test_an_example_that_is_no_request(hpoq, tmp_path, example):
    (tmp_path / "bad.json").write_text(example)
    done = hpoq("contract", "--examples", tmp_path, "--output", tmp_path / "contract")
    assert done.returncode == 2
    assert f"--examples: {tmp_path}/bad.json" in done.stderr.decode()
    assert not (tmp_path / "contract").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "words", [("check",), ("check", "--github"), ("check", "--json"), ("replay", "--json")]
)
def test_text_that_the_locale_lacks(hpoq, tmp_path, encoding, words):
    """A request in any script can be shown everywhere; machine output is valid JSON everywhere."""
    path = tmp_path / "\u8bad\u7ec3.json"
    path.write_text(json.dumps({**MINIMAL, "\u8bad\u7ec3": 1}, ensure_ascii=False), "utf-8")
    done = hpoq(*words, path, PYTHONIOENCODING=encoding)
    assert done.returncode == (0 if words[0] == "replay" else 1)
    assert done.stderr == b""
    if "--json" in words:
        assert "\u8bad\u7ec3" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    else:
        assert b"unknown member" in done.stdout
