"""`hpoq init`: write a request from options or from answers on a terminal, with comments, and check it."""

from __future__ import annotations

import json
import math
import re
import secrets
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import Hints, get_object, get_string
from hpoq.contract.search_space import ARITY, TYPES, check_space
from hpoq.producer.build import Parameter, build_request
from hpoqctl.checking import Checked, check_document, format_result
from hpoqctl.files import read_requests
from hpoqctl.numbers import WholeNumber
from hpoqctl.output import console, json_option, notes, print_json
from hpoqctl.schema.members import MEMBERS
from hpoqctl.schema.request import make_request_schema
from hpoqctl.spaceview import describe_plan

_SCHEMA = "request.schema.json"
_REGION, _PROJECT = "cn-hangzhou", "my_project"
_PLATFORMS = ("DLC", "MaxCompute", "paiflow", "LOCAL")
_FORM = "NAME=TYPE:LOW:HIGH or NAME=choice:A,B,C, for example lr=loguniform:1e-4:0.1"
# The objects whose members are explained, by the member that holds them.
_OBJECTS = {
    "experiment": "CreateHpoExperiment",
    "HpoExperimentConfiguration": "HpoExperimentConfig",
    "platform_config": "PlatformConfig",
    "metric_config": "MetricConfig",
    "yml_config": "YmlConfig",
    "tuner": "Tuner",
    "dlc_config": "DlcConfig",
    "odps_config": "OdpsConfig",
    "paiflow_config": "PaiflowConfig",
}
_KEY = "Your name for this request. Sending it again under the same name creates no second experiment."
# Without vowels, so that no words arise, and without characters that are easily confused.
_KEY_LETTERS = "bcdfghjkmnpqrstvwxz"
_METRIC_TYPES = ("stdout", "table", "json", "summary")
_SHELL = "In double quotes, a shell replaces {name} with nothing: write \\{name} there, or use single quotes."
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_WIDTH = 100
_EXAMPLES = {"low": "1", "high": "10", "q": "2", "mu": "0", "sigma": "1"}
_DEFAULT_COMMANDS = {
    "DLC": "dlc submit pytorch --name=job_${exp_id}_${trial_id} --command='python train.py --lr=${lr}'",
    "MaxCompute": "PAI -name kmeans -project algo_public -DinputTableName=t -DcenterCount=${k}",
    "paiflow": "<your pipeline command>",
    "LOCAL": "python3 $NNI_CODE_DIR/train.py --lr ${lr}",
}


class _ParameterType(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A parameter of a search space, such as `lr=loguniform:1e-4:0.1`."""

    name = "NAME=TYPE:..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Parameter]:
        name, equals, spec = str(value).partition("=")
        kind, _, rest = spec.partition(":")
        if not name or not equals:
            self.fail(f"{value!r} is not of the form {_FORM}", param, ctx)
        if kind not in TYPES:
            hint = Hints().suggest(kind, TYPES)
            self.fail(f"{kind!r} is not a type; the types are {', '.join(TYPES)}{hint}", param, ctx)
        items = rest.split("," if kind == "choice" and "," in rest else ":") if rest else []
        values = [_read_value(item.strip()) for item in items]
        if kind == "choice" and not values:
            self.fail(f"{name}: a choice needs values, such as {name}=choice:16,32", param, ctx)
        if kind != "choice" and (len(values) != len(ARITY[kind]) or any(isinstance(v, str) for v in values)):
            wanted, example = ":".join(ARITY[kind]), ":".join(_EXAMPLES[one] for one in ARITY[kind])
            self.fail(f"{name}: {kind} needs the numbers {wanted}, as in {name}={kind}:{example}", param, ctx)
        if kind == "randint":  # 1e3 is an integer, which is to be written as one
            values = [int(one) if isinstance(one, float) and one.is_integer() else one for one in values]
        parameter = Parameter(kind, tuple(values))
        wrong = next((one for one in check_space({name: parameter.as_json()}, "") if one.rejects), None)
        if wrong is not None:
            self.fail(f"{name}: {wrong.violation.message}", param, ctx)
        return name, parameter


def _read_value(text: str) -> JsonValue:
    """Return the number in `text`, or the text if there is none that JSON has.

    What begins with a zero, such as 007, or has an underscore is text, as it is in YAML.
    """
    if not _NUMBER.fullmatch(text):
        return text
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        return text if isinstance(number, float) and not math.isfinite(number) else number
    return text


@dataclass
class _Answers:
    """The options that were given; on a terminal, the others are asked for."""

    given: dict[str, Any]
    is_terminal: bool
    missing: list[str]

    def get(self, option: str, question: str, default: Any, kind: Any = str) -> Any:
        """Return the option, the answer on a terminal, or the default. Without any, note that it is missing."""
        value = self.given[option]
        if value not in (None, ()):
            return value
        if self.is_terminal:
            return click.prompt(question, default=default, type=kind, err=True)
        if default is None:
            self.missing.append(f"--{option.replace('_', '-')}")
        return default

    def get_parameters(self) -> Sequence[tuple[str, Parameter]]:
        """Return the parameters that were given, or those that a person enters until an empty line."""
        found = list(self.given["param"])
        names = [name for name, _ in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise click.UsageError(f"--param gives {twice} twice. Give each parameter once.")
        if not found and not self.is_terminal:
            self.missing.append("--param")
        while self.is_terminal and not self.given["param"]:
            text = click.prompt(
                f"Parameter {len(found) + 1} ({_FORM}; empty to end)",
                default="",
                show_default=False,
                err=True,
            )
            if not text:
                break
            try:
                found.append(_ParameterType().convert(text, None, None))
            except click.BadParameter as exc:
                click.echo(f"  {exc.message}", err=True)
        return found


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe the experiment."""
    for option in reversed(
        (
            click.option("--name", help="The name of the experiment. Default: the name of the file."),
            click.option(
                "--platform",
                help="The platform: DLC, MaxCompute or paiflow; LOCAL runs on this machine, with hpoq try.",
            ),
            click.option(
                "--command", "commands", multiple=True, help="A command of a trial. Can be repeated."
            ),
            click.option(
                "--param", multiple=True, type=_ParameterType(), help="A parameter to vary. Can be repeated."
            ),
            click.option("--metric", help="For stdout, a regular expression with a group around the number."),
            click.option(
                "--metric-type",
                type=click.Choice(_METRIC_TYPES),
                help="Where the metric comes from. Default: stdout.",
            ),
            click.option(
                "--metric-source", multiple=True, help="Where the metric is. Default for stdout: cmd1."
            ),
            click.option(
                "--goal",
                type=click.Choice(["minimize", "maximize"]),
                help="Whether the metric is to be minimized or maximized. Default: minimize.",
            ),
            click.option("--trials", type=WholeNumber(1), help="The number of trials. Default: 20."),
            click.option(
                "--parallel", type=WholeNumber(1), help="How many trials run at the same time. Default: 5."
            ),
            click.option("--region", help=f"The platform's region. Default: {_REGION}."),
            click.option("--project", help=f"The project of MaxCompute. Default: {_PROJECT}."),
            click.option("--workspace", help="The id of the PAI workspace."),
            click.option(
                "--key", help="The idempotencyKey. Default: the name, the date and 5 random letters."
            ),
        )
    ):
        command = option(command)
    return command


@click.command(name="init")
@click.argument("path", default="request.yaml", metavar="[FILE]")
@_options
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def command(path: str, force: bool, as_json: bool, **given: Any) -> None:
    """Write a request to FILE (default: request.yaml) and check it.

    On a terminal, the command asks for what the options leave open. Elsewhere --platform, --command, --param
    and --metric are needed, for example

    \b
        hpoq init --platform DLC --param lr=loguniform:1e-4:0.1 \\
          --command "dlc submit pytorch --command='python train.py --lr=\\${lr}'" \\
          --metric "val_loss=([0-9.]+)" --goal minimize

    Every member is explained by a comment. The JSON Schema of requests is written next to the file, whose first line
    names it, so that editors explain and check members while you write.

    Exit code 1 means that the request is invalid.
    """
    target = Path(path)
    if target.suffix not in (".yaml", ".yml"):
        raise click.BadParameter("give a name that ends with .yaml or .yml", param_hint="FILE")
    if target.exists() and not force:
        raise click.UsageError(f"{path} exists. Give another FILE, or --force to replace it.")
    document = _build(target, _Answers(given, _is_terminal() and not as_json, []))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_write_request(document, schema=_SCHEMA), "utf-8")
    schema = target.with_name(_SCHEMA)
    schema.write_text(json.dumps(make_request_schema(), indent=2) + "\n", "utf-8")
    (checked,) = (check_document(one) for one in read_requests([str(target)]))
    if as_json:
        print_json({"path": str(target), "schema": str(schema), "files": [checked.as_row()]})
    else:
        for line in format_result(checked):
            console().print(line)
        if checked.valid:
            console().print(Text(f"  {describe_plan(_find_configuration(document))}", "bold"))
        if given["commands"]:
            for name in _find_unused(checked):
                notes().print(_SHELL.format(name=name), markup=False)
        notes().print(_suggest_next(path, document, checked), markup=False)
    raise SystemExit(0 if checked.valid else 1)


def _suggest_next(path: str, document: JsonObject, checked: Checked) -> str:
    if not checked.valid:
        return f"Next: correct {path}, then hpoq check {path}"
    name = get_string(_find_configuration(document), "platform_config", "name")
    step = f"hpoq try {path}" if name.upper() == "LOCAL" else f"hpoq send --wait {path}"
    return f"Next: hpoq check --sample 3 {path}, then {step}"


def _find_unused(checked: Checked) -> list[str]:
    """Return the placeholders, such as `${lr}`, of the parameters that no command uses."""
    unused = (one.violation for one in checked.warnings if one.violation.rule == "search-space.unused")
    return [one.pointer.rpartition("/")[2] for one in unused]


def _find_configuration(document: JsonObject) -> JsonObject:
    return get_object(document, "experiment", "HpoExperimentConfiguration")


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # None if it is closed


def _build(target: Path, answers: _Answers) -> JsonObject:
    """Return the request. Raises click.UsageError if options are missing and there is nobody to ask."""
    asks = answers.is_terminal
    platform = str(answers.get("platform", f"Platform ({', '.join(_PLATFORMS)})", "DLC" if asks else None))
    platform = next((one for one in _PLATFORMS if one.lower() == platform.lower()), platform)
    name = str(answers.get("name", "Name of the experiment", target.stem))
    suggested = _DEFAULT_COMMANDS.get(platform, "python train.py") if asks else None
    commands = answers.get("commands", "Command of a trial", suggested)
    parameters = dict(answers.get_parameters())
    kind = str(answers.get("metric_type", "Source of the metric", "stdout", click.Choice(_METRIC_TYPES)))
    metric = answers.get(
        "metric",
        "Metric",
        ("val_loss=([0-9.]+)" if kind == "stdout" else "score") if answers.is_terminal else None,
    )
    goal = answers.get(
        "goal", "Goal: minimize or maximize the metric", "minimize", click.Choice(["minimize", "maximize"])
    )
    trials = answers.get("trials", "Trials", 20, WholeNumber(1))
    parallel = answers.get("parallel", "Trials at the same time", min(5, trials), WholeNumber(1))
    source = answers.given["metric_source"] or (["cmd1"] if kind == "stdout" else [])
    if not source:
        source = [answers.get("metric_source", "Query or path of the metric", None)]
    sections = _choose_sections(platform, answers)
    workspace = answers.get("workspace", "Id of the PAI workspace (empty for none)", "")
    key = answers.get("key", "Your name for this request (idempotencyKey)", _make_key(name))
    if answers.missing:
        missing = ", ".join(name.replace("--commands", "--command") for name in answers.missing)
        raise click.UsageError(f"Missing: {missing}. Give these options, or run hpoq init on a terminal.")
    return build_request(
        name=name,
        platform=platform,
        commands=[commands] if isinstance(commands, str) else list(commands),
        metric=str(metric),
        goal=goal,
        parameters=parameters,
        trials=trials,
        parallel=parallel,
        metric_type=kind,  # type: ignore[arg-type]
        metric_source=[str(one) for one in source],
        workspace_id=workspace or None,
        idempotency_key=key or _make_key(name),
        sections=sections,
    ).document


def _make_key(name: str) -> str:
    """Return a key that differs from that of a colleague who writes a request of the same name on the same day."""
    letters = "".join(secrets.choice(_KEY_LETTERS) for _ in range(5))
    return f"{name}-{datetime.now().astimezone().date()}-{letters}"


def _choose_sections(platform: str, answers: _Answers) -> dict[str, dict[str, JsonValue]]:
    """Return the section that the platform usually needs."""
    kind = platform.lower()
    if kind not in ("dlc", "maxcompute", "paiflow"):
        return {}
    region = str(answers.get("region", "Region of the platform", _REGION))
    if kind == "dlc":
        return {"dlc_config": {"region": region}}
    if kind == "maxcompute":
        project = str(answers.get("project", "Project of MaxCompute", _PROJECT))
        endpoint = f"http://service.{region}.maxcompute.aliyun.com/api"
        return {"odps_config": {"project_name": project, "end_point": endpoint}}
    return {"paiflow_config": {"region_id": region}}


def _write_request(document: JsonObject, *, schema: str) -> str:
    """Return `document` as YAML that an editor checks against the file `schema`."""
    head = f"# yaml-language-server: $schema={schema}\n"
    return head + "".join(f"{line}\n" for line in _write_object(document, "ExperimentRequest", ""))


def _write_object(value: JsonObject, model: str, indent: str) -> Iterator[str]:
    texts = MEMBERS.get(model, {})
    for name, member in value.items():
        text = texts.get(name)
        about = _KEY if name == "idempotencyKey" else text.description if text else None
        if about:
            for line in textwrap.wrap(about, _WIDTH - len(indent)):
                yield f"{indent}# {line}"
        key = name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        if isinstance(member, dict) and member and (name in _OBJECTS or name == "search_space"):
            yield f"{indent}{key}:"
            yield from _write_object(member, _OBJECTS.get(name, ""), f"{indent}  ")
        elif isinstance(member, list) and member and all(isinstance(item, str) for item in member):
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {_write_scalar(item)}" for item in member)
        else:
            yield f"{indent}{key}: {_write_scalar(member)}"


def _write_scalar(value: JsonValue) -> str:
    """Return a value as JSON, which is YAML too; a string with backslashes in single quotes, which keep them."""
    if isinstance(value, str) and "\\" in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)
