"""A user's code as a type checker sees it: requests from the builder, and handlers for the runtime."""

import sys
from pathlib import Path

import pytest

from support.once import find_shared_folder, lock_unfinished
from support.processes import run_program

ROOT = Path(__file__).parents[2]
GOOD = """\
from hpoq.producer import Parameter, Queue, Request, SentRequest, build_request, choice, loguniform, option, uniform

space: dict[str, Parameter] = {
    "lr": loguniform(1e-4, 0.1),
    "batch": choice(16, 32),
    "optimizer": choice(option("sgd", {"momentum": uniform(0, 1)}), option("adam")),
}
request: Request = build_request(
    name="mnist",
    platform="DLC",
    commands=["dlc submit pytorch --command='train ${lr} ${batch} ${optimizer} ${momentum}'"],
    metric={"val_loss=([0-9.]+)": 1},
    goal="minimize",
    parameters=space,
    trials=20,
    parallel=5,
    sections={"dlc_config": {"region": "cn-shanghai"}},
)
rules: list[str] = [warning.rule for warning in request.check()]
first: list[str] = request.render(request.sample(3)[0])


def send(queue: Queue) -> SentRequest:
    return queue.send(request, idempotency_key="mnist-1")
"""
BAD = """\
from hpoq.producer import build_request, choice

build_request(name="x", platform="DLC", commands="run", metric="m", goal="smaller", parameters={"lr": 1}, trials=20)
choice(None)
"""
HANDLERS = """\
from typing import Any

from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext

from fcruntime import Fc2Context, Fc3Context, invoke, json_handler, lambda_handler, serve


@lambda_handler
def plain(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return {}


@lambda_handler(policy="requeue", requeue=lambda message: bool(message.body))
@event_source(data_class=SQSEvent)
def decorated(event: SQSEvent, context: LambdaContext) -> None: ...


@json_handler
def json(event: dict[str, Any], context: LambdaContext) -> None: ...


def unwrapped(event: dict[str, Any], context: LambdaContext) -> None: ...


wrapped = lambda_handler(unwrapped, policy="requeue", requeue=lambda message: bool(message.body))


def own(event: bytes, context: Fc2Context | Fc3Context) -> str:
    return context.function.name


def initialize(context: Fc3Context) -> None: ...


def deploy() -> None:
    serve(own, initialize=initialize, pre_stop=initialize)


invoke(own, b"")
invoke(wrapped, b"")
invoke(lambda event, context: context.function.name, b"")
reveal_type(plain)
"""
FILES = {"good.py": GOOD, "bad.py": BAD, "handlers.py": HANDLERS}


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """The lines that mypy prints about each file in strict mode. Most of a run is spent on what all of them need."""
    folder = find_shared_folder(tmp_path_factory) / "types"
    with lock_unfinished(folder) as is_unfinished:
        if is_unfinished:
            for name, text in FILES.items():
                (folder / name).write_text(text)
            options = [
                "--strict",
                "--follow-imports=silent",
                "--cache-dir",
                str(ROOT / ".mypy_cache" / "users"),
            ]
            done = run_program([sys.executable, "-m", "mypy", *options, *FILES], cwd=folder, timeout=300)
            (folder / "output").write_text(done.stdout)
    lines = (folder / "output").read_text().splitlines()
    assert lines[-1] == "Found 3 errors in 1 file (checked 3 source files)", lines
    return {name: [line for line in lines if line.startswith(f"{name}:")] for name in FILES}


def test_a_type_checker_knows_the_builder(findings):
    """mypy accepts a user's file in strict mode, and finds each wrong argument."""
    assert findings["good.py"] == []
    for wrong in ("Literal['minimize', 'maximize']", '"int"; expected', '"None"; expected'):
        assert any(": error:" in line and wrong in line for line in findings["bad.py"]), findings


def test_handlers_keep_their_annotations(findings):
    """A type checker takes handlers as they are annotated for AWS or with FC's contexts."""
    (note,) = findings["handlers.py"]
    assert "def (bytes, object) -> object" in note
