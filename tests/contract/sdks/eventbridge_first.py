"""Runs beside alibabacloud-eventbridge 1.3.8: puts events and prints what the SDK makes of the answers."""

import json
import sys

from alibabacloud_eventbridge import models
from alibabacloud_eventbridge.client import Client


def event(number, **members):
    made = models.CloudEvent(
        id=f"id-{number}",
        source="here",
        type="made",
        datacontenttype="application/json",
        subject="about",
        time="2026-01-02T03:04:05.678Z",
        data=json.dumps({"number": number}).encode(),
        extensions={"aliyuneventbusname": "orders", "own": "kept"},
    )
    made.specversion = "1.0"
    for name, value in members.items():
        setattr(made, name, value)
    return made


def outcome(call):
    try:
        return call().to_map()
    except Exception as exc:  # noqa: BLE001
        return {"error": type(exc).__name__, "code": getattr(exc, "code", None), "message": str(exc)}


def main():
    told = json.loads(sys.argv[1])

    def client(**changed):
        options = {
            "access_key_id": told["id"],
            "access_key_secret": told["secret"],
            "endpoint": told["endpoint"],
        }
        return Client(models.Config(**{**options, **changed}))

    elsewhere = event(9, extensions={"aliyuneventbusname": "nowhere"})
    results = {
        "put": outcome(lambda: client().put_events([event(1), event(2)])),
        "binary": outcome(
            lambda: client().put_events([event(3, datacontenttype="application/json; charset=utf-8")])
        ),
        "partly": outcome(lambda: client().put_events([event(4), event(5, subject="x" * 66000)])),
        "nowhere": outcome(lambda: client().put_events([elsewhere])),
        "mixed": outcome(lambda: client().put_events([event(6), elsewhere])),
        "many": outcome(lambda: client().put_events([event(number) for number in range(17)])),
        "secret": outcome(lambda: client(access_key_secret="wrong").put_events([event(7)])),
        "key": outcome(lambda: client(access_key_id="nobody").put_events([event(7)])),
        "token": outcome(lambda: client(security_token=told["token"]).put_events([event(8)])),
        "wrong token": outcome(lambda: client(security_token="wrong").put_events([event(8)])),
    }
    sys.stdout.write(json.dumps(results) + "\n")


main()
