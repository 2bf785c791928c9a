"""Two requests are the same request if they differ in nothing but credentials."""

import copy
import json

import pytest

from hpoq.contract.request import compute_fingerprint, parse_request

CONFIG = {
    "platform_config": {"name": "DLC", "cmd": ["run --lr=${lr} --token=first"]},
    "metric_config": {
        "metric_type": "json",
        "metric_source": ["oss://b/${exp_id}/${trial_id}"],
        "final_mode": "final",
        "metric_dict": {"token_accuracy": 1},
    },
    "search_space": {"${max_token}": {"_type": "choice", "_value": [16, 32]}},
    "oss_config": {"endpoint": "http://h", "accessKeyID": "first", "accessKeySecret": "first"},
    "odps_config": {"access_id": "first", "access_key": "first", "project_name": "p"},
    "dlc_config": {"access_id": "first", "access_key": "first"},
    "ts_config": {"access_key_id": "first", "access_key_secret": "first"},
    "paiflow_config": {"access_key_id": "first", "access_key_secret": "first"},
    "monitor_config": {"url": "https://h/?access_token=first", "keyword": "k"},
    "yml_config": {"assessor": {"class_args": {"moving_avg": True}}},
}
# A change of it would make every message in flight a conflict.
GOLDEN = "ee3737e3fce70a5f417a7e6c3f4906abe95b3f82de235f11dd2f59d9ae219de0"


def of(config, **members):
    body = {"experiment": {"Name": "n", "HpoExperimentConfiguration": config}, **members}
    return compute_fingerprint(parse_request(json.dumps(body).encode()).document)


def changed(*way, to):
    config = copy.deepcopy(CONFIG)
    holder = config
    for name in way[:-1]:
        holder = holder[name]
    if to is None:
        del holder[way[-1]]
    else:
        holder[way[-1]] = to
    return config


CREDENTIALS = [
    (section, name)
    for section, members in CONFIG.items()
    for name, value in members.items()
    if isinstance(value, str) and "first" in value
]


def test_a_guard_is_part_of_a_request():
    """Requests for one experiment with different guards, or without one, are different requests."""
    found = {of(CONFIG), *(of(CONFIG, guard={"maxHours": hours}) for hours in (1, 2))}
    assert len(found) == 3


def test_golden_fingerprint():
    """The fingerprint of a given request never changes."""
    assert of(CONFIG) == GOLDEN


@pytest.mark.parametrize("way", CREDENTIALS, ids="/".join)
@pytest.mark.parametrize("to", ["second", None])
def test_rotated_credentials_are_the_same_request(way, to):
    """A request that is sent again with other credentials, or without them, has the same fingerprint."""
    assert len(CREDENTIALS) == 11
    assert of(changed(*way, to=to)) == of(CONFIG)


@pytest.mark.parametrize(
    ("way", "to"),
    [
        (("platform_config", "cmd"), ["run --lr=${lr} --token=second"]),
        (("search_space", "${max_token}", "_value"), [16, 64]),
        (("metric_config", "metric_dict", "token_accuracy"), 2),
        (("oss_config", "endpoint"), "http://other"),
        (("odps_config",), None),
    ],
    ids=str,
)
def test_everything_else_is_part_of_the_request(way, to):
    """Command lines and members that only look like credentials are part of the fingerprint."""
    assert of(changed(*way, to=to)) != of(CONFIG)
