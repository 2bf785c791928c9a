"""`hpoq init` writes a request that is explained, valid, and what was asked for."""

import json
import re

import pytest
from click.testing import CliRunner

import hpoqctl.init
from hpoqctl.app import app
from hpoqctl.files import read_requests

OPTIONS = [
    "--platform",
    "DLC",
    "--command",
    "dlc submit pytorch --command='python train.py --lr=${lr} --opt=${opt}'",
    "--param",
    "lr=loguniform:1e-4:0.1",
    "--param",
    "opt=choice:adam,sgd",
    "--metric",
    r"val_loss=([0-9\.]+)",
    "--key",
    "k",
]


def read(path):
    """Return the document in a YAML file."""
    (document,) = read_requests([str(path)])
    return json.loads(document.data)


def test_options_become_a_valid_request(hpoq_json, tmp_path):
    """The file has what the options say, causes no warning, and names the schema that lies beside it."""
    path = tmp_path / "new" / "request.yaml"
    code, document = hpoq_json("init", path, *OPTIONS)
    (file,) = document["files"]
    assert (code, file["valid"], file["warnings"]) == (0, True, [])
    request = read(path)
    config = request["experiment"]["HpoExperimentConfiguration"]
    assert request["idempotencyKey"] == "k"
    assert config["search_space"] == {
        "${lr}": {"_type": "loguniform", "_value": [0.0001, 0.1]},
        "${opt}": {"_type": "choice", "_value": ["adam", "sgd"]},
    }
    assert config["metric_config"]["metric_dict"] == {r"val_loss=([0-9\.]+)": 1}
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=request.schema.json\n")
    assert "    # Where the trials run, and the commands of one trial.\n    platform_config:\n" in text
    assert json.loads((path.parent / "request.schema.json").read_text())["title"] == "hpoq request"


@pytest.mark.parametrize("platform", ["MaxCompute", "paiflow"])
def test_other_platforms_get_their_section(hpoq_json, tmp_path, platform):
    """A request for MaxCompute or paiflow has the section that the platform needs."""
    words = ["--command", "PAI -name x -Dk=${k}" if platform == "MaxCompute" else "run ${k}"]
    words += ["--metric-type", "table", "--metric-source", "select score from t;", "--metric", "score"]
    path = tmp_path / "request.yaml"
    code, document = hpoq_json("init", path, "--platform", platform, "--param", "k=randint:1:9", *words)
    assert (code, document["files"][0]["violations"]) == (0, [])
    assert "platform.config" not in {one["rule"] for one in document["files"][0]["warnings"]}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--platform", "DLC"], "Missing: --command, --param, --metric."),
        (["--param", "lr=loguniforn:1:2"], "did you mean loguniform?"),
        (["--param", "lr=uniform:1"], "uniform needs the numbers low:high"),
        (["--param", "lr=uniform:a:b"], "uniform needs the numbers low:high"),
        (["--param", "lr"], "is not of the form NAME=TYPE"),
        (["--param", "lr=choice"], "a choice needs values"),
    ],
)
def test_wrong_options_are_explained(hpoq, tmp_path, words, problem):
    """Wrong usage says what is wrong and what the form is, and writes nothing."""
    done = hpoq("init", tmp_path / "request.yaml", *words)
    assert done.returncode == 2
    assert problem in done.stderr.decode()
    assert not list(tmp_path.iterdir())


def test_the_default_key_is_unique(hpoq, tmp_path):
    """Two colleagues who write a request of the same name on the same day get different keys."""
    keys = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "request.yaml"
        assert hpoq("init", path, *OPTIONS[: OPTIONS.index("--key")]).returncode == 0
        keys.append(read(path)["idempotencyKey"])
    assert keys[0] != keys[1]
    assert all(re.fullmatch(r"request-\d{4}-\d{2}-\d{2}-[a-z]{5}", key) for key in keys), keys


def test_an_existing_file_is_kept(hpoq, tmp_path):
    """A file is replaced only with --force."""
    path = tmp_path / "request.yaml"
    path.write_text("mine")
    assert hpoq("init", path, *OPTIONS).returncode == 2
    assert path.read_text() == "mine"
    assert hpoq("init", path, *OPTIONS, "--force").returncode == 0


def test_a_terminal_is_asked(monkeypatch, tmp_path):
    """On a terminal each missing part is asked for, with a default; a wrong parameter is asked for again."""
    monkeypatch.setattr(hpoqctl.init, "_is_terminal", lambda: True)
    path = tmp_path / "request.yaml"
    answers = ["dlc", "mnist", "", "lr=uniforn:0:1", "lr=uniform:1:0", "lr=uniform:0:1", "", "", ""]
    answers += ["maximize", "12", "3", "cn-beijing", "345", "mine"]
    done = CliRunner().invoke(hpoqctl.init.command, [str(path)], input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    assert "did you mean uniform?" in done.output
    assert "low must be at most high" in done.output
    request = read(path)
    experiment = request["experiment"]
    config = experiment["HpoExperimentConfiguration"]
    run, platform = config["yml_config"], config["platform_config"]
    assert (experiment["Name"], run["max_trial_number"], run["trial_concurrency"]) == ("mnist", 12, 3)
    assert (platform["name"], platform["cmd"][0].split()[0]) == ("DLC", "dlc")
    assert (config["dlc_config"], experiment["WorkspaceId"]) == ({"region": "cn-beijing"}, "345")
    assert request["idempotencyKey"] == "mine"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([], "then hpoq send --wait "),
        (["--platform", "LOCAL"], "then hpoq try "),
        (["--key", "k" * 256], "Next: correct "),
    ],
)
def test_the_next_step_fits_the_request(tmp_path, changes, said):
    """What runs here is tried here, and a request that is invalid is corrected before anything else."""
    path = tmp_path / "r.yaml"
    done = CliRunner().invoke(app, ["init", str(path), *OPTIONS, *changes])
    assert said in done.stderr
    assert ("20 trials" in done.stdout) is (done.exit_code == 0)


@pytest.mark.parametrize(("command", "hints"), [("train --lr= --opt=", 2), ("train --lr=${lr} --opt=", 1)])
def test_a_placeholder_that_the_shell_has_replaced(tmp_path, command, hints):
    """If a command lacks a placeholder, a hint says that a shell replaces it in double quotes."""
    words = ["--command", f"dlc submit pytorch --command='{command}'", *OPTIONS[4:]]
    done = CliRunner().invoke(app, ["init", str(tmp_path / "r.yaml"), "--platform", "DLC", *words])
    assert done.stderr.count("In double quotes, a shell replaces ${") == hints
    assert r"replaces ${opt} with nothing: write \${opt} there, or use single quotes." in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--param", "lr=uniform:1:2"], "--param gives lr twice"),
        (["--param", "x=quniform:1"], "quniform needs the numbers low:high:q, as in x=quniform:1:10:2"),
        (["--param", "x=uniform:0:inf"], "x: uniform needs the numbers low:high, as in x=uniform:1:10"),
        (["--param", "x=uniform:nan:1"], "x: uniform needs the numbers low:high, as in x=uniform:1:10"),
        (["--param", "x=uniform:2:1"], "x: low must be at most high; swap them"),
        (["--param", "x=loguniform:0:1"], "x: low of loguniform must be greater than 0"),
        (["--trials", "many"], "'many' is not a valid whole number"),
    ],
)
def test_an_invalid_option_is_explained(tmp_path, words, problem):
    """Nothing is taken silently, and nothing is written."""
    done = CliRunner().invoke(app, ["init", str(tmp_path / "r.yaml"), *OPTIONS, *words])
    assert (done.exit_code, problem in done.output) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("choice:007,1_000,+5,.5,1e3", ["007", "1_000", 5, 0.5, 1000.0]),
        ("choice:1.,0,-0.1,e5,.", [1.0, 0, -0.1, "e5", "."]),
        ("randint:1e1:1e2", [10, 100]),
        ("randint:1:5.0", [1, 5]),
    ],
)
def test_values_of_a_parameter(tmp_path, spec, values):
    """What has a meaning beside its number is text, and the bounds of an integer are written as integers."""
    path = tmp_path / "r.yaml"
    done = CliRunner().invoke(app, ["init", str(path), *OPTIONS, "--param", f"x={spec}"])
    assert (done.exit_code, "search-space.number" in done.output) == (0, False), done.output
    space = read(path)["experiment"]["HpoExperimentConfiguration"]["search_space"]
    written = space["${x}"]["_value"]
    assert [(type(one), one) for one in written] == [(type(one), one) for one in values]
