"""What infra/serverless says, read as its tools read it, and the rules that its numbers keep."""

import copy
import functools
import json
import re
import runpy
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from hpoq.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/serverless"
LOG_TEMPLATE = "sls/template.json"
REGION, ACCOUNT, INSTANCE = "cn-hangzhou", "1234567890123456", "hpoq-test"
_VALUES = {
    "vars.region": REGION,
    "vars.instance": INSTANCE,
    "vars.action_policy": "sls.builtin",
    "vars.suffix": "",
    "vars.contact_group": "operators",
    "env('DEPLOYMENT_SUFFIX', '')": "",
    "env('DEPLOYMENT_NAME', '-')": "-",
    "env('CMS_CONTACT_GROUP', '云账号报警联系人')": "operators",
    "env('ALIBABA_CLOUD_REGION', 'cn-hangzhou')": REGION,
    "env('TABLESTORE_INSTANCE')": INSTANCE,
    "env('SLS_ACTION_POLICY', 'sls.builtin')": "sls.builtin",
    "config('AccountID')": ACCOUNT,
}

# An event stream's retries, in seconds: https://www.alibabacloud.com/help/en/eventbridge/user-guide/retry-and-dead-letter
RETRIES = {"BACKOFF_RETRY": [20] * 3, "EXPONENTIAL_DECAY_RETRY": [2**n for n in range(9)] + [512] * 167}
# What a call by a trigger may take, and its body, whatever the function's own limits.
TRIGGER_SECONDS, TRIGGER_BYTES = 300, 32 * 2**20
MESSAGE_BYTES = 64 * 2**10
QUEUES = ("Requests", "Watch")
DAY = 86_400


def rendered(text, suffix=""):
    """Return the text of s.yaml with its variables filled in, as the CLI does; raise KeyError for an unknown one."""
    values = {**_VALUES, "vars.suffix": suffix, "vars.name": suffix[1:] or "-"}
    return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text)


def evaluated(value, **parameters):
    """Return a part of a ROS template with its references and substitutions evaluated."""
    if isinstance(value, list):
        return [evaluated(one, **parameters) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return parameters[value["Ref"]]
    if set(value) == {"Fn::Sub"}:
        return re.sub(r"\$\{([\w:]+)\}", lambda found: parameters[found[1]], value["Fn::Sub"])
    return {name: evaluated(one, **parameters) for name, one in value.items()}


@functools.cache
def load_yaml(text):
    """Return the content of `text`, which is cached and must not be changed: reading s.yaml takes long."""
    return yaml.safe_load(text)


def template(name, suffix="", **parameters):
    """Return the resources of a ROS template as this deployment creates them."""
    parameters |= {"Instance": INSTANCE, "Suffix": suffix, "ContactGroup": "operators"}
    parameters |= {"ALIYUN::TenantId": ACCOUNT, "ALIYUN::Region": REGION}
    return evaluated(read_template(name)["Resources"], **parameters)


def read_template(name):
    """Return a ROS template, which must not be changed; that of the log is written by `template.py`."""
    if name == LOG_TEMPLATE:
        return runpy.run_path(str(FOLDER / "sls/template.py"))["template"]()
    return load_yaml((FOLDER / name).read_text())


@dataclass
class Deployment:
    """What s.yaml and resources.yaml say.

    `function` and `log` have the props of those resources; `resources` the properties of each of resources.yaml.
    """

    function: dict
    resources: dict
    log: dict

    @property
    def settings(self):
        return Settings.from_environment(self.function["environmentVariables"])

    @property
    def trigger(self):
        """The trigger of the requests."""
        trigger, _ = self.function["triggers"]
        return trigger

    @property
    def run(self):
        return self.trigger["triggerConfig"]["runOptions"]

    @property
    def retries(self):
        return RETRIES[self.run["retryStrategy"]["PushRetryStrategy"]]

    @property
    def call_seconds(self):
        """The longest that one request to a service is on its way."""
        return self.settings.connect_timeout_seconds + self.settings.read_timeout_seconds

    def retry_after(self, seconds):
        """When the first retry is made that comes `seconds` or more after a failure; None if none does."""
        passed = 0
        for pause in self.retries:
            passed += pause
            if passed >= seconds:
                return passed
        return None


def deployment(suffix=""):
    """Return a new copy of what the files say now."""
    s = copy.deepcopy(load_yaml(rendered((FOLDER / "s.yaml").read_text(), suffix)))
    resources = {name: one["Properties"] for name, one in template("resources.yaml", suffix).items()}
    props = {name: one["props"] for name, one in s["resources"].items()}
    return Deployment(props["function"], resources, props["log"])


def lay_out(folder):
    """Copy infra/serverless into `folder`, beside a fresh package and the sources that it was built from."""
    copy = folder / "infra/serverless"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("template.json"))  # an earlier deployment's
    (folder / "functions").symlink_to(ROOT / "functions")
    function = deployment().function
    code = folder / "dist" / Path(function["code"]).name
    code.parent.mkdir()
    with zipfile.ZipFile(code, "w") as archive:
        for name in ("hpoq/handler.py", "fcruntime/context.py"):
            archive.write(ROOT / "functions" / name, name)
        version = function["runtime"].removeprefix("python").replace(".", "")
        archive.writestr(f"hpoq/__pycache__/handler.cpython-{version}.pyc", b"")
    return copy


def policy(name):
    return json.loads((FOLDER / "policies" / name).read_text())


def _trigger_limit(d):
    return d.function["timeout"] < TRIGGER_SECONDS


def _lease_in_timeout(d):
    """An invocation can wait until a doubt is cleared, create after all, and save."""
    s = d.settings
    wait = s.lease_seconds + s.consistency_seconds + d.call_seconds + s.deadline_reserve_seconds
    return d.function["timeout"] > wait


def _lease_covers_create(d):
    s = d.settings
    return s.lease_seconds > d.call_seconds + s.clock_skew_seconds + s.consistency_seconds


def _tries_in_timeout(d):
    """A create and a publication that each take all their tries."""
    tries = 2 * d.settings.call_attempts * d.call_seconds
    return d.function["timeout"] > tries + d.settings.deadline_reserve_seconds


def _visibility(d):
    """A call that dies at its time-out, the retry after its lease, and that call's time."""
    after = d.retry_after(d.settings.lease_seconds)
    window = d.run["batchWindow"]["TimeBasedWindow"]
    timeout = d.function["timeout"]
    return after is not None and d.resources["Requests"]["VisibilityTimeout"] > window + 2 * timeout + after


def _retries_outlast_lease(d):
    return d.retry_after(d.settings.lease_seconds + d.settings.consistency_seconds) is not None


def _one_wave(d):
    return d.run["batchWindow"]["CountBasedWindow"] <= d.settings.concurrency


def _batch_fits(d):
    return d.run["batchWindow"]["CountBasedWindow"] * MESSAGE_BYTES * 2 <= TRIGGER_BYTES


def _outage(d):
    """Attempts whose end is unknown, each later than the one before, last longer than an hour without the service."""
    delays = [d.settings.requeue_delay_seconds * 2**n for n in range(d.settings.max_attempts - 1)]
    return sum(min(delay, 3600) for delay in delays) >= 3600


def _age_before_retention(d):
    """A message is given up, with an event, before its queue deletes it."""
    return d.settings.max_age_hours * 3600 < d.resources["Requests"]["MessageRetentionPeriod"]


def _failed_before_dead(d):
    """The function gives up, with an event, before the stream does, if messages cannot be sent back."""
    return d.settings.max_attempts < len(d.retries)


def _stream_before_queue(d):
    """The queue's own dead-letter policy counts receives; it must not act while the stream still tries."""
    queue = d.resources["Requests"]
    return queue["DlqPolicy"]["MaxReceiveCount"] * queue["VisibilityTimeout"] >= sum(d.retries)


def _remembered(d):
    """A message that waits as long as it can in both queues still finds its record."""
    waits = sum(d.resources[name]["MessageRetentionPeriod"] for name in ("Requests", "DeadLetters"))
    return d.settings.retention_days * DAY > waits + sum(d.retries)


def _ttl(d):
    return d.resources["Records"]["TimeToLive"] >= d.settings.retention_days * DAY + DAY


def _dead_letters_kept(d):
    return d.resources["DeadLetters"]["MessageRetentionPeriod"] >= 7 * DAY


def _nothing_dropped(d):
    return d.run["errorsTolerance"] == "ALL" and "Arn" in d.run.get("deadLetterQueue", {})


def _synchronous(d):
    config = d.trigger["triggerConfig"]
    return config["asyncInvocationType"] is False and d.run["mode"] == "event-streaming"


def _streams_are_alike(d):
    """The trigger and the queue of watch messages are those of requests, but for their names."""
    names = [(d.resources[name]["QueueName"], d.function["triggers"][n]) for n, name in enumerate(QUEUES)]
    triggers = [{**trigger, "triggerName": ""} for _, trigger in names]
    texts = [
        json.dumps(one).replace(f'"QueueName": "{name}"', "")
        for (name, _), one in zip(names, triggers, strict=True)
    ]
    queues = [{**d.resources[name], "QueueName": ""} for name in QUEUES]
    return texts[0] == texts[1] and queues[0] == queues[1]


def _watch_outlasts_its_delays(d):
    """A watch message waits in its queue and is then tried for as long as one of a request."""
    retention = d.resources["Watch"]["MessageRetentionPeriod"]
    return d.settings.watch_max_seconds + sum(d.retries) < retention


def _one_request_at_a_time(d):
    return d.function["instanceConcurrency"] == 1 or d.function["runtime"].startswith("custom")


def _hooks(d):
    hooks = d.function["instanceLifecycleConfig"]
    return hooks["initializer"]["timeout"] <= 300 and hooks["preStop"]["timeout"] <= 90


def _size(d):
    memory, cpu = d.function["memorySize"], d.function["cpu"]
    return memory % 64 == 0 and round(cpu * 100) % 5 == 0 and 1 <= memory / 1024 / cpu <= 4


def _env(name, value):
    def spoil(d):
        d.function["environmentVariables"][name] = value

    return spoil


def _prop(place, value):
    """Change the value at `place`, such as `function.timeout`."""
    *path, last = place.split(".")

    def spoil(d):
        target = d
        for name in path:
            target = target[name] if isinstance(target, dict) else getattr(target, name)
        target[last] = value

    return spoil


RULES = {
    "a call ends before the trigger's limit": (_trigger_limit, _prop("function.timeout", 300)),
    "the time-out covers a lease waited out": (_lease_in_timeout, _env("HPOQ_LEASE_SECONDS", "200")),
    "the lease covers a create": (_lease_covers_create, None),  # the settings refuse to be otherwise
    "the time-out covers all tries": (_tries_in_timeout, _env("HPOQ_CALL_ATTEMPTS", "5")),
    "the visibility covers a crash and its retry": (
        _visibility,
        _prop("resources.Requests.VisibilityTimeout", 300),
    ),
    "the retries outlast the lease": (
        _retries_outlast_lease,
        _prop("run.retryStrategy.PushRetryStrategy", "BACKOFF_RETRY"),
    ),
    "a batch is one wave": (_one_wave, _prop("run.batchWindow.CountBasedWindow", 17)),
    "a batch fits the call": (_batch_fits, _prop("run.batchWindow.CountBasedWindow", 500)),
    "the attempts last longer than an hour": (_outage, _env("HPOQ_MAX_ATTEMPTS", "5")),
    "the function gives up before the queue deletes": (
        _age_before_retention,
        _env("HPOQ_MAX_AGE_HOURS", "200"),
    ),
    "the function gives up before the stream": (_failed_before_dead, _env("HPOQ_MAX_ATTEMPTS", "500")),
    "the stream gives up before the queue": (
        _stream_before_queue,
        _prop("resources.Requests.DlqPolicy.MaxReceiveCount", 16),
    ),
    "a late message finds its record": (_remembered, _env("HPOQ_RETENTION_DAYS", "14")),
    "records outlive their retention": (_ttl, _prop("resources.Records.TimeToLive", 30 * DAY)),
    "dead letters are kept": (_dead_letters_kept, _prop("resources.DeadLetters.MessageRetentionPeriod", DAY)),
    "nothing is dropped or blocks": (_nothing_dropped, _prop("run.errorsTolerance", "NONE")),
    "the stream sees failures": (_synchronous, _prop("trigger.triggerConfig.asyncInvocationType", True)),
    "both streams are alike": (_streams_are_alike, _prop("resources.Watch.VisibilityTimeout", 300)),
    "a watch message outlasts its delay": (
        _watch_outlasts_its_delays,
        _prop("resources.Watch.MessageRetentionPeriod", 3600),
    ),
    "an instance takes what its runtime can": (
        _one_request_at_a_time,
        _prop("function.instanceConcurrency", 10),
    ),
    "hooks keep their limits": (_hooks, _prop("function.instanceLifecycleConfig.preStop.timeout", 120)),
    "memory and CPU are ones that exist": (_size, _prop("function.memorySize", 2048)),
}
"""What the numbers keep, and a change of the files that breaks it."""
