"""The local cloud's README agrees with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import mns.account

import alilocal
from alilocal.core.faults import Kind
from alilocal.services import Behaviour

README = (Path(__file__).parents[3] / "infra" / "alilocal" / "README.md").read_text()


def table_after(heading):
    """Return the cells of the first table below `heading`."""
    rows = re.findall(r"(?m)^\|(.+)\|$", README.partition(f"## {heading}")[2].partition("\n## ")[0])
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def test_every_switch_is_explained_with_its_default():
    """The table lists all switches with their defaults."""
    shown = {row[0].strip("`"): row[1].strip("`").replace('"', "'") for row in table_after("Choose")}
    assert shown == {switch.name: repr(switch.default) for switch in fields(Behaviour)}


def test_every_kind_of_fault_is_explained():
    """The table lists all kinds of faults."""
    shown = [name for row in table_after("Inject") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(shown) == sorted(get_args(Kind))


def test_what_it_shows_is_there():
    """Every member of the cloud that the README names exists."""
    with alilocal.LocalCloud() as cloud:
        named = set(re.findall(r"`?cloud\.(\w+)", README))
        assert named
        assert [name for name in named if not hasattr(cloud, name)] == []


def test_public_names():
    """All exported names exist and are sorted."""
    assert alilocal.__all__ == sorted(alilocal.__all__)
    assert all(hasattr(alilocal, name) for name in alilocal.__all__)


def run_my_code(session, endpoint, key, secret):
    """The code that the first example tests: it takes the message and creates an experiment."""
    from localwire import CONFIGURATION, Wire, read

    wire = Wire(alilocal.LocalCloud(), session, endpoint)
    wire.key = (key, secret)
    handle = read(wire.smq("GET", "/queues/orders/messages"))["ReceiptHandle"]
    wire.smq("DELETE", f"/queues/orders/messages?ReceiptHandle={handle}")
    assert wire.create(Name="demo", HpoExperimentConfiguration=CONFIGURATION).ok


def test_its_examples_run(tmp_path, monkeypatch):
    """All blocks of Python run, in their order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "function").mkdir()
    (tmp_path / "function/index.py").write_text("def handler(event, context):\n    return 'done'\n")
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", README)
    assert len(blocks) >= 6
    with alilocal.LocalCloud() as cloud:
        for name in ("orders", "dead"):
            cloud.queues.create(name)
        cloud.queues["orders"].send("{}")
        known = {"alilocal": alilocal, "cloud": cloud, "mns": mns, "run_my_code": run_my_code}
        for block in blocks:
            local = dict(known)
            exec(compile(block, "README.md", "exec"), local)
            if "test_orders" in local:
                local["test_orders"]()
            known |= {name: local[name] for name in ("function",) if name in local}
        assert known["function"].invocations[0].result.body == b"done"
        assert cloud.faults.all()
        assert cloud.streams[0].deliveries[0].succeeded
        assert cloud.credentials.get("key").policies
