"""The builder of requests for Python, as a type checker sees it. That takes seconds, whichever Python runs it."""

import sys
from pathlib import Path

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


def test_a_type_checker_knows_the_builder(tmp_path):
    """mypy accepts a user's file in strict mode, and finds each wrong argument."""
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    options = ["--strict", "--follow-imports=silent", "--cache-dir", str(ROOT / ".mypy_cache" / "users")]
    done = run_program(
        [sys.executable, "-m", "mypy", *options, "good.py", "bad.py"], cwd=tmp_path, timeout=300
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert all(line.startswith("bad.py:") for line in errors), done.stdout
    for wrong in ("Literal['minimize', 'maximize']", '"int"; expected', '"None"; expected'):
        assert any(wrong in line for line in errors), done.stdout
