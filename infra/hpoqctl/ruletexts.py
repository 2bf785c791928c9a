"""The explanation of each rule of the contract: why it exists, with a wrong and a right example."""

from __future__ import annotations

from typing import Final, NamedTuple


class RuleText(NamedTuple):
    """The explanation of a rule. `wrong` and `right` are fragments of a request."""

    why: str
    wrong: str
    right: str


_SIZE = "SMQ takes 65,536 bytes per message, and hpoq reads up to 1 MiB from other sources. Put large data in OSS."
_ONE_MEANING = "Parsers read such a text differently, so two programs could act on different requests."
_NOT_SENT = "The service has no such member, so the gateway would drop it silently and run something else."
_RANGE = '"${lr}": {"_type": "uniform", "_value": [0.001, 0.1]}'

RULES: Final[dict[str, RuleText]] = {
    "body.too-large": RuleText(_SIZE, "a request with an embedded data set", '"oss://bucket/data.csv"'),
    "body.compressed": RuleText("Compressed bodies are not read.", "gzip of a request", "the request itself"),
    "body.base64-twice": RuleText(
        "One layer of base64 is undone. Two often mean that an SDK encoded a body that was encoded already.",
        "base64(base64(request))",
        "base64(request), or the request itself",
    ),
    "json.encoding": RuleText(
        "JSON is UTF-8.", "a file saved as UTF-16 or Latin-1", "the file saved as UTF-8"
    ),
    "json.syntax": RuleText(
        "The text is not JSON: often a trailing comma, a comment, or single quotes.", "{'a': 1,}", '{"a": 1}'
    ),
    "json.duplicate-key": RuleText(_ONE_MEANING, '{"Name": "a", "Name": "b"}', '{"Name": "b"}'),
    "json.non-finite": RuleText(
        "JSON has no NaN and no Infinity.", '"_value": [0, Infinity]', '"_value": [0, 1e9]'
    ),
    "json.number": RuleText(
        "Such a number takes long to parse and is surely a mistake.", "a number of 401 digits", "1e300"
    ),
    "json.depth": RuleText("Deeply nested texts exhaust a parser.", "65 nested arrays", "at most 64 levels"),
    "json.surrogate": RuleText(
        "Half of a surrogate pair is not a character, so it cannot be sent on.",
        r'"\ud83d"',
        r'"\ud83d\ude00"',
    ),
    "document.shape": RuleText(
        "A document is a request, a stop, a bare CreateHpoExperiment body, or a CloudEvent that contains one.",
        '{"name": "x", "params": {}}',
        '{"experiment": {"Name": "x"}}',
    ),
    "cloudevent.specversion": RuleText(
        "Only CloudEvents 1.0 are read.", '"specversion": "0.3"', '"specversion": "1.0"'
    ),
    "cloudevent.data": RuleText(
        "The request is in data, or in data_base64, never in both.",
        '{"specversion": "1.0", "data": {}, "data_base64": "e30="}',
        '{"specversion": "1.0", "data": {"experiment": {}}}',
    ),
    "cloudevent.member": RuleText(
        "Only data is read, so a dry run or a guard next to it has no effect. An attribute such as dryrun is a "
        "valid part of a CloudEvent, so it is only a warning.",
        '{"specversion": "1.0", "dryRun": true, "data": {"experiment": {}}}',
        '{"specversion": "1.0", "data": {"dryRun": true, "experiment": {}}}',
    ),
    "schema-version": RuleText(
        "hpoq does not guess what another version means.", '"schemaVersion": "2"', '"schemaVersion": "1"'
    ),
    "idempotency-key": RuleText(
        "A key appears in events, logs and tags, so it must be a printable string of 1 to 255 characters.",
        '"idempotencyKey": ""',
        '"idempotencyKey": "tune-ranking-2026-11-23"',
    ),
    "idempotency-key.twice": RuleText(
        "A key stands for one request: the function rejects a second, different one with IdempotencyConflict.",
        'two requests of one call with "idempotencyKey": "tune"',
        '"idempotencyKey": "tune-1" and "idempotencyKey": "tune-2"',
    ),
    "message-id": RuleText(
        "Without a stable id of the message or a key, a redelivery would create a second experiment.",
        "a message without an id, and no idempotencyKey",
        '"idempotencyKey": "tune-ranking-2026-11-23"',
    ),
    "required": RuleText(
        "The service documents the member as required.",
        '"platform_config": {"name": "DLC"}',
        '"platform_config": {"name": "DLC", "cmd": ["..."]}',
    ),
    "unknown-member": RuleText(_NOT_SENT, '"max_trials": 20', '"max_trial_number": 20'),
    "type": RuleText(
        "Types are not converted, because hpoq would have to guess which number a string means.",
        '"max_trial_number": "20"',
        '"max_trial_number": 20',
    ),
    "enum": RuleText(
        "The service accepts these values only.", '"final_mode": "last"', '"final_mode": "final"'
    ),
    "range": RuleText(
        "The service reads 32-bit integers.", '"max_trial_number": 3000000000', '"max_trial_number": 3000'
    ),
    "tag.limit": RuleText("The service allows 20 tags.", "21 tags", "20 tags"),
    "tag.reserved": RuleText(
        "hpoq finds the experiment of a request by this tag after a lost answer.",
        '{"Key": "hpoq-key", "Value": "x"}',
        '{"Key": "team", "Value": "ranking"}',
    ),
    "description.reserved": RuleText(
        "hpoq finds the experiment of a request by this text after a lost answer.",
        '"Description": "[hpoq-key: ...]"',
        '"Description": "search of k"',
    ),
    "guard.empty": RuleText(
        "A guard without a limit never stops anything.", '"guard": {}', '"guard": {"maxHours": 12}'
    ),
    "guard.limit": RuleText(
        "A limit of 0 would stop the experiment at once.", '"maxHours": 0', '"maxHours": 12'
    ),
    "guard.target": RuleText(
        "Whether a metric is good enough depends on the direction that the tuner or the assessor states.",
        '"guard": {"targetMetric": 0.95} without optimize_mode',
        '"guard": {"targetMetric": 0.95}, "optimize_mode": "maximize"',
    ),
    "guard.unwatched": RuleText(
        "Only a function that follows experiments checks limits.",
        '"guard": {"maxHours": 12} without HPOQ_WATCH_QUEUE',
        "the function's setting HPOQ_WATCH_QUEUE, or no guard",
    ),
    "guard.unreachable": RuleText(
        "No more trials can fail than there are trials, so this limit stops nothing.",
        '"guard": {"maxFailedTrials": 50}, "max_trial_number": 20',
        '"guard": {"maxFailedTrials": 5}, "max_trial_number": 20',
    ),
    "stop.target": RuleText(
        "A stop names one experiment, by the key of its request or by its id.",
        '{"stop": {}}',
        '{"stop": {"idempotencyKey": "tune-ranking-2026-11-23"}}',
    ),
    "metric-source.form": RuleText(
        "Each metric_type reads its metric from another kind of place.",
        '"metric_type": "stdout", "metric_source": ["SELECT auc FROM t"]',
        '"metric_type": "stdout", "metric_source": ["cmd1"]',
    ),
    "metric-weight": RuleText("Each metric is multiplied by its weight.", '{"auc": "high"}', '{"auc": 1}'),
    "params.pair": RuleText(
        "Each item names a template and the file that is written from it.",
        '"oss://bucket/template.config"',
        '"oss://bucket/template.config,oss://bucket/${trial_id}.config"',
    ),
    "search-space.text": RuleText(
        "A search space is an object. A string that contains one as JSON is sent as that object.",
        '"search_space": "see wiki"',
        f'"search_space": {{{_RANGE}}}',
    ),
    "search-space.spec": RuleText(
        "The engine reads the type and the value of each parameter.", '"${lr}": [0.001, 0.1]', _RANGE
    ),
    "search-space.type": RuleText(
        "The engine has these types only.", '"_type": "float"', '"_type": "uniform"'
    ),
    "search-space.arity": RuleText(
        "Each type has a fixed number of bounds.",
        '{"_type": "quniform", "_value": [0, 1]}',
        '{"_type": "quniform", "_value": [0, 1, 0.1]}',
    ),
    "search-space.number": RuleText(
        "Bounds are numbers, and those of randint are integers.",
        '{"_type": "randint", "_value": [1, 2.5]}',
        '{"_type": "randint", "_value": [1, 3]}',
    ),
    "search-space.bounds": RuleText(
        "There must be values to draw from, in numbers of 64 bits, and a logarithm needs numbers above 0.",
        '{"_type": "loguniform", "_value": [0, 1]}',
        '{"_type": "loguniform", "_value": [0.0001, 1]}',
    ),
    "null": RuleText("A null member is not sent.", '"WorkspaceId": null', "the member left out"),
    "idempotency-key.not-nfc": RuleText(
        "Keys are compared byte for byte, so two Unicode forms of a letter make two keys.",
        '"e\\u0301"',
        '"\\u00e9"',
    ),
    "idempotency-key.blank": RuleText(
        "Keys are compared byte for byte, so a space makes a different key.", '"tune-1 "', '"tune-1"'
    ),
    "cloudevent.identity": RuleText(
        "Without an idempotencyKey, the key derives from the CloudEvent's source and id. Without these too, each "
        "message creates an experiment, even if the same request is sent again.",
        '{"specversion": "1.0", "id": 7, "source": "/a", "data": {...}}',
        '{"specversion": "1.0", "id": "7", "source": "/a", "data": {...}}',
    ),
    "traceparent": RuleText(
        "Only a W3C trace context can be continued.",
        '"traceparent": "abc"',
        '"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"',
    ),
    "text.placeholder": RuleText(
        "hpoq fills in no placeholders. If this is the key, all requests share it and only the first one counts.",
        '"idempotencyKey": "tune-${DATE}"',
        '"idempotencyKey": "tune-2026-11-23"',
    ),
    "text.blank": RuleText(
        "The text is sent as it is, so the service does not find the workspace, or refuses the access.",
        '"WorkspaceId": "12345 "',
        '"WorkspaceId": "12345"',
    ),
    "configuration.absent": RuleText(
        "The service creates an experiment that has nothing to run.",
        '{"experiment": {"Name": "x"}}',
        '{"experiment": {"Name": "x", "HpoExperimentConfiguration": {...}}}',
    ),
    "name.empty": RuleText("Experiments are found by their names.", '"Name": ""', '"Name": "mnist"'),
    "tag.repeated": RuleText(
        "Whether the service keeps both values of a key is not documented.",
        '"Tag": [{"Key": "team", "Value": "a"}, {"Key": "team", "Value": "b"}]',
        '"Tag": [{"Key": "team", "Value": "a"}, {"Key": "second-team", "Value": "b"}]',
    ),
    "tag.text": RuleText(
        "The service lists experiments by tags of up to 128 characters that do not begin with aliyun or acs:.",
        '{"Key": "acs:x"}',
        '{"Key": "team"}',
    ),
    "platform.unknown": RuleText(
        "The service documents the platforms DLC, MaxCompute and paiflow.",
        '"name": "Kubernetes"',
        '"name": "DLC"',
    ),
    "platform.config": RuleText(
        "The platform usually needs to know where and as whom to run.",
        '"platform_config": {"name": "DLC", ...}',
        '"platform_config": {"name": "DLC", ...}, "dlc_config": {"region": "cn-shanghai"}',
    ),
    "platform.command": RuleText("Without a command a trial does nothing.", '"cmd": []', '"cmd": ["..."]'),
    "platform.mismatch": RuleText(
        "Each platform runs only its own kind of commands, so every trial would fail.",
        '"name": "DLC", "cmd": ["PAI -name kmeans ..."]',
        '"name": "MaxCompute", "cmd": ["PAI -name kmeans ..."]',
    ),
    "platform.resume": RuleText(
        '"1" resumes at the failed command, "0" does not.', '"resume": "yes"', '"resume": "1"'
    ),
    "credentials.pair": RuleText(
        "Requests can only be signed with both parts of a key pair.",
        '"odps_config": {"access_id": "..."}',
        '"odps_config": {"access_id": "...", "access_key": "..."}, or a role_arn',
    ),
    "storage.oss": RuleText(
        "Paths in OSS need access to OSS.", '"oss://bucket/x" alone', '"oss_config": {"role_arn": "..."}'
    ),
    "metric-type.api": RuleText(
        "The API does not document this metric_type and may refuse it.",
        '"metric_type": "api"',
        '"metric_type": "json"',
    ),
    "metric-type.odps": RuleText(
        "A query needs access to MaxCompute.", '"metric_type": "table" alone', '"odps_config": {...}'
    ),
    "metric-source.empty": RuleText(
        "There is no metric without a source.", '"metric_source": []', '["cmd1"]'
    ),
    "metric-source.command": RuleText(
        "The first command is cmd1.", '"metric_source": ["cmd3"] with two commands', '["cmd2"]'
    ),
    "metric-weight.text": RuleText("A weight is a number.", '{"auc": "0.5"}', '{"auc": 0.5}'),
    "object.text": RuleText(
        "The member is an object. A string that contains one as JSON is sent as that object.",
        '"yml_config": "{\\"debug\\": true}"',
        '"yml_config": {"debug": true}',
    ),
    "metric.text": RuleText(
        "metric_dict is an object. A string that contains one as JSON is sent as that object.",
        '"metric_dict": "{\\"auc\\": 1}"',
        '"metric_dict": {"auc": 1}',
    ),
    "metric.empty": RuleText(
        "There is nothing to optimize.", '"metric_dict": {}', '"metric_dict": {"auc": 1}'
    ),
    "metric.direction": RuleText(
        "The name suggests that the opposite direction is meant; the search would find the worst parameters.",
        '"metric_dict": {"val_loss": 1}, "optimize_mode": "maximize"',
        '"metric_dict": {"val_loss": 1}, "optimize_mode": "minimize"',
    ),
    "metric.pattern": RuleText(
        "For stdout a metric is a regular expression, and its one group contains the number.",
        '{"(val|test)_loss=([0-9.]+)": 1}',
        '{"(?:val|test)_loss=([0-9.]+)": 1}',
    ),
    "placeholder.undefined": RuleText(
        "Only names in the search space are replaced, so every trial would get the literal text.",
        '"cmd": ["train --lr=${rate}"] with "${lr}"',
        '"cmd": ["train --lr=${lr}"]',
    ),
    "placeholder.form": RuleText(
        "The engine replaces the names of the search space as they are written there.",
        '"cmd": ["train --lr={lr}"] with "${lr}"',
        '"cmd": ["train --lr=${lr}"]',
    ),
    "search-space.absent": RuleText("Without parameters all trials are the same.", "no search_space", _RANGE),
    "search-space.choice": RuleText(
        "The engine documents choices of numbers, of strings, or of objects with _name.",
        '"_value": [[3, 3], [5, 5]]',
        '"_value": ["3, 3", "5, 5"]',
    ),
    "search-space.empty": RuleText(
        "The engine has nothing to choose from, and ends.", '"_value": []', '"_value": [16, 32]'
    ),
    "search-space.repeated": RuleText(
        "A repeated value is only drawn more often, and trials with it are repeated.",
        '"_value": [16, 32, 16]',
        '"_value": [16, 32]',
    ),
    "search-space.mixed": RuleText(
        "The engine may confuse numbers with strings in one choice.",
        '"_value": [1, "auto"]',
        '"_value": ["1", "auto"]',
    ),
    "search-space.boolean": RuleText(
        "The engine inserts a boolean into commands as True or False, which a program may not read as a boolean.",
        '"_value": [true, false]',
        '"_value": ["true", "false"]',
    ),
    "search-space.step": RuleText(
        "The engine divides by the step, so 0 ends it; one that is larger than the range leaves nothing to search.",
        '{"_type": "quniform", "_value": [0, 1, 2]}',
        '{"_type": "quniform", "_value": [0, 1, 0.1]}',
    ),
    "search-space.name": RuleText(
        "The name is replaced wherever it occurs, so a plain word is also replaced where it should stay.",
        '"lr": {...} changes "--lr" too',
        _RANGE,
    ),
    "search-space.unused": RuleText(
        "A parameter that no command uses changes nothing.",
        '"cmd": ["train"] with "${lr}"',
        '"cmd": ["train --lr=${lr}"]',
    ),
    "search-space.member": RuleText(
        "Only _type and _value have an effect.", '{"_type": ..., "_value": ..., "default": 1}', _RANGE
    ),
    "tuner.unknown": RuleText(
        "PAI does not document this algorithm, or a run names none.", '"name": "SMAC"', '"name": "TPE"'
    ),
    "tuner.argument": RuleText(
        "The algorithm ignores an unknown argument, and fails with one of the wrong type or out of its range.",
        '"name": "Random", "class_args": {"population_size": 5}',
        '{"seed": 5}',
    ),
    "tuner.mode": RuleText(
        "Without optimize_mode TPE minimizes, GP maximizes, and Evolution and PBT fail.",
        '"tuner": {"name": "TPE"}',
        '"tuner": {"name": "TPE", "class_args": {"optimize_mode": "maximize"}}',
    ),
    "search-space.tuner": RuleText(
        "GP has no normal types and only numbers in a choice, neither GP nor PBT has nested choices, and TPE and "
        "GridSearch need memory for each value of a randint.",
        '"name": "GP" with {"_type": "normal", "_value": [0, 1]}',
        '"name": "TPE" with {"_type": "normal", "_value": [0, 1]}',
    ),
    "assessor.unknown": RuleText(
        "Only PAIAssessor can stop jobs on PAI, and together with PBT the engine allows no assessor.",
        '"name": "Medianstop"',
        '"name": "PAIAssessor"',
    ),
    "assessor.argument": RuleText(
        "With such a value the assessor stops no trial, or the wrong ones.",
        '"proportion": 50',
        '"proportion": 0.5',
    ),
    "optimize-mode": RuleText(
        "Tuner and assessor must have the same mode, maximize or minimize.",
        '"optimize_mode": "max"',
        '"optimize_mode": "maximize"',
    ),
    "moving-avg.type": RuleText(
        "The API documents moving_avg as a string.", '"moving_avg": true', '"moving_avg": "true"'
    ),
    "run.unlimited": RuleText(
        "Without max_trial_number nothing limits the number of trials, and each of them costs money.",
        '"yml_config": {"trial_concurrency": 5}',
        '"yml_config": {"trial_concurrency": 5, "max_trial_number": 20}',
    ),
    "run.concurrency": RuleText(
        "All trials start at once, so none of them can learn from another, or Evolution has no values for the next.",
        '"max_trial_number": 5, "trial_concurrency": 20',
        '"max_trial_number": 20, "trial_concurrency": 5',
    ),
    "run.number": RuleText(
        "The engine refuses 0 and negative numbers.", '"trial_concurrency": 0', '"trial_concurrency": 1'
    ),
    "run.log-level": RuleText(
        "The engine does not have this log level.", '"log_level": "verbose"', '"log_level": "debug"'
    ),
    "schedule": RuleText(
        "The engine reads everyday or weekend, and HH:MM.", '"start_time": "8am"', '"08:00"'
    ),
    "monitor": RuleText(
        "Alerts are sent to the webhook of a DingTalk robot, and its texts are strings.",
        '"monitor_config": {"keyword": "hpo", "is_at_all": "yes"}',
        '"monitor_config": {"url": "https://oapi.dingtalk.com/...", "keyword": "hpo", "is_at_all": "True"}',
    ),
    "engine-member": RuleText(
        "Only the engine documents this member; the API may drop it.",
        '"end_point": "..."',
        '"endpoint": "..."',
    ),
    "k8s": RuleText(
        "The API documents that k8s_config needs no configuration.",
        '"k8s_config": {...}',
        "the member left out",
    ),
    "yaml.syntax": RuleText(
        "The text is not YAML: often a tab, or a backslash in double quotes.",
        r'"loss=(\d+)"',
        r"'loss=(\d+)'",
    ),
    "yaml.tag": RuleText("JSON has no equivalent of a tag.", "!!timestamp 2026-11-29", '"2026-11-29"'),
    "yaml.key": RuleText("Names in JSON are strings.", "1: a", '"1": a'),
    "yaml.notation": RuleText(
        "hpoq reads YAML as a notation for JSON; whatever is not a number in JSON is a string, "
        "and typographic quotes are part of one.",
        "_value: [.1, 1_000, yes]",
        "_value: [0.1, 1000, true]",
    ),
}
"""The rules that reject or warn, by name. A test compares them with the README of the contract."""
