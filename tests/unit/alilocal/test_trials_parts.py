"""Placeholders, metrics, assessor, event files and plans, against values computed by hand."""

import json
import os
import signal
import sys
import types
import warnings

import pytest

from alilocal.trials import host
from alilocal.trials.assessor import Assessor, read_rules
from alilocal.trials.eventfile import SummaryFolder
from alilocal.trials.metrics import JsonFile, Metrics, Reading, read_number
from alilocal.trials.placeholders import fill, variables
from alilocal.trials.plan import command_of, read_plan
from alilocal.trials.record import CommandRecord, Refused
from support.processes import run_program
from support.trials import local_configuration, run_config


def test_a_search_that_takes_too_long_is_given_up(monkeypatch, tmp_path):
    """Otherwise the parent of the trials would not see that the cloud has ended, and outlive it."""
    monkeypatch.setattr(host, "_SEARCH_SECONDS", 0.01)
    order = {"id": "1", "command": ":", "cwd": tmp_path, "env": {}, "keep": 100, "most": 100, "merged": False}
    files = {"output": tmp_path / "output", "errors": tmp_path / "errors"}
    command = host.Command({**order, **files, "patterns": ["x=([0-9])", "(a+)+b"]})
    command.process.communicate()
    before = signal.getsignal(signal.SIGVTALRM)
    assert command.take("stdout", b"x=0\n") == [(0, "0")]
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert command.take("stdout", b"x=1\n" + b"a" * 60 + b"\nx=2\n") == [(0, "1")]
    assert command.is_endless
    assert (command.take("stdout", b"x=3\n"), command.close()) == ([], [])
    assert signal.getsignal(signal.SIGVTALRM) == before


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("--lr ${lr} --flag=${flag}", "--lr 0.1 --flag=True"),
        ("m_${exp_id}_${trial_id}", "m_sabc_xyz1"),
        ("${layers}", "[64, 32]"),
        ("--out ${NNI_OUTPUT_DIR}/m", "--out /tmp/t/m"),
        ("${params}", "lr0.1_flagTrue_layers[64, 32]_plain7"),
        ("${tuner_params_dict}", "${lr}=0.1 ${flag}=True ${layers}=[64, 32] plain=7 "),
        ("${tuner_params_list}", "${lr} 0.1 ${flag} True ${layers} [64, 32] plain 7 "),
        ("${tuner_params_json}", '{"${lr}": 0.1, "${flag}": true, "${layers}": [64, 32], "plain": 7}'),
        ("plain is plain, ${unknown} is unknown", "7 is 7, ${unknown} is unknown"),
    ],
)
def test_placeholders_are_filled_as_by_the_engine(text, filled):
    """Names are replaced literally by `str(value)`, ids are in lower case, unknown placeholders stay."""
    values = {"${lr}": 0.1, "${flag}": True, "${layers}": [64, 32], "plain": 7}
    assert fill(text, values, "sAbC", "Xyz1", "/tmp/t") == filled


def test_variables_have_names_that_a_shell_can_read():
    values = {"${lr}": 0.1, "${a.b-c}": "x", "plain": "nul\0l"}
    assert variables(values) == {"PARAM_lr": "0.1", "PARAM_a_b_c": "x", "PARAM_plain": "null"}


def reading(final="final", source=None, maximize=True, **weights):
    return Reading(weights or {"a": 1.0}, final, source or final, maximize)


def feed(metrics, *values, source=0, name="a"):
    return [metrics.add(source, name, value) for value in values]


@pytest.mark.parametrize(
    ("mode", "maximize", "expected"),
    [("final", True, 2), ("best", True, 5), ("best", False, 1), ("avg", True, 3)],
)
def test_the_final_mode_picks_the_value(mode, maximize, expected):
    """Of 4, 5, 1, 2 the final value is 2, the best 5 or 1, and the average 3."""
    metrics = Metrics(reading(mode, maximize=maximize), 1)
    feed(metrics, 4, 5, 1, 2)
    assert metrics.final() == {"default": expected, "a": expected, "type": "FINAL"}


def test_several_metrics_are_weighted():
    """A step is complete when each metric has one more value: 0.5 * 0.8 - 0.25 * 2 = -0.1."""
    metrics = Metrics(reading("best", auc=0.5, loss=-0.25), 1)
    assert metrics.add(0, "auc", 0.8) is None
    assert metrics.add(0, "loss", 2) == {
        "default": pytest.approx(-0.1),
        "auc": 0.8,
        "loss": 2,
        "type": "PERIODICAL",
    }
    metrics.add(0, "loss", 1)
    metrics.add(0, "auc", 0.6)
    # 0.5 * 0.6 - 0.25 * 1 = 0.05 is better; the metrics of one step stay together.
    assert metrics.final() == {"default": pytest.approx(0.05), "auc": 0.6, "loss": 1, "type": "FINAL"}


@pytest.mark.parametrize(
    ("weights", "values"),
    [({"a": 10}, [1e308]), ({"a": 10, "b": -10}, [1e308]), ({"a": 1}, [1e308, 1e308])],
    ids=["sum", "difference", "average"],
)
def test_a_sum_that_is_not_finite_is_not_a_metric(weights, values):
    """JSON has neither Infinity nor NaN, so that clients could not read them."""
    metrics = Metrics(reading("avg", **weights), 1)
    for value in values:
        rows = [metrics.add(0, name, value) for name in weights]
    assert metrics.final() is None
    assert json.dumps(rows, allow_nan=False)


def test_metrics_with_different_numbers_of_values():
    """The best of each by itself: the largest accuracy, and the smallest loss because its weight is negative."""
    metrics = Metrics(reading("best", acc=1, loss=-1), 1)
    feed(metrics, 3, 1, 2, name="loss")
    feed(metrics, 0.9, name="acc")
    assert metrics.final()["default"] == pytest.approx(0.9 - 1)


@pytest.mark.parametrize(("mode", "expected"), [("avg", 5), ("best", 8), ("final", 2)])
def test_several_sources_are_combined(mode, expected):
    """Of sources whose final values are 8 and 2, the average is 5, the best 8, the final one 2."""
    metrics = Metrics(reading("final", mode), 2)
    feed(metrics, 1, 8)
    feed(metrics, 9, 2, source=1)
    assert metrics.final()["default"] == expected


def test_numbers_that_are_not_finite_are_ignored():
    metrics = Metrics(reading(), 1)
    assert feed(metrics, float("nan"), float("inf")) == [None, None]
    assert metrics.final() is None
    assert metrics.missing == ["a"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", 0.5),
        ("0.97.", 0.97),
        (" 1e-3", 0.001),
        ("-2", -2),
        ("nothing", None),
        ("", None),
        ("1.2.3", None),
    ],
)
def test_numbers_in_output(text, number):
    """A number may be followed by the full stop of a sentence, which `[0-9.]+` also matches."""
    assert read_number(text) == number


def test_a_json_file_is_read_on(tmp_path):
    """An object, a list, or one object per line; only what is new is returned."""
    path = tmp_path / "metrics.json"
    file = JsonFile(path)
    assert list(file.read()) == []
    path.write_text('{"a": 1, "b": "x"}')
    assert list(file.read()) == [("a", 1)]
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": ')
    assert list(file.read()) == [("a", 2)]
    path.write_text('[{"a": 1}, {"a": 2}, {"a": 3, "b": true}]')
    assert list(file.read()) == [("a", 3)]
    path.write_bytes(b"\xff\xfe")
    assert list(file.read()) == []


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"]
)
def test_only_a_regular_file_of_metrics_is_read(tmp_path, make):
    """A command may leave something in its place whose reading would never end."""
    path = tmp_path / "metrics.json"
    make(path)
    program = (
        "import pathlib, resource, sys; from alilocal.trials.metrics import JsonFile;"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30));"
        "print(list(JsonFile(pathlib.Path(sys.argv[1])).read()))"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = run_program(command)
    assert done.stdout == "[]\n", done.stderr


def test_an_integer_beyond_the_range_of_floats_is_not_a_metric(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"a": 10**400, "b": 2}))
    assert list(JsonFile(path).read()) == [("b", 2)]


def write_summaries(folder, **scalars):
    """Write event files with another library than the one that reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(folder)) as writer:
            for step in range(max(map(len, scalars.values()))):
                for tag, values in scalars.items():
                    writer.add_scalar(tag, values[step], step)
            writer.add_text("note", "not a scalar")
            writer.add_histogram("weights", [1, 2, 3], 0)


def test_event_files_of_tensorboard(tmp_path):
    """The scalars that TensorBoard's writer wrote are read, once, and nothing else is taken for one."""
    folder = SummaryFolder(tmp_path)
    assert list(folder.read()) == []
    write_summaries(tmp_path, auc=[0.25, 0.5], loss=[2.0, 1.0])
    assert list(folder.read()) == [("auc", 0.25), ("loss", 2), ("auc", 0.5), ("loss", 1)]
    assert list(folder.read()) == []


def test_an_event_file_that_is_still_written(tmp_path):
    """Up to any byte, the complete records are read, and the rest later; a damaged file is no error."""
    write_summaries(tmp_path / "whole", auc=[0.25, 0.5])
    (file,) = (tmp_path / "whole").iterdir()
    data = file.read_bytes()
    growing = tmp_path / "growing"
    growing.mkdir()
    for size in range(0, len(data), 7):
        folder = SummaryFolder(growing)
        (growing / file.name).write_bytes(data[:size])
        early = list(folder.read())
        (growing / file.name).write_bytes(data)
        assert [*early, *folder.read()] == [("auc", 0.25), ("auc", 0.5)]
    (growing / file.name).write_bytes(data[:30] + b"\0" * 200)
    assert len(list(SummaryFolder(growing).read())) <= 1


TENSOR = bytes.fromhex("0801") + b"\x22\x04" + b"\x00\x00\x20\x40"


def test_a_scalar_as_a_tensor(tmp_path):
    """TensorFlow 2 writes a scalar as a tensor of one number: here 2.5 in `tensor_content`."""
    import struct

    from alilocal.trials.eventfile import masked_crc

    value = b"\x0a\x03acc\x42" + bytes([len(TENSOR)]) + TENSOR
    summary = b"\x0a" + bytes([len(value)]) + value
    event = b"\x10\x01\x2a" + bytes([len(summary)]) + summary
    head = struct.pack("<Q", len(event))
    record = head + struct.pack("<I", masked_crc(head)) + event + struct.pack("<I", masked_crc(event))
    (tmp_path / "events.out.tfevents.1").write_bytes(record)
    assert list(SummaryFolder(tmp_path).read()) == [("acc", 2.5)]


def test_the_checksum_of_a_record():
    """The masked CRC-32C of RFC 3720's vector of 32 zeros, whose CRC is 0x8A9136AA."""
    from alilocal.trials.eventfile import masked_crc

    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def assessed(arguments, *steps, maximize=True):
    """Return the verdicts on steps, each a trial and its metric: whether the trial is to be stopped."""
    assessor = Assessor(read_rules(arguments, [], maximize=maximize))
    return [assessor.assess(trial, metric) is not None for trial, metric in steps]


FOUR = [(1, 0.2), (2, 0.4), (3, 0.6), (4, 0.8)]


@pytest.mark.parametrize(
    ("proportion", "metric", "stopped"),
    [
        # Sorted 0.2, 0.4, 0.6, 0.8: the place is int(3 * proportion).
        (0.5, 0.39, True),
        (0.5, 0.4, False),
        (0.9, 0.59, True),
        (0.9, 0.6, False),
        (0.0, 0.19, True),
        (1.0, 0.79, True),
    ],
)
def test_a_trial_is_compared_with_the_proportion(proportion, metric, stopped):
    """A trial is stopped if its best metric is worse than that of the proportion of the other trials."""
    assert assessed({"proportion": proportion}, *FOUR, (5, metric))[-1] is stopped


@pytest.mark.parametrize(
    ("proportion", "metric", "stopped"),
    # Sorted 0.2, 0.4, 0.6, 0.8: the place is int(4 * proportion).
    [(0.5, 0.61, True), (0.5, 0.6, False), (0.25, 0.41, True), (1.0, 0.81, True), (1.0, 0.8, False)],
)
def test_the_proportion_when_minimizing(proportion, metric, stopped):
    """With minimize, a trial is stopped if its metric is larger."""
    assert assessed({"proportion": proportion}, *FOUR, (5, metric), maximize=False)[-1] is stopped


def test_nothing_is_stopped_before_the_start_step():
    steps = [(1, 0.9), (1, 0.9), (1, 0.9), (2, 0.1), (2, 0.1), (2, 0.1)]
    assert assessed({"start_step": 3}, *steps) == [False] * 5 + [True]


def test_the_best_metric_of_a_trial_counts():
    """A trial that was good once is not stopped for a bad step, and one without others never is."""
    assert assessed({}, (1, 0.5), (1, 0.5), (2, 0.6), (2, 0.1)) == [False] * 4
    assert assessed({}, (1, 0.5), (1, 0.1)) == [False] * 2


def test_moving_averages_are_compared():
    """The other trial reported 0.9 and 0.1: at step 2 the limit is 0.1, with moving averages 0.5."""
    steps = [(1, 0.9), (1, 0.1), (2, 0.95), (2, 0.2), (3, 0.3), (3, 0.4)]
    assert assessed({}, *steps)[-1] is False
    assert assessed({"moving_avg": "true"}, *steps)[-1] is True


def test_a_trial_with_fewer_steps_is_compared_by_its_last_one():
    assert assessed({"start_step": 2}, (1, 0.9), (2, 0.1), (2, 0.2))[-1] is True


def test_patience_runs_out():
    """Three steps in a row that are not the best one stop a trial; a new best one begins the count anew."""
    steps = [(1, one) for one in (5, 4, 4, 6, 5, 5, 5)]
    assert assessed({"patience": 3}, *steps) == [False] * 6 + [True]


def test_early_stop_can_be_switched_off():
    assert not any(assessed({"earlystop": False, "patience": 1}, *FOUR, (5, 0), (5, 0)))


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("dlc submit pytorch --name=t --command='python a.py --lr=0.1' --workers=1", "python a.py --lr=0.1"),
        ("dlc submit tf --command \"echo 'x'\"", "echo 'x'"),
        ("dlc create job --command=ls", "ls"),
        ("echo --command=no", "echo --command=no"),
    ],
)
def test_the_command_of_a_dlc_job(command, runs):
    """The shell runs the --command of a DLC job; any other command of platform DLC is run itself."""
    assert command_of(command, "DLC") == runs
    assert command_of(command, "LOCAL") == command


METRIC = {"metric_config": {"metric_dict": {"loss": 1}}}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"platform_config": {"name": "MaxCompute", "cmd": ["x"]}}, ["MaxCompute", "--simulate-others"]),
        ({"platform_config": {"name": "DLC", "cmd": ["dlc submit x"]}}, ["--command"]),
        ({"platform_config": {"name": "DLC", "cmd": ["dlc submit --command='x"]}}, ["cannot be read"]),
        ({"platform_config": {"name": "LOCAL", "cmd": []}}, ["platform_config.cmd"]),
        ({"metric_config": {"metric_type": "table"}}, ["'table'", "stdout"]),
        ({"metric_config": {"metric_source": ["cmd3"]}}, ["'cmd3'", "number of commands is 1"]),
        (METRIC, ["'loss'", "group"]),
        ({"metric_config": {"metric_dict": {"a=(": 1}}}, ["'a=('", "regular expression"]),
        ({"metric_config": {"metric_dict": {"a=(.)": "x"}}}, ["'x'", "number"]),
        ({"metric_config": {"metric_dict": {}}}, ["metric_dict"]),
        (
            {"metric_config": {"metric_type": "json", "metric_source": ["oss://b/m.json"]}},
            ["oss://b/m.json", "local file"],
        ),
        ({"metric_config": {"final_mode": "worst"}}, ["'worst'"]),
        ({"params_config": {"params_src_dst_filepath": ["a"]}}, ["'a'", "SOURCE,TARGET"]),
        ({"yml_config": {"tuner": {"name": "PBT"}}}, ["'PBT'", "TPE"]),
        ({"yml_config": {"tuner": {"class_args": {"optimize_mode": "up"}}}}, ["'up'", "maximize"]),
        ({"yml_config": {"max_trial_duration": "soon"}}, ["'soon'", "10m"]),
    ],
)
def test_what_cannot_run_here_is_refused_with_its_reason(sections, words):
    """The reason names the value that is wrong, and says what to do."""
    with pytest.raises(Refused) as refused:
        read_plan(local_configuration("echo", **sections))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_what_has_no_effect_is_named_in_the_log():
    """Unknown arguments, ignored sections and defaults are remarks."""
    plan = read_plan(
        local_configuration(
            "echo",
            yml_config={
                "tuner": {"name": "tpe", "class_args": {"temperature": 1, "tpe_args": {"humidity": 1}}},
                "assessor": {"name": "PAIAssessor", "class_args": {"courage": 1}},
            },
            schedule_config={"day": "everyday"},
        )
    )
    text = "\n".join(plan.remarks)
    for word in (
        "temperature",
        "tpe_args.humidity",
        "courage",
        "schedule_config",
        "max_trial_number",
        "optimize_mode",
    ):
        assert word in text
    assert (plan.tuner, plan.number, plan.concurrency, plan.maximize) == ("TPE", 10, 2, False)


@pytest.mark.parametrize(
    ("tuner", "name", "value", "said"),
    [
        ("Evolution", "population_size", "many", "not a whole number of at least 2, so 32 is used"),
        ("Evolution", "population_size", 1, "not a whole number of at least 2, so 32 is used"),
        ("Evolution", "population_size", 2.5, "not a whole number of at least 2, so 32 is used"),
        ("Evolution", "population_size", True, "not a whole number of at least 2, so 32 is used"),
        ("GP", "cold_start_num", -1, "not a whole number of at least 1, so 10 is used"),
        ("Random", "seed", [1], "not a number, so its text is used"),
        (None, "proportion", 2.0, "not a number from 0 to 1, so 0.5 is used"),
        (None, "proportion", "half", "not a number from 0 to 1, so 0.5 is used"),
        (None, "start_step", -5, "not a whole number of at least 0, so 0 is used"),
        (None, "patience", 0, "not a whole number of at least 1, so it is ignored"),
        (None, "moving_avg", "perhaps", "neither true nor false, so false is used"),
        (None, "earlystop", 7, "neither true nor false, so true is used"),
    ],
)
def test_an_argument_that_is_not_used_is_stated(tuner, name, value, said):
    """The log has the value, the rule and what is used instead, of tuners and of the assessor."""
    owner = f"the tuner {tuner}" if tuner else "PAIAssessor"
    sections = {
        "tuner": {"name": tuner or "Random", "class_args": {"optimize_mode": "minimize"}},
        "assessor": {"name": "PAIAssessor", "class_args": {}},
    }
    sections["tuner" if tuner else "assessor"]["class_args"][name] = value
    counts = {"max_trial_number": 3, "trial_concurrency": 1}
    plan = read_plan(local_configuration("echo", yml_config={**counts, **sections}))
    which = "which is " + said
    assert plan.remarks == (f"The argument {name} of {owner} is {value!r}, {which}",)


@pytest.mark.parametrize("value", [8, 8.0])
def test_a_whole_number_may_have_a_decimal_point(value):
    """8.0 is the whole number 8, as in JSON Schema."""
    run = {
        "tuner": {"name": "Evolution", "class_args": {"optimize_mode": "minimize", "population_size": value}}
    }
    counts = {"max_trial_number": 3, "trial_concurrency": 1}
    assert read_plan(local_configuration("echo", yml_config={**counts, **run})).remarks == ()


@pytest.mark.parametrize("section", ["tuner", "assessor"])
def test_an_unknown_direction_is_refused_wherever_it_is(section):
    """The assessor's direction is not guessed if the tuner has a right one."""
    run = {
        "tuner": {"name": "Random", "class_args": {"optimize_mode": "maximize"}},
        "assessor": {"name": "PAIAssessor", "class_args": {"optimize_mode": "maximize"}},
    }
    run[section]["class_args"]["optimize_mode"] = "maximise"
    with pytest.raises(Refused, match="'maximise' is neither maximize nor minimize"):
        read_plan(local_configuration("echo", yml_config=run))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_startup_jobs", "3"),
        ("n_ei_candidates", 0),
        ("n_ei_candidates", 2.5),
        ("prior_weight", -1),
        ("gamma", True),
    ],
)
def test_an_argument_of_tpe_with_a_wrong_value_is_refused(name, value):
    """The reason names the argument and its value, instead of an error of Optuna after some trials."""
    run = run_config(tuner="TPE")
    run["tuner"]["class_args"]["tpe_args"] = {name: value}
    with pytest.raises(Refused, match=rf"tpe_args\.{name} is {value!r}\. Give a"):
        read_plan(local_configuration("echo", yml_config=run))


def test_gp_needs_more_than_optuna(monkeypatch):
    """Without torch the reason names what to install; with it GP is a GPSampler that starts as it is asked to."""
    import optuna

    from alilocal.trials.search import make_tuner
    from alilocal.trials.space import read_space

    space = read_space({"x": {"_type": "uniform", "_value": [0, 1]}})
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Refused, match="pip install scipy torch"):
        make_tuner("GP", {}, space, "", maximize=True)
    for name in ("scipy", "torch"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    made = {}
    monkeypatch.setattr(optuna.samplers, "GPSampler", lambda **options: made.update(options))
    make_tuner("GP", {"seed": 4, "cold_start_num": 3}, space, "", maximize=True)
    assert made == {"seed": 4, "n_startup_trials": 3}


def test_durations_may_have_units():
    run = {**run_config(), "max_trial_duration": "1.5m", "max_experiment_duration": 30}
    plan = read_plan(local_configuration("echo", yml_config=run))
    assert (plan.trial_seconds, plan.experiment_seconds) == (90, 30)


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "exit status 3"), (-11, "ended by SIGSEGV"), (137, "exit status 137, as after SIGKILL")],
)
def test_the_end_of_a_command_is_described_in_words(code, words):
    """An exit status and a signal are distinguished, also a signal that the shell passes on."""
    assert CommandRecord("x", 0, 1, code).outcome == words


def test_the_json_placeholder_is_json():
    assert json.loads(fill("${tuner_params_json}", {"${a}": [1, True]}, "e", "t")) == {"${a}": [1, True]}
