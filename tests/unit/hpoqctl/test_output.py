import io
import os

import click
import pytest
from click.testing import CliRunner

from hpoqctl.app import app
from hpoqctl.files import read_requests
from hpoqctl.output import console

INIT = [
    "--platform",
    "LOCAL",
    "--command",
    "echo ${x}",
    "--param",
    "x=uniform:0:1",
    "--metric",
    "x=([0-9.]+)",
]


@pytest.mark.parametrize("columns", ["0", "00", "1", "x", ""])
def test_a_terminal_of_any_width_shows_every_line(columns, monkeypatch, capsys):
    """Some terminals state that they have no columns at all."""
    monkeypatch.setenv("COLUMNS", columns)
    console().print("a line of a few words")
    assert capsys.readouterr().out == "a line of a few words\n"


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    """In words, without the number and the representation of the error."""
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["init", str(tmp_path / "file" / "request.yaml"), *INIT])
    assert (done.exit_code, done.output) == (
        1,
        f"Error: {tmp_path / 'file'} cannot be used: it is not a folder\n",
    )


def test_a_lock_that_is_not_text_is_a_wrong_option(tmp_path):
    lock = tmp_path / "hpoq.lock"
    lock.write_bytes(b"\xff")
    done = CliRunner().invoke(app, ["package", "--lock", str(lock)])
    assert done.exit_code == 2
    assert f"{lock} is not a lock: it is not text" in done.output


@pytest.mark.parametrize(
    "words",
    [
        ["send", "f", "--queue", ""],
        ["send", "f", "--queue", "a b"],
        ["send", "f", "--endpoint", ""],
        ["dead", "list", "--from", ""],
        ["dead", "list", "--match", ""],
        ["redrive", "--queue", "-a"],
        ["init", "r.yaml", "--key", ""],
        ["init", "r.yaml", "--command", "echo", "--command", ""],
        ["package", "--output", ""],
        ["contract", "--output", ""],
        ["local", "--state", ""],
        ["replay", ".", "--state", ""],
        ["dead", "drop", "--all", "--to", ""],
    ],
)
def test_an_empty_option_does_not_mean_the_default(words):
    """A variable that is not set would otherwise send to another queue than was meant."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[-2]}': " in done.output
    expected = (
        "an empty text" if words[-1] == "" and "queue" not in done.output else "the name of a queue must be"
    )
    assert expected in done.output


def test_a_limit_of_a_wait_needs_the_wait():
    """Who gives a limit expects an answer, which send would not wait for."""
    done = CliRunner().invoke(app, ["send", "f", "--timeout", "5"])
    assert done.exit_code == 2
    assert "Give --wait too." in done.output


def test_input_that_cannot_be_read_is_not_called_output(monkeypatch, tmp_path):
    """Such an error has no name of a file, like those of writing to standard output."""
    with (tmp_path / "f").open("wb") as file, os.fdopen(os.dup(file.fileno()), "rb") as unreadable:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(unreadable))
        with pytest.raises(click.BadParameter, match="standard input cannot be read: Bad file descriptor"):
            next(read_requests(["-"]))
