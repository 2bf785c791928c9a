"""The README of fcruntime is true."""

import re
import shlex
from pathlib import Path

import pytest
from fcevents import smq_event

import fcruntime
from fcruntime import __main__ as command
from fcruntime.powertools import lambda_handler

FOLDER = Path(fcruntime.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    """Every block of Python in the README runs, in its order."""
    monkeypatch.chdir(tmp_path)
    known = {}
    context = fcruntime.Fc3Context("request-2")
    for block in re.findall(r"(?ms)^```python\n(.*?)^```$", README):
        exec(compile(block, "README.md", "exec"), known)
    assert known["fc_handler"](smq_event("m-1", "hello"), context) == {"batchItemFailures": []}
    known["config"].register_lambda_context(fcruntime.lambda_context(context))
    assert known["charge"](order={"order_id": 1, "amount": 5}) == {"charged": 5}
    known["layer"]._store.close()
    assert capsys.readouterr().out.splitlines() == [
        'invocation request-1 b\'{"hello": "world"}\'',
        "request-2 m-1 hello",
    ]


def test_the_command_of_the_readme_is_valid(monkeypatch):
    """The start command in the README has valid options."""
    (line,) = re.findall(r"(?m)^python -m fcruntime (.*)$", README)
    monkeypatch.setattr("sys.argv", ["python -m fcruntime", *shlex.split(line)])
    served = {}
    monkeypatch.setattr(command, "serve", lambda handler, **options: served.update(options, handler=handler))
    command.main()
    assert served["handler"] == "hpoq.handler.handler"
    assert (served["initialize"], served["pre_stop"]) == ("hpoq.handler.initialize", "hpoq.handler.pre_stop")


def test_the_readme_describes_every_option():
    """The README has a row for every option of `lambda_handler`."""
    reported = set(re.findall(r"(?m)^\| `(\w+)=", README))
    assert reported == set(lambda_handler.__kwdefaults__) - {"requeue"}


def test_the_links_of_the_readme_are_valid():
    """Every relative link in the README has a target."""
    targets = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (FOLDER / target).exists()] == []


def test_public_names():
    """The exported names are sorted and exist; an unknown one is an AttributeError."""
    assert sorted(fcruntime.__all__) == fcruntime.__all__
    assert all(hasattr(fcruntime, name) for name in fcruntime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        fcruntime.absent  # noqa: B018
