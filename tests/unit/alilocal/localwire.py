"""A client that signs by hand, for both ways into the local cloud, and time sources that a test moves."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import count
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import requests

import alilocal
from alilocal.core import signatures
from alilocal.core.http import Request
from alilocal.smq import signature as mnsv2
from support.waiting import wait_until

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
CONFIGURATION = {
    "platform_config": {"name": "DLC", "cmd": ["python train.py --lr ${lr}"]},
    "metric_config": {
        "metric_type": "stdout",
        "metric_source": ["cmd1"],
        "final_mode": "best",
        "metric_dict": {"loss=([0-9.]+)": -1},
    },
    "dlc_config": {"access_id": "an-id", "access_key": "a-secret", "region": "cn-shanghai"},
    "yml_config": {"max_trial_number": 4},
    "search_space": {"${lr}": {"_type": "uniform", "_value": [0.1, 1]}},
}


@dataclass
class Wire:
    """Sends signed requests to a cloud; `key` and `token` may be changed, `headers` override the signed ones
    (None leaves one out)."""

    cloud: alilocal.LocalCloud
    session: requests.Session
    endpoint: str
    key: tuple[str, str] = ("", "")
    token: str | None = None
    nonces: count[int] = field(default_factory=count)

    def __post_init__(self):
        self.key = (self.cloud.access_key_id, self.cloud.access_key_secret)

    @property
    def host(self):
        return urlsplit(self.endpoint).netloc

    def send(self, method, target, headers, body=b""):
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.headers = method, self.endpoint + target, headers
        prepared.body = body or None
        prepared.headers["Content-Length"] = str(len(body))
        return self.session.send(prepared, timeout=10)

    def pai(self, method, path, action, *, query=None, body=None, data=None, secret=None, **headers):
        """One call of PAI AutoML; underscores in `headers` are hyphens."""
        data = json.dumps(body, ensure_ascii=False).encode() if body is not None else data or b""
        items = (query or {}).items()
        text = "&".join(f"{quote(k, safe='')}={quote(str(v), safe='~')}" for k, v in items)
        target = f"{path}?{text}" if text else path
        signed = {
            "host": self.host,
            "x-acs-action": action,
            "x-acs-version": "2022-08-28",
            "x-acs-date": formatdate_iso(self.cloud.clock.now()),
            "x-acs-signature-nonce": f"nonce-{next(self.nonces)}",
            "x-acs-content-sha256": hashlib.sha256(data).hexdigest(),
            **({"x-acs-security-token": self.token} if self.token else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        signed = {name: value for name, value in signed.items() if value is not None}
        request = Request(method, target, tuple(signed.items()), data)
        names = sorted(signed)
        digest = signatures.sign_v3(secret or self.key[1], request, names, hashlib.sha256(data).hexdigest())
        signed["Authorization"] = (
            f"{signatures.ALGORITHM} Credential={self.key[0]},SignedHeaders={';'.join(names)},Signature={digest}"
        )
        return self.send(method, target, signed, data)

    def create(self, **members):
        return self.pai("POST", "/api/automl/v1/hpo/experiment", "CreateHpoExperiment", body=members)

    def list(self, **query):
        return self.pai("GET", "/api/automl/v1/hpo/experiments", "ListHpoExperiments", query=query)

    def get(self, experiment_id):
        return self.pai("GET", f"/api/automl/v1/hpo/experiment/{experiment_id}", "GetHpoExperiment")

    def put(self, experiment_id, verb):
        action = f"{verb.capitalize()}HpoExperiment"
        return self.pai("PUT", f"/api/automl/v1/hpo/experiment/{experiment_id}/{verb}", action)

    def smq(self, method, target, body=b"", *, secret=None, **headers):
        """One call of SMQ; underscores in `headers` are hyphens."""
        data = body.encode() if isinstance(body, str) else body
        given = {
            "Host": self.host,
            "Date": formatdate(self.cloud.clock.now(), usegmt=True),
            "x-mns-version": "2015-06-06",
            **({"Content-Type": "text/xml"} if data else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        given = {name: value for name, value in given.items() if value is not None}
        digest = mnsv2.signature(secret or self.key[1], Request(method, target, tuple(given.items()), data))
        given["Authorization"] = f"MNS {self.key[0]}:{digest}"
        if self.token:
            given["security-token"] = self.token
        return self.send(method, target, given, data)


def call(cloud, action, *, key=None, method="GET", sign=None, **given):
    """Make one call of a service with the older signature, by default of STS, in the query or in a form."""
    access_key_id, secret = (key or (cloud.access_key_id, cloud.access_key_secret))[:2]
    parameters = {
        "Action": action,
        "Version": "2015-04-01",
        "Format": "JSON",
        "AccessKeyId": access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": str(uuid.uuid4()),
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **given,
    }
    parameters = {name: value for name, value in parameters.items() if value is not None}
    parameters["Signature"] = sign or signatures.sign_rpc(secret, method, parameters)
    with cloud.session() as session:
        if method == "POST":
            return session.post(f"{cloud.endpoint}/", data=parameters)
        return session.get(f"{cloud.endpoint}/", params=parameters)


def wait_for_poll(cloud):
    """Wait until a long poll waits for a change of the cloud."""

    def is_waiting():
        with cloud.changed:
            return bool(cloud.changed._waiters)

    wait_until(is_waiting)


class StandingTime:
    """A time source that stands still until a test sets `moment`. A long poll waits in real time."""

    def __init__(self, moment=1_700_000_000.0):
        self.moment = moment

    def now(self):
        return self.moment


class AdvancedTime(StandingTime):
    """A time source that a long poll advances instead of waiting in real time."""

    def advance(self, seconds):
        self.moment += seconds


def formatdate_iso(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def xml(root, **members):
    """Return a flat document of SMQ's namespace."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    return f'<{root} xmlns="{NAMESPACE}">{inner}</{root}>'


def read(answer):
    """Return the flat members of an XML answer."""
    return {node.tag.rpartition("}")[2]: node.text for node in ElementTree.fromstring(answer.content)}
