"""B3: how long a batch takes where a create takes 200 ms, against the ideal and against Powertools' batch."""

import json
import math
from collections.abc import Iterator

from harness import REQUEST, ROOT, USUAL, Peers, Row, child
from stub import CREATE_SECONDS, server

_CONCURRENCY = 32
_OURS = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from fcruntime import Fc3Context, FunctionInfo
from hpoq.function import Function
from hpoq.observability import logs
from hpoq.testing import MemoryStore, smq_stream_event
url, count, request = sys.argv[2], int(sys.argv[3]), sys.argv[4]
logs.configure("ERROR", sys.stderr)
function = Function({"HPOQ_REGION": "r", "HPOQ_ACCOUNT_ID": "1", "HPOQ_CONCURRENCY": "32",
    "HPOQ_PAIAUTOML_ENDPOINT": url, "HPOQ_SMQ_ENDPOINT": url,
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}, store=MemoryStore())
context = Fc3Context("r", FunctionInfo(timeout=300))
function.handle(smq_stream_event({f"w-{n}": request for n in range(32)}), context)
event = smq_stream_event({f"m-{n}": request for n in range(count)})
began = time.perf_counter()
report = function.handle(event, context)
assert report["summary"]["created"] == count, report["summary"]
print(json.dumps({"seconds": time.perf_counter() - began,
    "memory": int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024}))
"""
_THEIRS = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
from alibabacloud_paiautoml20220828.client import Client
from alibabacloud_paiautoml20220828 import models
from alibabacloud_tea_openapi import models as api
from mns.account import Account
from mns.topic import TopicMessage
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
url, count, request = sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
host = url.partition("//")[2]
client = Client(api.Config(endpoint=host, protocol="http", access_key_id="id", access_key_secret="secret"))
topic = Account(url, "id", "secret").get_topic("hpo-results")
def record_handler(record):
    body = json.loads(record.body)["experiment"]
    made = client.create_hpo_experiment(models.CreateHpoExperimentRequest().from_map(body))
    topic.publish_message(TopicMessage(json.dumps({"id": made.body.experiment_id})))
processor = BatchProcessor(event_type=EventType.SQS)
def event(count):
    return {"Records": [{"messageId": f"m-{n}", "body": json.dumps(request), "eventSource": "aws:sqs"}
        for n in range(count)]}
process_partial_response(event(1), record_handler, processor)
began = time.perf_counter()
report = process_partial_response(event(count), record_handler, processor)
assert report == {"batchItemFailures": []}, report
print(json.dumps({"seconds": time.perf_counter() - began}))
"""


def measure(peers: Peers, rounds: int) -> Iterator[Row]:
    """Measure each side in a new process against the same server, whose creates wait for 200 ms."""
    own = json.dumps([str(ROOT / "functions"), str(peers.deployed())])
    usual = json.dumps([str(peers.packages("usual", *USUAL))])
    with server() as url:
        for count in (1, 10, 100, 1000):
            ideal = math.ceil(count / _CONCURRENCY) * CREATE_SECONDS
            reported = [
                child(peers.python, _OURS, own, url, str(count), REQUEST) for _ in range(max(1, rounds // 5))
            ]
            seconds = min(one["seconds"] for one in reported)
            target = 1.15 if count >= 100 else None
            note = f"{seconds:.2f} s : {ideal:.2f} s"
            yield Row(
                "B3",
                f"{count} messages : ideal at {_CONCURRENCY} at a time",
                seconds / ideal,
                target=target,
                note=note,
            )
            if count <= 100:
                theirs = child(peers.python, _THEIRS, usual, url, str(count), REQUEST)["seconds"]
                note = f"{seconds:.2f} s : {theirs:.2f} s"
                yield Row(
                    "B3", f"{count} messages : Powertools' batch with the SDKs", seconds / theirs, note=note
                )
    memory = max(one["memory"] for one in reported)
    yield Row("B3", "peak memory at 1000 messages, MB", memory, target=120)
