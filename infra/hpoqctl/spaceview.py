"""A preview of what a request will do: its trials in one line, its search space with ranges and histograms."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from fcruntime.jsonvalue import JsonObject, JsonValue
from hpoq.contract.finding import get_member, get_object
from hpoq.contract.model import ExperimentRequest
from hpoq.contract.request import ParsedRequest
from hpoq.contract.search_space import ARITY
from hpoq.observability.redaction import redact
from hpoq.observability.secret_names import find_secrets
from hpoq.producer.sampling import draw_samples, render_command

_DRAWS = 1_000
_BINS = 12
_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_MOST_ITEMS = 6
_LONGEST = 40
_TINY = 1e-9
_UNLIMITED = "no limit of trials"


@dataclass(frozen=True)
class ParameterView:
    """One parameter: its range in words, the shape of its draws, and how many values it can have (None: any)."""

    name: str
    type: str
    range: str
    bars: str
    size: int | None

    def as_json(self) -> JsonObject:
        return {"name": self.name, "type": self.type, "range": self.range, "values": self.size}


def describe_plan(configuration: JsonObject) -> str:
    """Return what the experiment does, such as "20 trials, 5 at a time, minimize val_loss"."""
    run = get_object(configuration, "yml_config")
    trials, parallel = run.get("max_trial_number"), run.get("trial_concurrency")
    mode = get_member(run, "tuner", "class_args", "optimize_mode")
    verb = mode if mode in ("maximize", "minimize") else "optimize"
    parts = [f"{trials} {'trial' if trials == 1 else 'trials'}" if trials is not None else _UNLIMITED]
    parts += [f"{parallel} at a time"] if parallel is not None else []
    weights = get_object(configuration, "metric_config", "metric_dict")
    terms = [_describe_term(name, weight, single=len(weights) == 1) for name, weight in weights.items()]
    parts += [f"{verb} {' + '.join(terms)}"] if terms else []
    return ", ".join(parts)


def _describe_term(name: str, weight: JsonValue, *, single: bool) -> str:
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return shown if single and weight == 1 else f"{weight} x {shown}"


def describe_space(space: JsonObject, seed: int) -> list[ParameterView]:
    """Return a view of each parameter of a valid search space; histograms show draws with `seed`."""
    rng = random.Random(seed)  # noqa: S311 - the same seed must give the same draws
    drawn = draw_samples(space, rng, _DRAWS)
    return [_describe(name, spec, [one[name] for one in drawn]) for name, spec in space.items()]


def count_combinations(views: Sequence[ParameterView]) -> int | None:
    """Return the number of combinations of values, or None if a parameter can have any value of its range."""
    sizes = [view.size for view in views]
    return math.prod(size for size in sizes if size is not None) if None not in sizes else None


def format_space(views: Sequence[ParameterView]) -> Iterator[Text]:
    """Yield a line for each parameter, one for the size of the space, and one that explains the bars."""
    names = max((len(view.name) for view in views), default=0)
    ranges = max((len(view.range) for view in views), default=0)
    for view in views:
        yield Text.assemble(f"    {view.name:{names}}  {view.range:{ranges}}  ", (view.bars, "cyan"))
    size = count_combinations(views)
    if views:
        yield Text(f"    {size:,} combinations" if size is not None else "    a continuous space")
        yield Text(
            "    The bars show how often each part of a range is drawn, from the first value to the last."
        )


def _describe(name: str, spec: JsonValue, drawn: Sequence[JsonValue]) -> ParameterView:
    kind = str(get_object(spec).get("_type"))
    value = get_object(spec).get("_value")
    items = value if isinstance(value, list) else []
    if kind == "choice":
        return _describe_choice(name, items, drawn)
    numbers = [_to_float(one) for one in items if isinstance(one, (int, float))]
    bounds = dict(zip(ARITY[kind], numbers, strict=False))
    found = [_to_float(one) for one in drawn if isinstance(one, (int, float))]
    size = _count(kind, bounds)
    few = sorted(set(found)) if size is not None and size <= _BINS else []
    counts = [found.count(one) for one in few] if few else _bin(found, "log" in kind)
    return ParameterView(name, kind, _describe_range(kind, bounds), _draw_bars(counts), size)


def _to_float(number: float) -> float:
    """Return a number as a float; an integer that is too large for one becomes infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _describe_choice(name: str, items: Sequence[JsonValue], drawn: Sequence[JsonValue]) -> ParameterView:
    texts = [_shorten(item) for item in items[:_MOST_ITEMS]]
    more = f", ... ({len(items)} values)" if len(items) > _MOST_ITEMS else ""
    found = [json.dumps(_name_of(one)) for one in drawn]
    counts = [found.count(json.dumps(_name_of(item))) for item in items[:_BINS]]
    nested = [item for item in items if isinstance(item, dict) and "_name" in item]
    size = len(items) if not nested else _count_nested(nested)
    return ParameterView(name, "choice", f"choice of {', '.join(texts)}{more}", _draw_bars(counts), size)


def _count_nested(items: Sequence[Mapping[str, JsonValue]]) -> int | None:
    total = 0
    for item in items:
        inner = {name: spec for name, spec in item.items() if name != "_name"}
        size = count_combinations([_describe(name, spec, []) for name, spec in inner.items()])
        if size is None:
            return None
        total += size
    return total


def _name_of(item: JsonValue) -> JsonValue:
    return item.get("_name") if isinstance(item, dict) and "_name" in item else item


def _shorten(item: JsonValue) -> str:
    name = _name_of(item)
    text = name if isinstance(name, str) else json.dumps(name)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _describe_range(kind: str, bounds: Mapping[str, float]) -> str:
    first, second = (f"{number:g}" for number in list(bounds.values())[:2])
    step = f" in steps of {bounds['q']:g}" if "q" in bounds else ""
    if "normal" in kind:
        what = "log of it around" if "log" in kind else "around"
        return f"{what} {first} +- {second}{step}"
    if kind == "randint":
        return f"{first} to {bounds['high'] - 1:g}, integers"
    scale = ", by magnitude" if "log" in kind else ""
    return f"{first} to {second}{step}{scale}"


def _count(kind: str, bounds: Mapping[str, float]) -> int | None:
    """Return how many values a range has, or None if it has any number of them."""
    step = 1.0 if kind == "randint" else bounds.get("q", 0.0)
    if "normal" in kind or step <= 0:
        return None
    steps = (bounds["high"] - bounds["low"]) / step
    if not math.isfinite(steps):
        return None
    return math.floor(steps + _TINY) + (0 if kind == "randint" else 1)


def _bin(numbers: Sequence[float], is_log: bool) -> list[int]:
    """Count the numbers in equal parts of their range, of the range of their logarithms for `is_log`."""
    scaled = [math.log(one) if is_log and one > 0 else one for one in numbers]
    low, high = min(scaled, default=0.0), max(scaled, default=0.0)
    width = high - low
    counts = [0] * _BINS
    for one in scaled:
        place = (one - low) / width if 0 < width < math.inf else 0.0
        counts[min(int(place * _BINS), _BINS - 1)] += 1
    return counts


def _draw_bars(counts: Sequence[int]) -> str:
    can_show = "utf" in (sys.stdout.encoding or "").lower()
    bars = _BARS if can_show else _ASCII_BARS
    most = max(counts, default=0) or 1
    return "".join(bars[math.ceil(count / most * (len(bars) - 1))] for count in counts)


@dataclass(frozen=True)
class Preview:
    """What a valid request will do: its trials in words, its search space, and draws with their commands."""

    plan: str
    views: Sequence[ParameterView]
    samples: Sequence[JsonObject]

    def lines(self) -> Iterator[Text]:
        """Yield the lines that show the preview."""
        yield Text(f"  {self.plan}", "bold")
        yield from format_space(self.views)
        for number, draw in enumerate(self.samples, 1):
            yield from _format_sample(number, draw)

    def as_row(self) -> JsonObject:
        return {
            "plan": self.plan,
            "space": {
                "parameters": [view.as_json() for view in self.views],
                "combinations": count_combinations(self.views),
            },
            "samples": list(self.samples),
        }


def preview_request(parsed: ParsedRequest, draws: int, seed: int) -> Preview | None:
    """Return the preview of a request, with `draws` draws, or None if it has no configuration."""
    if not isinstance(parsed.request, ExperimentRequest):
        return None
    configuration = parsed.request.experiment.hpo_experiment_configuration
    if configuration is None:
        return None
    document = configuration.wire()
    space = get_object(document, "search_space")
    secrets = set(find_secrets(parsed.document))
    rng = random.Random(seed)  # noqa: S311 - the same seed must give the same draws
    samples: list[JsonObject] = [
        {
            "parameters": dict(values),
            "commands": [
                redact(render_command(command, values), secrets)
                for command in configuration.platform_config.cmd
            ],
        }
        for values in draw_samples(space, rng, draws)
    ]
    return Preview(redact(describe_plan(document), secrets), describe_space(space, seed), samples)


def _format_sample(number: int, draw: JsonObject) -> Iterator[Text]:
    parameters, commands = draw["parameters"], draw["commands"]
    drawn = parameters if isinstance(parameters, dict) else {}
    width = max(map(len, drawn), default=0)
    yield Text(f"  sample {number}")
    for name, value in drawn.items():
        yield Text(f"    {name:{width}}  {json.dumps(value, ensure_ascii=False)}")
    for command in commands if isinstance(commands, list) else []:
        yield Text(f"    $ {command}")
