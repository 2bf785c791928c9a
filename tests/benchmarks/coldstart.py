"""B1: the cold start of the code package against its floor and against the usual way. B6: what it weighs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from harness import REQUEST, USUAL, Peers, Row, child, in_turns, ratio

_TIMED = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time(), time.perf_counter()
{work}
print(json.dumps({{"cpu": (time.process_time() - began[0]) * 1000,
    "wall": (time.perf_counter() - began[1]) * 1000, "modules": len(sys.modules)}}))
"""
_FLOOR = "import requests, pydantic, structlog"
# Importing pydantic loads little of it; a first model, however small, loads the rest.
_MODELS = (
    "import requests, structlog\nfrom pydantic import BaseModel\nclass Model(BaseModel):\n    field: int"
)
_OURS = """
import os
os.environ.update(HPOQ_STORE="tablestore://i.cn-hangzhou.ots.aliyuncs.com/hpoq", HPOQ_REGION="cn-hangzhou",
                  HPOQ_ACCOUNT_ID="1")
import hpoq.handler
from fcruntime import Fc3Context
hpoq.handler.initialize(Fc3Context("r"))
"""
# What is made with the first message and not before it.
_FIRST = (
    _OURS
    + """
from hpoq.contract.request import parse_request
parse_request(sys.argv[2].encode())
"""
)
_USUAL = """
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_tea_openapi import models
from mns.account import Account
from tablestore import OTSClient
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
keys = dict(access_key_id="id", access_key_secret="secret")
Client(models.Config(endpoint="paiautoml.cn-hangzhou.aliyuncs.com", **keys))
Account("https://1.mns.cn-hangzhou.aliyuncs.com", "id", "secret").get_topic("hpo-results")
OTSClient("https://i.cn-hangzhou.ots.aliyuncs.com", "id", "secret", "i")
Logger(service="hpoq"), BatchProcessor(event_type=EventType.SQS)
"""


def measure(peers: Peers, rounds: int) -> Iterator[Row]:
    """Import plus `initialize`, each in a fresh process; the peers are given bytecode too."""
    code = peers.deployed()
    usual = peers.packages("usual", *USUAL)
    seen: dict[str, float] = {}

    def side(name: str, folder: Path, work: str) -> float:
        told = child(peers.python, _TIMED.format(work=work), str(folder), REQUEST)
        seen[name] = told["modules"]
        return told["wall"]

    ours, first, floor, models, theirs = in_turns(
        rounds,
        lambda: side("ours", code, _OURS),
        lambda: side("first", code, _FIRST),
        lambda: side("floor", code, _FLOOR),
        lambda: side("models", code, _MODELS),
        lambda: side("usual", usual, _USUAL),
    )
    yield ratio("B1", "cold start : requests, pydantic, structlog", ours, floor, target=1.35)
    yield ratio("B1", "cold start and a first request read : the same three", first, floor)
    yield ratio("B1", "cold start : the same with one model of pydantic's, of one field", ours, models)
    yield ratio("B1", "cold start : vendor's SDKs and Powertools", ours, theirs, target=0.40)
    yield ratio("B1", "the three and one model : vendor's SDKs and Powertools", models, theirs)
    yield from _weight(peers, seen, usual)


def _weight(peers: Peers, modules: dict[str, float], usual: Path) -> Iterator[Row]:
    plain = peers.folder / "usual-plain"
    shutil.rmtree(plain, ignore_errors=True)
    shutil.copytree(usual, plain, ignore=shutil.ignore_patterns("__pycache__", "bin", ".made"))
    size = Path(shutil.make_archive(str(plain), "zip", plain)).stat().st_size
    ours = peers.zip_size
    yield Row(
        "B6", "zip : zip of the usual way", ours / size, note=f"{ours / 1e6:.2f} MB : {size / 1e6:.2f} MB"
    )
    note = f"{modules['ours']:.0f} : {modules['usual']:.0f}"
    yield Row("B6", "modules loaded : by the usual way", modules["ours"] / modules["usual"], note=note)
