"""The alarms of CloudMonitor: metrics that exist, for the deployment's own resources, raised when they should be."""

import json

import pytest
from deploymentfiles import ACCOUNT, FOLDER, REGION, deployment, template

import alilocal
from hpoq.settings import Settings
from support.deployment import DEAD_LETTER_QUEUE, QUEUE, create_resources

# The metrics as the services document them: unit, dimensions, statistics, and the seconds between two values.
QUEUES = ("count", {"userId", "region", "queue"}, {"Maximum", "Minimum", "Average"}, 60)
# Function Compute 3.0 has no services:
# https://www.alibabacloud.com/help/en/functioncompute/fc-3-0/user-guide/monitoring-data
FUNCTIONS = ("count", {"userId", "region", "functionName"}, {"Value"}, 60)
RECORDS = (
    "count/second",
    {"userId", "region", "instanceName", "tableName"},
    {"Maximum", "Minimum", "Average"},
    60,
)
METRICS = {
    # https://www.alibabacloud.com/help/en/cms/support/appendix-1-metrics, Message Service - queue
    "acs_mns_new": dict.fromkeys(
        (
            "ActiveMessages",
            "InactiveMessages",
            "DelayMessages",
            "ReceiveMessageCount",
            "BatchReceiveMessageCount",
        ),
        QUEUES,
    ),
    # https://www.alibabacloud.com/help/en/functioncompute/fc/monitoring-metrics-1
    "acs_fc": dict.fromkeys(
        (
            "FunctionTotalInvocations",
            "FunctionFunctionErrors",
            "FunctionServerErrors",
            "FunctionConcurrencyThrottles",
            "FunctionResourceThrottles",
        ),
        FUNCTIONS,
    ),
    # https://help.aliyun.com/document_detail/427404.html
    "acs_ots_new": dict.fromkeys(("InstanceCount429Number", "InstanceCount5xxNumber"), RECORDS),
}
OPERATORS = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
STATISTICS = {"Maximum": max, "Minimum": min, "Value": lambda values: values[-1]}


def alarms(suffix=""):
    return {
        one["Properties"]["RuleName"]: one["Properties"] for one in template("alarms.yaml", suffix).values()
    }


ALARMS = alarms()


def conditions(alarm):
    """Each condition of an alarm, as metric, operator, statistic and threshold; and how often all must hold."""
    if "CompositeExpression" in alarm:
        composite = alarm["CompositeExpression"]
        assert composite["ExpressionListJoin"] == "&&"
        rows = composite["ExpressionList"]
        names = ("MetricName", "ComparisonOperator", "Statistics", "Threshold")
        return [tuple(row[name] for name in names) for row in rows], composite["Times"]
    (level,) = alarm["Escalations"].values()
    row = (alarm["MetricName"], level["ComparisonOperator"], level["Statistics"], level["Threshold"])
    return [row], level["Times"]


def fires(name, **series):
    """Return whether an alarm is raised by these values, one for each minute, by metric."""
    rows, times = conditions(ALARMS[name])
    minutes = ALARMS[name]["Period"] // 60
    held = 0
    for start in range(0, len(next(iter(series.values()))), minutes):
        held = (
            held + 1
            if all(
                OPERATORS[operator](
                    STATISTICS[statistic](series[metric][start : start + minutes]), float(threshold)
                )
                for metric, operator, statistic, threshold in rows
            )
            else 0
        )
        if held == times:
            return True
    return False


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reads_a_metric_that_exists(name):
    """Metric, dimensions, statistic and period are those of the service's own list."""
    alarm = ALARMS[name]
    known = METRICS[alarm["Namespace"]]
    for metric, operator, statistic, _ in conditions(alarm)[0]:
        _, dimensions, statistics, seconds = known[metric]
        assert operator in OPERATORS
        assert statistic in statistics
        assert alarm["Period"] % seconds == 0
        (resource,) = alarm["Resources"]
        assert set(resource) <= dimensions
        assert (resource["userId"], resource["region"]) == (ACCOUNT, REGION)


def test_an_alarm_is_about_this_deployment():
    """Queues, function and instance are those that the deployment creates, whatever its name."""
    for suffix in ("", "-staging"):
        d = deployment(suffix)
        names = {one["QueueName"] for one in d.resources.values() if "QueueName" in one}
        names |= {d.function["functionName"], d.resources["Instance"]["InstanceName"]}
        for alarm in alarms(suffix).values():
            (resource,) = alarm["Resources"]
            assert set(resource.values()) - {ACCOUNT, REGION} <= names
            assert alarm["RuleId"] == alarm["RuleName"]
            assert alarm["RuleId"].endswith(suffix)


HOUR, STILL = range(60), [0] * 60
SITUATIONS = {
    "hpoq-dead-letters": ({"ActiveMessages": STILL}, {"ActiveMessages": [0] * 59 + [1]}),
    "hpoq-waiting-long": ({"ActiveMessages": [n % 20 for n in HOUR]}, {"ActiveMessages": [1] * 60}),
    "hpoq-queue-growing": ({"ActiveMessages": [9000] * 60}, {"ActiveMessages": [n * 1000 for n in HOUR]}),
    "hpoq-trigger-stopped": (
        {"ActiveMessages": [5] * 60, "BatchReceiveMessageCount": [1] * 60, "ReceiveMessageCount": STILL},
        {"ActiveMessages": [5] * 60, "BatchReceiveMessageCount": STILL, "ReceiveMessageCount": STILL},
    ),
    "hpoq-watch-stalled": ({"ActiveMessages": [n % 3 for n in HOUR]}, {"ActiveMessages": [7] * 60}),
    "hpoq-function-errors": ({"FunctionFunctionErrors": [0, 9] * 30}, {"FunctionFunctionErrors": [1] * 60}),
    "hpoq-server-errors": ({"FunctionServerErrors": [0, 9] * 30}, {"FunctionServerErrors": [1] * 60}),
    "hpoq-function-throttled": (
        {"FunctionConcurrencyThrottles": [0, 9] * 30},
        {"FunctionConcurrencyThrottles": [1] * 60},
    ),
    "hpoq-instances-exhausted": (
        {"FunctionResourceThrottles": [0, 9] * 30},
        {"FunctionResourceThrottles": [1] * 60},
    ),
    "hpoq-records-throttled": (
        {"InstanceCount429Number": [0, 2] * 30},
        {"InstanceCount429Number": [2] * 60},
    ),
    "hpoq-records-unavailable": (
        {"InstanceCount5xxNumber": [0, 1] * 30},
        {"InstanceCount5xxNumber": [3] * 60},
    ),
}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_raised_when_it_should_be_and_only_then(name):
    """An hour of normal operation does not raise it; an hour of the fault that it is for does."""
    normal, fault = SITUATIONS[name]
    assert not fires(name, **normal)
    assert fires(name, **fault)


def test_a_dead_letter_of_the_local_cloud_raises_the_alarm():
    """The metric is the number of messages that the queue reports as active."""
    with alilocal.LocalCloud(seed=1) as cloud:
        create_resources(cloud)
        queue = cloud.queues.get(DEAD_LETTER_QUEUE)
        series = [list(queue.states().values()).count("active") for _ in range(5)]
        queue.send("a dead letter")
        series += [list(queue.states().values()).count("active") for _ in range(5)]
    assert ALARMS["hpoq-dead-letters"]["Resources"][0]["queue"] == DEAD_LETTER_QUEUE
    assert ALARMS["hpoq-trigger-stopped"]["Resources"][0]["queue"] == QUEUE
    assert fires("hpoq-dead-letters", ActiveMessages=series)


def names_of(suffix):
    """Every name that a deployment gives to a resource of the account."""
    d = deployment(suffix)
    named = ("QueueName", "TopicName", "RoleName")
    found = {one[name] for one in d.resources.values() for name in named if name in one}
    found |= {d.resources["Role"]["Policies"][0]["PolicyName"], d.function["functionName"]}
    return found | {d.function["logConfig"]["project"], *alarms(suffix)}


def test_two_deployments_share_no_name():
    """Staging and production live side by side; each refers to its own resources everywhere."""
    assert not names_of("") & names_of("-staging")
    staging = deployment("-staging")
    settings = staging.settings
    source = staging.trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"][
        "sourceMNSParameters"
    ]
    assert settings.queue == source["QueueName"] == "hpo-requests-staging"
    assert settings.dead_letter_queue in staging.run["deadLetterQueue"]["Arn"]
    assert settings.output == "smq://hpo-results-staging"
    assert staging.function["role"] == staging.resources["Role"]["RoleName"]
    granted = json.dumps(staging.resources["Role"]["Policies"])
    for name in ("queues/hpo-requests", "queues/hpo-requests-dead", "topics/hpo-results"):
        assert f"{name}-staging/messages" in granted
        assert f"{name}/messages" not in granted


def test_the_commands_use_the_names_of_the_deployment():
    """With HPOQ_NAME the defaults of queue and topic are those that both tools create."""
    settings = Settings.from_environment({"HPOQ_NAME": "staging"})
    deployed = deployment("-staging").settings
    assert (settings.queue, settings.output) == (deployed.queue, deployed.output)
    assert Settings.from_environment({"HPOQ_NAME": "a-b", "HPOQ_QUEUE": "q"}).queue == "q"


def test_terraform_and_serverless_devs_read_the_same_alarms():
    """Both tools create what alarms.yaml describes."""
    assert "yamldecode" in (FOLDER / "terraform/locals.tf").read_text()
    assert "for_each = local.alarms" in (FOLDER / "terraform/alarms.tf").read_text()
    assert "template: ./alarms.yaml" in (FOLDER / "s.yaml").read_text()
