import copy
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from requestdocs import JSON, MINIMAL, parse

from hpoq.observability.redaction import redact
from hpoq.observability.secret_names import find_secrets

TEXT = st.text(max_size=12)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
ROOM = st.builds(
    lambda kind, low, width: {"_type": kind, "_value": [low, low + width]},
    st.sampled_from(["randint", "uniform", "loguniform"]),
    st.integers(1, 50),
    st.integers(1, 50),
) | st.builds(
    lambda items: {"_type": "choice", "_value": items},
    st.lists(NUMBERS, min_size=1) | st.lists(TEXT, min_size=1),
)


def members(required, optional):
    return st.fixed_dictionaries(required, optional=optional)


CONFIG = members(
    {
        "platform_config": members(
            {"name": st.sampled_from(["DLC", "MaxCompute", "else"]), "cmd": st.lists(TEXT, max_size=3)},
            {"resume": st.sampled_from("01")},
        ),
        "metric_config": members(
            {
                "metric_type": st.just("table"),
                "metric_source": st.lists(TEXT.map("select ".__add__), max_size=3),
                "final_mode": st.sampled_from(["final", "best", "avg"]),
                "metric_dict": st.dictionaries(TEXT, NUMBERS, max_size=3),
            },
            {"source_list_final_mode": st.sampled_from(["final", "best", "avg"])},
        ),
    },
    {
        "oss_config": members(
            {}, dict.fromkeys(("endpoint", "accessKeyID", "accessKeySecret", "role_arn"), TEXT)
        ),
        "odps_config": members({}, dict.fromkeys(("access_id", "access_key", "region", "end_point"), TEXT)),
        "dlc_config": members({}, dict.fromkeys(("access_id", "access_key", "endpoint", "protocol"), TEXT)),
        "ts_config": members({}, dict.fromkeys(("access_key_id", "access_key_secret", "region_id"), TEXT)),
        "paiflow_config": members(
            {}, dict.fromkeys(("access_key_id", "access_key_secret", "workspace_id"), TEXT)
        ),
        "monitor_config": members({}, dict.fromkeys(("url", "keyword", "at_mobiles", "is_at_all"), TEXT)),
        "schedule_config": members({}, dict.fromkeys(("day", "start_time", "end_time"), TEXT)),
        "output_config": members({}, dict.fromkeys(("model_path", "summary_path"), TEXT)),
        "k8s_config": members({}, {"nni_container_cpu_limit": TEXT}),
        "params_config": members({}, {"params_src_dst_filepath": st.just(["a,b"])}),
        "search_space": st.dictionaries(TEXT, ROOM, max_size=3),
        "yml_config": members(
            {},
            {
                "trial_concurrency": st.integers(-(2**31), 2**31 - 1),
                "debug": st.booleans(),
                "tuner": members({}, {"name": TEXT, "class_args": st.dictionaries(TEXT, JSON, max_size=3)}),
                "assessor": members(
                    {},
                    {
                        "class_args": members(
                            {},
                            {
                                "proportion": st.integers(0, 9) | st.floats(0, 1),
                                "start_step": st.integers(0, 9999),
                                "moving_avg": TEXT,
                                "earlystop": st.booleans(),
                                "patience": st.integers(),
                            },
                        )
                    },
                ),
            },
        ),
    },
)
EXPERIMENT = members(
    {"HpoExperimentConfiguration": CONFIG},
    {
        "Name": TEXT,
        "WorkspaceId": TEXT,
        "Description": TEXT,
        "Accessibility": st.sampled_from(["PUBLIC", "PRIVATE"]),
        "Tag": st.lists(members({}, {"Key": TEXT, "Value": TEXT}), max_size=20),
    },
)


@settings(max_examples=60)
@given(EXPERIMENT)
def test_any_valid_experiment_is_sent_as_written(experiment):
    """Every experiment with the documented types is accepted, and is sent as it was written."""
    sent = parse({"experiment": experiment}).request.experiment.wire()
    assert sent == experiment


def test_the_token_in_a_url_is_a_secret_of_its_own():
    """The token in the alert URL is a secret of its own, because a service may quote it alone."""
    url = "https://oapi.dingtalk.com/robot/send?access_token=canary/token&lang=en"
    document = copy.deepcopy(MINIMAL)
    document["experiment"]["HpoExperimentConfiguration"]["monitor_config"] = {"url": url}
    found = set(find_secrets(parse(document).document))
    assert found >= {url, "canary/token"}
    assert "canary" not in redact(f"{quote(url, safe='')} {url}", found)
