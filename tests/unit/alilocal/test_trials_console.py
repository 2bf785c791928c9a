"""The console's pages of experiments and trials, without a browser."""

import pytest

import alilocal
from alilocal.trials.engine import TrialOptions
from alilocal.trials.runner import Site
from support.trials import local_configuration, run, run_config, start, wait_for

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    # No test has a next experiment.
    monkeypatch.setattr(Site, "prepare_processes", lambda _: None)
    with alilocal.LocalCloud(seed=7, run_trials=TrialOptions(code=tmp_path)) as running:
        yield running


@pytest.fixture
def page(cloud):
    """Return the document of a page of the console."""
    with cloud.session() as session:
        yield lambda path="": session.get(f"{cloud.endpoint}/_alilocal/console{path}").json()


@pytest.fixture
def press(cloud, page):
    """Press a button of a page by its label; returns the status of the call, and what it said."""

    def act(path, section, label, **fields):
        rows = page(path)["sections"][section]["rows"].values()
        buttons = [one for row in rows for one in row[-1]["buttons"] if one["label"] == label]
        with cloud.session() as session:
            url = f"{cloud.endpoint}/_alilocal/{buttons[0]['path']}"
            answer = session.post(url, json={**buttons[0]["fields"], **fields})
        return answer.status_code, answer.json()

    return act


def place_of(experiment, trial=None):
    path = f"/paiautoml/experiment/{experiment.experiment_id}"
    return path if trial is None else f"{path}/trial/{trial.trial_id}"


def test_an_experiment_opens_to_its_trials(cloud, page):
    """The main page links to it; it has leaderboard, both charts, and its log; each trial has its logs."""
    experiment = run(
        cloud,
        "echo accuracy=${x}; echo to-stderr >&2",
        search_space={
            "${x}": {"_type": "choice", "_value": [0.25, 0.75, 0.5]},
            "${kind}": {"_type": "choice", "_value": ["a"]},
        },
        yml_config=run_config(3, 1, "GridSearch"),
    )
    (row,) = page("/experiments")["sections"]["experiments"]["rows"].values()
    assert f"/{row[0]['path']}" == place_of(experiment)
    sections = page(place_of(experiment))["sections"]
    board = sections["leaderboard"]
    metric = board["heads"].index("metric")
    assert [row[metric] for row in board["rows"].values()] == ["0.75", "0.5", "0.25"]
    assert [*board["rows"]] == ["3", "2", "1"]
    assert len(sections["best"]["plot"]["points"]) == len(sections["parallel"]["parallel"]["lines"]) == 3
    assert "Change NNIManager status to FINISHED" in "".join(sections["log"]["lines"].values())
    of_trial = page(place_of(experiment, experiment.run.best))["sections"]
    assert "accuracy=0.75" in of_trial["log-stdout"]["lines"].values()
    assert "to-stderr" in of_trial["log-stderr"]["lines"].values()
    assert "status SUCCEEDED" in "".join(of_trial["log-trial"]["lines"].values())
    assert ["${x}", "0.75"] in of_trial["parameters"]["rows"].values()


def test_a_log_grows_by_its_new_lines(cloud, page):
    """Lines are numbered, so that a reader gets only the new ones; of a long log the newest are shown."""
    experiment = run(cloud, "seq 1 600; echo accuracy=1")
    lines = page(place_of(experiment, experiment.trials[0]))["sections"]["log-stdout"]["lines"]
    assert len(lines) == 500
    assert (lines["600"], lines["601"]) == ("600", "accuracy=1")


def test_the_document_of_a_page_has_every_section(cloud, page):
    """A page reads itself again from the path that it is at, below that of the API."""
    experiment = run(cloud, "echo accuracy=1")
    document = page(place_of(experiment))
    assert document["title"] == f"Experiment {experiment.experiment_id}"
    assert [*document["sections"]] == ["experiment", "best", "parallel", "leaderboard", "log"]
    assert {"cloud", "clock", "tabs"} <= document.keys()
    with cloud.session() as session:
        assert session.get(f"{cloud.endpoint}/_console{place_of(experiment)}").status_code == 200


def test_what_is_hostile_is_data_on_these_pages_too(cloud, page):
    """Markup in names, values, output and reasons is text, whose rendering a test in a browser checks."""
    experiment = run(
        cloud,
        f"echo '{HOSTILE}'; echo accuracy=1",
        search_space={HOSTILE: {"_type": "choice", "_value": [HOSTILE, f"{HOSTILE}2"]}},
        yml_config=run_config(2, 1, "GridSearch"),
    )
    trial = page(place_of(experiment, experiment.trials[0]))["sections"]
    assert HOSTILE in trial["log-stdout"]["lines"].values()
    assert next(iter(trial["parameters"]["rows"].values()))[0] == HOSTILE


def test_buttons_stop_and_restart(cloud, page, press, tmp_path):
    """Stop ends a trial, Restart runs its hyperparameters again, and Stop of the experiment ends everything."""
    experiment = start(cloud, local_configuration("sleep 1008", yml_config=run_config(1, 1)))
    wait_for(cloud, lambda: [one.status for one in experiment.trials] == ["RUNNING"])
    second = start(cloud, local_configuration("sleep 1008", yml_config=run_config(2, 2)))
    wait_for(cloud, lambda: [one.status for one in second.trials] == ["RUNNING"] * 2)
    first = second.trials[0]
    status, answer = press(place_of(second, first), "trial", "Stop")
    assert (status, answer["notice"]) == (200, f"Trial {first.trial_id} is stopped")
    wait_for(cloud, lambda: first.status == "USER_CANCELED")
    press(place_of(second), "leaderboard", "Restart")
    wait_for(cloud, lambda: [one.status for one in second.trials][2:] == ["RUNNING"])
    assert second.trials[2].hyperparameters == first.hyperparameters
    press(place_of(second), "experiment", "Stop")
    wait_for(cloud, lambda: second.status == "USER_CANCELED")
    (row,) = page(place_of(second))["sections"]["experiment"]["rows"].values()
    assert row[-1]["buttons"] == []
    assert experiment.status == "RUNNING"
    experiment.stop()


@pytest.mark.parametrize("fields", [{"experiment": "nobody"}, {"trial": "nobody"}])
def test_a_button_of_an_outdated_page_is_explained(cloud, press, fields):
    """What a button names may be gone; the call says that instead of failing."""
    experiment = start(cloud, local_configuration("sleep 1008", yml_config=run_config(1, 1)))
    wait_for(cloud, lambda: [one.status for one in experiment.trials] == ["RUNNING"])
    status, answer = press(place_of(experiment), "leaderboard", "Stop", **fields)
    assert status == 400
    assert answer["error"]["message"] in (
        "There is no such experiment any more.",
        "The trial has ended already.",
    )


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/other"])
def test_a_button_leads_nowhere_else(cloud, press, back):
    """The answer to a button's call redirects to no other page, whatever the call says."""
    experiment = start(cloud, local_configuration("sleep 1008", yml_config=run_config(1, 1)))
    wait_for(cloud, lambda: [one.status for one in experiment.trials] == ["RUNNING"])
    status, answer = press(place_of(experiment), "experiment", "Stop", back=back)
    assert (status, [*answer]) == (200, ["notice"])


@pytest.mark.parametrize(
    "path",
    ["/paiautoml", "/paiautoml/experiment/nobody", "/paiautoml/x/y", "/smq/experiment/x", "/nothing/x"],
)
def test_a_page_that_does_not_exist_is_not_found(cloud, page, path):
    assert page(path)["error"]["code"] == "NotFound"
    with cloud.session() as session:
        assert session.get(f"{cloud.endpoint}/_console{path}").status_code == 404


def test_a_simulated_experiment_has_its_page_too():
    """Without run_trials the page shows the simulated trials."""
    with alilocal.LocalCloud() as cloud, cloud.session() as session:
        experiment = start(cloud, local_configuration("echo", yml_config=run_config(3)))
        cloud.clock.advance(100)
        for trial in (None, experiment.trials[0]):
            answer = session.get(f"{cloud.endpoint}/_alilocal/console{place_of(experiment, trial)}")
            assert answer.status_code == 200
            assert "SUCCEEDED" in answer.text
        assert "simulated" in session.get(f"{cloud.endpoint}/_alilocal/console{place_of(experiment)}").text
