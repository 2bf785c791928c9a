"""PAI AutoML of the local cloud, in-process and over HTTP."""

import json

import pytest
from localwire import CONFIGURATION, StandingTime, formatdate_iso

import alilocal
from alilocal.paiautoml.model import Draft, Update


def created(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["ExperimentId"]


def test_create_then_get(wire, cloud):
    """Get returns what was created, with an id of the documented form and masked secrets."""
    tags = [{"Key": "group", "Value": "g 1"}]
    experiment_id = created(
        wire.create(
            Name="测试 ~*+ é",
            WorkspaceId="12345",
            Description="d",
            Accessibility="PUBLIC",
            Tag=tags,
            HpoExperimentConfiguration=CONFIGURATION,
        )
    )
    shown = wire.get(experiment_id).json()
    assert len(experiment_id) == 7
    assert experiment_id.startswith("s")
    assert (shown["Name"], shown["WorkspaceId"], shown["Tags"]) == ("测试 ~*+ é", "12345", tags)
    assert shown["Status"] == "CREATED"
    assert shown["HpoExperimentConfiguration"]["dlc_config"]["access_key"] == "********"
    assert "a-secret" not in json.dumps(shown)
    assert "access_id=an-id" in shown["ConfigIni"]
    assert json.loads(shown["SearchSpace"]) == CONFIGURATION["search_space"]
    (experiment,) = cloud.experiments
    assert experiment.configuration == CONFIGURATION
    assert experiment.tags == (("group", "g 1"),)
    assert "a-secret" not in repr(experiment)


def test_nothing_is_required_at_the_top(wire):
    """An empty body creates an experiment, because the documentation requires no member."""
    assert created(wire.create())


@pytest.mark.parametrize(
    ("members", "reported"),
    [
        ({"HpoExperimentConfiguration": {}}, "platform_config.name"),
        (
            {"HpoExperimentConfiguration": {**CONFIGURATION, "platform_config": {"name": "DLC"}}},
            "platform_config.cmd",
        ),
        (
            {"HpoExperimentConfiguration": {**CONFIGURATION, "platform_config": {"name": "DLC", "cmd": [1]}}},
            "strings",
        ),
        (
            {
                "HpoExperimentConfiguration": {
                    **CONFIGURATION,
                    "metric_config": {**CONFIGURATION["metric_config"], "final_mode": "worst"},
                }
            },
            "final_mode",
        ),
        ({"Accessibility": "SECRET"}, "Accessibility"),
        ({"Name": 5}, "Name"),
        ({"Tag": "x"}, "Tag"),
        ({"Tag": [{"Key": str(n), "Value": ""} for n in range(21)]}, "20"),
        ({"Tag": [{"Key": "a", "Value": "x" * 129}]}, "128"),
        ({"Tag": [{"Key": "acs:a", "Value": ""}]}, "acs:"),
        ({"Tag": [{"Key": "a", "Value": "see http://x"}]}, "http://"),
    ],
)
def test_invalid_input_is_refused(wire, cloud, members, reported):
    """Input that the documentation forbids is INVALID_INPUT_PARAMS, and creates nothing."""
    answer = wire.create(**members)
    assert answer.status_code == 200
    assert answer.json()["Code"] == "INVALID_INPUT_PARAMS"
    assert reported in answer.json()["Message"]
    assert cloud.experiments == []


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff", b'{"Name":NaN}', b"[" * 100_000])
def test_a_body_that_is_not_an_object_is_refused(wire, data):
    """A body that is not a JSON object is INVALID_INPUT_PARAMS."""
    answer = wire.pai("POST", "/api/automl/v1/hpo/experiment", "CreateHpoExperiment", data=data)
    assert answer.json()["Code"] == "INVALID_INPUT_PARAMS"


def test_half_a_surrogate_pair_is_survived(wire):
    """Half a surrogate pair in a name is replaced in the answer."""
    data = b'{"Name":"\\ud800"}'
    answer = wire.pai("POST", "/api/automl/v1/hpo/experiment", "CreateHpoExperiment", data=data)
    assert wire.get(answer.json()["ExperimentId"]).json()["Name"] == "?"


def test_behaviour_shapes_errors_and_successes(wire, cloud):
    """The HTTP status of service errors, Code SUCCESS and strictness are switches."""
    cloud.behaviour.error_status = 400
    cloud.behaviour.success_code = True
    assert wire.create(Name=1).status_code == 400
    assert wire.create().json()["Code"] == "SUCCESS"
    cloud.behaviour.strict_required = False
    assert created(wire.create(HpoExperimentConfiguration={}))
    cloud.behaviour.mask_configuration = False
    experiment_id = created(wire.create(HpoExperimentConfiguration=CONFIGURATION))
    assert wire.get(experiment_id).json()["HpoExperimentConfiguration"] == CONFIGURATION


def test_tags_can_be_dropped_or_refused(wire, cloud):
    """A switch makes the service drop or refuse tags."""
    tag = [{"Key": "k", "Value": "v"}]
    cloud.behaviour.create_tags = "dropped"
    assert wire.get(created(wire.create(Tag=tag))).json()["Tags"] == []
    cloud.behaviour.create_tags = "refused"
    assert wire.create(Tag=tag).json()["Code"] == "INVALID_INPUT_PARAMS"
    assert created(wire.create())


def test_list_filters_by_tag_in_every_wire_form(wire, cloud):
    """Tag is one parameter of JSON, or repeated parameters; all tags must match, a key alone matches any value."""
    wanted = created(wire.create(Tag=[{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}]))
    created(wire.create(Tag=[{"Key": "k", "Value": "other"}]))
    both = [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}]

    def ids(**query):
        return [row["ExperimentId"] for row in wire.list(**query).json()["Experiments"]]

    assert ids(Tag=json.dumps(both)) == [wanted]
    assert ids(Tag=json.dumps(both[0])) == [wanted]
    assert ids(**{"Tag.1.Key": "k", "Tag.1.Value": "v"}) == [wanted]
    assert len(ids(Tag='[{"Key":"k"}]')) == 2
    assert wire.list(Tag="{").json()["Code"] == "INVALID_INPUT_PARAMS"
    cloud.behaviour.tag_filter = "ignored"
    assert len(ids(Tag=json.dumps(both))) == 2
    cloud.behaviour.tag_filter = "refused"
    assert wire.list(Tag=json.dumps(both)).json()["Code"] == "INVALID_INPUT_PARAMS"


def test_list_filters_and_pages(wire, cloud):
    """Every other filter narrows the list; TotalCount counts all matches, pages cut them, newest first."""
    first = created(wire.create(Name="alpha one", WorkspaceId="1", Accessibility="PUBLIC"))
    cloud.clock.advance(60)
    second = created(wire.create(Name="alpha two", WorkspaceId="2"))
    cloud.clock.advance(1)
    third = created(wire.create(Name="beta", WorkspaceId="2"))

    def ids(**query):
        return [row["ExperimentId"] for row in wire.list(**query).json()["Experiments"]]

    assert ids() == [third, second, first]
    assert ids(Name="alpha") == [second, first]
    assert ids(WorkspaceId="2", Name="two") == [second]
    assert ids(Accessibility="PUBLIC") == [first]
    assert ids(Status="FINISHED") == [first]
    assert ids(Creator=cloud.account_id) == [third, second, first]
    assert ids(Creator="nobody") == []
    assert ids(SortBy="create_time", Order="ASC") == [first, second, third]
    assert ids(SortBy="GmtCreateTime") == [third, second, first]
    assert ids(Order="ASC") == [third, second, first]
    page = wire.list(PageSize=2, PageNumber=2).json()
    assert [row["ExperimentId"] for row in page["Experiments"]] == [first]
    assert page["TotalCount"] == 3


def test_switches_of_listings(wire, cloud):
    """Each switch of ListHpoExperiments changes the list as it says."""
    one, two = ({"Key": "n", "Value": number} for number in "12")
    first = created(wire.create(Name="alpha", Tag=[one]))
    second = created(wire.create(Name="alpha two", Tag=[two]))
    created(wire.create(Name="beta"))

    def ids(**query):
        return [
            row["ExperimentId"]
            for row in wire.list(SortBy="create_time", Order="ASC", **query).json()["Experiments"]
        ]

    both = json.dumps([one, two])
    assert (ids(Name="alpha"), ids(Tag=both)) == ([first, second], [])
    behaviour = cloud.behaviour
    behaviour.name_filter, behaviour.several_tags = "exact", "any"
    assert (ids(Name="alpha"), ids(Tag=both)) == ([first], [first, second])
    behaviour.most_per_page = 2
    assert wire.list(PageSize=3).json()["Code"] == "INVALID_INPUT_PARAMS"
    behaviour.large_page = "clamped"
    page = wire.list(PageSize=3).json()
    assert (len(page["Experiments"]), page["TotalCount"]) == (2, 3)
    behaviour.listing_total_offset = 1
    assert wire.list().json()["TotalCount"] == 4
    behaviour.listing_total_offset = -100
    assert wire.list().json()["TotalCount"] == 0
    behaviour.listing_total_offset = 0
    behaviour.total_count = "page"
    assert wire.list(PageSize=3).json()["TotalCount"] == 2
    assert len(wire.list(PageSize=3, PageNumber=2).json()["Experiments"]) == 1


def test_switches_of_calls(wire, cloud):
    """Each switch of the other operations changes them as it says."""
    path = "/api/automl/v1/hpo/experiment"
    assert created(wire.create(ClientToken="t"))
    assert wire.pai("POST", path, "GetHpoExperiment", body={}).status_code == 404
    cloud.behaviour.unknown_members = "refused"
    assert "ClientToken" in wire.create(ClientToken="t").json()["Message"]
    cloud.behaviour.wrong_action = "ignored"
    experiment_id = created(wire.pai("POST", path, "GetHpoExperiment", body={}))
    cloud.behaviour.delete_running = "refused"
    assert wire.put(experiment_id, "delete").json()["Code"] == "EXECUTION_FAILURE"
    cloud.clock.advance(60)
    assert "Code" not in wire.put(experiment_id, "delete").json()


def test_list_filters_by_creation_time(wire, cloud):
    """Bounds are inclusive, to the second or to the day."""
    now = formatdate_iso(cloud.clock.now())
    experiment_id = created(wire.create())
    day, moment = now[:10], now.replace("T", " ").rstrip("Z")
    later = formatdate_iso(cloud.clock.now() + 90_000)[:10]

    def ids(**query):
        return [row["ExperimentId"] for row in wire.list(**query).json()["Experiments"]]

    assert ids(MinCreateTime=day, MaxCreateTime=formatdate_iso(cloud.clock.now())[:10]) == [experiment_id]
    assert ids(MinCreateTime=moment) == [experiment_id]
    assert ids(MinCreateTime=later) == []
    assert ids(MaxCreateTime="2001-01-01") == []


@pytest.mark.parametrize(
    "query",
    [
        {"PageNumber": "0"},
        {"PageSize": "-1"},
        {"PageSize": "101"},
        {"PageNumber": "x"},
        {"PageNumber": "²"},
        {"MinCreateTime": "yesterday"},
        {"SortBy": "colour"},
        {"SortBy": "create_time", "Order": "SIDEWAYS"},
    ],
)
def test_list_refuses_invalid_parameters(wire, query):
    """An invalid parameter is INVALID_INPUT_PARAMS."""
    assert wire.list(**query).json()["Code"] == "INVALID_INPUT_PARAMS"


def test_list_shows_configuration_on_request(wire):
    """ConfigIni, ConfigYml and SearchSpace come only with IncludeConfigData, secrets masked."""
    created(wire.create(HpoExperimentConfiguration=CONFIGURATION))
    (bare,) = wire.list().json()["Experiments"]
    (full,) = wire.list(IncludeConfigData="True").json()["Experiments"]
    assert "ConfigIni" not in bare
    assert "access_key=********" in full["ConfigIni"]
    assert full["GmtCreateTime"].endswith("Z")


def test_new_experiments_may_show_late(wire, cloud):
    """With `list_lag_seconds`, List and Get do not return a new experiment until then."""
    cloud.behaviour.list_lag_seconds = 30
    experiment_id = created(wire.create())
    assert wire.list().json()["TotalCount"] == 0
    assert wire.get(experiment_id).json()["Code"] == "INVALID_USER_OR_EXP"
    cloud.clock.advance(30)
    assert wire.list().json()["TotalCount"] == 1
    assert wire.get(experiment_id).json()["ExperimentId"] == experiment_id


def test_the_status_follows_the_clock(wire, cloud):
    """CREATED, WAITING, RUNNING and FINISHED depend only on the cloud's time."""
    experiment_id = created(wire.create())
    seen = []
    for _ in range(5):
        seen.append(wire.get(experiment_id).json()["Status"])
        cloud.clock.advance(15 if seen[-1] == "RUNNING" else 3)
    assert seen[:4] == ["CREATED", "WAITING", "RUNNING", "RUNNING"]
    cloud.clock.advance(60)
    assert cloud.experiments[0].status == "FINISHED"


def test_stop_ends_an_experiment(wire, cloud):
    """Stop answers ExpId and TERMINATING, then the experiment is USER_CANCELED; a finished one stays so."""
    experiment_id = created(wire.create())
    answer = wire.put(experiment_id, "stop").json()
    assert (answer["ExpId"], answer["Status"]) == (experiment_id, "TERMINATING")
    cloud.clock.advance(100)
    assert wire.get(experiment_id).json()["Status"] == "USER_CANCELED"
    finished = created(wire.create())
    cloud.clock.advance(100)
    assert wire.put(finished, "stop").json()["Status"] == "FINISHED"


def test_delete_hides_an_experiment(wire, cloud):
    """Get, List and a second delete do not find a deleted experiment; `cloud.experiments` has it."""
    experiment_id = created(wire.create())
    assert "Code" not in wire.put(experiment_id, "delete").json()
    assert wire.get(experiment_id).json()["Code"] == "INVALID_USER_OR_EXP"
    assert wire.list().json()["TotalCount"] == 0
    assert wire.put(experiment_id, "delete").json()["Code"] == "INVALID_USER_OR_EXP"
    assert [experiment.deleted for experiment in cloud.experiments] == [True]


def test_private_experiments_are_private(wire, cloud):
    """Another user sees public experiments only; an administrator sees all."""
    private = created(wire.create())
    public = created(wire.create(Accessibility="PUBLIC"))
    cloud.credentials.register("other", "s", user_id="2")
    cloud.credentials.register("boss", "s", user_id="3", admin=True)
    wire.key = ("other", "s")
    assert [row["ExperimentId"] for row in wire.list().json()["Experiments"]] == [public]
    assert wire.get(private).json()["Code"] == "INVALID_USER_OR_EXP"
    wire.key = ("boss", "s")
    assert wire.list().json()["TotalCount"] == 2


def test_equal_names_make_two_experiments(wire):
    """A create is not idempotent: equal names make two experiments."""
    assert created(wire.create(Name="same")) != created(wire.create(Name="same"))


def test_other_operations_say_that_they_are_not_here(wire):
    """An unsupported operation gets an error in the service's form that names it."""
    answer = wire.pai("GET", "/api/automl/v1/autofe/experiment/sABC", "GetAutofeExperiment")
    assert answer.json()["Code"] == "UNSUPPORTED_OPERATION"
    assert "GetAutofeExperiment" in answer.json()["Message"]


def test_unknown_paths_and_actions(wire):
    """An unknown path is InvalidApi.NotFound, the action of another path InvalidAction.NotFound."""
    unknown = wire.pai("GET", "/api/automl/v1/nothing", "ListHpoExperiments")
    assert (unknown.status_code, unknown.json()["Code"]) == (404, "InvalidApi.NotFound")
    other = wire.pai("GET", "/api/automl/v1/hpo/experiments", "CreateHpoExperiment")
    assert (other.status_code, other.json()["Code"]) == (404, "InvalidAction.NotFound")


def test_ids_in_the_path_are_decoded(wire):
    """An encoded slash belongs to the id, not to the path."""
    assert "'a/b c'" in wire.get("a%2Fb%20c").json()["Message"]


def test_every_answer_carries_its_request_id(wire, cloud):
    """The body's request id is also in the header and in the log."""
    answer = wire.list()
    assert answer.json()["RequestId"] == answer.headers["x-acs-request-id"] == cloud.requests[-1].request_id


def test_a_status_begins_at_its_moment_and_is_known_at_any_time():
    """The last change of an experiment is its present status or its update, whichever is later."""
    time = StandingTime(1_000.0)
    with alilocal.LocalCloud(clock=time) as cloud:
        experiments = cloud.services.paiautoml.experiments
        experiment = experiments.create(Draft("n", None, None, "PRIVATE", (), {}), "c")
        for moment, status, modified in ((999, "CREATED", 1_000), (1_004, "WAITING", 1_002)):
            time.moment = moment
            assert (experiment.status, experiment.gmt_modified_time) == (status, modified)
        experiment.update(Update("new", None, None, None, None, None))
        assert experiment.gmt_modified_time == 1_004
        time.moment = 1_005
        assert (experiment.status, experiment.gmt_modified_time) == ("RUNNING", 1_005)
