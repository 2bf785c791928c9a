"""B1: the cold start of the code package against its floor and against the usual way. B6: what it weighs.

The floor is the import of the function's three dependencies as pip installs them. A cold start does without one of
them: pydantic comes with the first request, so what counts is also their sum.
"""

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
                  HPOQ_ACCOUNT_ID="1", ALIBABA_CLOUD_ACCESS_KEY_ID="id", ALIBABA_CLOUD_ACCESS_KEY_SECRET="secret")
import hpoq.handler
from fcruntime import Fc3Context
hpoq.handler.initialize(Fc3Context("r"))
"""
# Up to the end of the first message, with the network in memory.
_FIRST = (
    _OURS
    + """
import base64, hashlib, io, requests, urllib3
class Services(requests.adapters.BaseAdapter):
    def send(self, request, **_):
        row = b"\\x0a\\x04\\x0a\\x02\\x08\\x00"
        body = {"/api": b'{"ExperimentId":"s"}', "/top": b"<Message><MessageId>1</MessageId></Message>"}
        body = body.get(request.path_url[:4], row)
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url
        answer.headers["x-ots-contentmd5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        answer.raw = urllib3.HTTPResponse(io.BytesIO(body), status=200, preload_content=False)
        return answer
    def close(self): pass
hpoq.handler._instance._session.mount("https://", Services())
event = json.dumps({"id": "1", "source": "s", "specversion": "1.0", "type": "t",
                    "data": {"messageId": "1", "requestId": "1", "messageBody": sys.argv[2]}})
report = hpoq.handler.handler(event.encode(), Fc3Context("r"))
assert report["summary"]["created"] == 1, report
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
    alone = peers.packages("floor", "requests", "pydantic", "structlog")
    usual = peers.packages("usual", *USUAL)
    seen: dict[str, float] = {}

    def side(name: str, folder: Path, work: str) -> float:
        reported = child(peers.python, _TIMED.format(work=work), str(folder), REQUEST)
        seen[name] = reported["modules"]
        return reported["wall"]

    ours, first, floor, models, theirs = in_turns(
        rounds,
        lambda: side("ours", code, _OURS),
        lambda: side("first", code, _FIRST),
        lambda: side("floor", alone, _FLOOR),
        lambda: side("models", alone, _MODELS),
        lambda: side("usual", usual, _USUAL),
    )
    yield ratio("B1", "cold start : requests, pydantic, structlog", ours, floor, target=1.1)
    yield ratio("B1", "cold start and first message : the same three", first, floor)
    yield ratio("B1", "cold start and first message : the three and one model", first, models)
    yield ratio("B1", "cold start : vendor's SDKs and Powertools", ours, theirs, target=0.30)
    yield ratio("B1", "cold start and first message : the usual way's cold start", first, theirs)
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
