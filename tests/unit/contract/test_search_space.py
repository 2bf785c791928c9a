"""What is found in a search space: where each rule begins and ends, and what its message proposes."""

import pytest

from hpoq.contract.finding import Hints
from hpoq.contract.search_space import ARITY, TYPES, check_space, names_in


def check(spec, hints=None):
    """Return the findings about the entry `spec`: rule, pointer in the entry, whether it rejects, and message."""
    found = list(check_space({"x": spec}, "/s", hints))
    assert all(one.violation.pointer.startswith("/s/x") for one in found)
    return [
        (
            one.violation.rule.removeprefix("search-space."),
            one.violation.pointer.removeprefix("/s/x"),
            one.rejects,
            one.violation.message,
        )
        for one in found
    ]


def places(spec):
    """Return rule and pointer of each finding, with an exclamation mark if it rejects."""
    return [f"{rule}{'!' if rejects else ''} {pointer}".strip() for rule, pointer, rejects, _ in check(spec)]


def message(spec, hints=None):
    """Return the message of the only finding."""
    ((_, _, _, text),) = check(spec, hints)
    return text


MAY_CONFUSE = "may confuse the engine, which documents numbers or strings, or only objects with _name"
# As NNI documents them, https://nni.readthedocs.io/en/stable/hpo/search_space.html.
SIGNATURES = [
    "randint low high",
    "uniform low high",
    "quniform low high q",
    "loguniform low high",
    "qloguniform low high q",
    "normal mu sigma",
    "qnormal mu sigma q",
    "lognormal mu sigma",
    "qlognormal mu sigma q",
]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_the_items_of_each_type_are_those_of_the_engine(signature):
    """A `_value` of another length, or that is not an array, is rejected with the items that the type has."""
    kind, *names = signature.split()
    form = f"[{', '.join(names)}]"
    assert places({"_type": kind, "_value": [1, 3, 1][: len(names)]}) == []
    for value in ([], [1], [1] * (len(names) + 1)):
        assert check({"_type": kind, "_value": value}) == [
            ("arity", "/_value", True, f"_value of {kind} must be {form}")
        ]
    for value, name in ((7, "a number"), ("1", "a string"), ({}, "an object"), (None, "null")):
        assert check({"_type": kind, "_value": value}) == [
            ("arity", "/_value", True, f"_value must be an array {form}, not {name}")
        ]


def test_the_types_are_those_of_the_engine():
    """A type that the engine has is accepted as NNI writes it; the message about another one lists all."""
    assert {*TYPES} == {"choice", *(line.split()[0] for line in SIGNATURES)}
    assert {*ARITY} == {*TYPES} - {"choice"}
    for kind in ("quite", "Uniform", "", 7, None, ["choice"], {"choice": 1}):
        ((rule, pointer, rejects, text),) = check({"_type": kind, "_value": [1, 2]})
        assert (rule, pointer, rejects) == ("type", "/_type", True)
        assert text.startswith(f"_type must be one of {', '.join(TYPES)}")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("choice", "categorical discrete grid grid_search values list bool Categorical ordinal choices"),
        ("randint", "int integer range INT uniformint uniform_int int_uniform UniformIntegerParameterRange"),
        ("quniform", "qrandint quantized_uniform"),
        ("qloguniform", "lograndint qlograndint quantized_log_uniform"),
        ("uniform", "float double real continuous Double uniform_float interval"),
        ("loguniform", "log log_float reverse_log LOG LogUniformParameterRange"),
        ("qnormal", "normal_int normal_integer"),
        ("normal", "normal_float gaussian"),
    ],
)
def test_words_of_other_tools_are_understood(kind, words):
    """A type as other tools for hyperparameter searches and programming languages call it is followed by NNI's."""
    for word in words.split():
        assert message({"_type": word, "_value": [1, 2]}).endswith(f"; did you mean {kind}?")


@pytest.mark.parametrize("kind", ["Uniform", "none", None, ["choice"]])
def test_a_value_that_is_no_array_is_reported_beside_an_unknown_type(kind):
    """Otherwise the request would be rejected once more after its type has been corrected."""
    found = check({"_type": kind, "_value": "0,1"})
    assert [(rule, pointer) for rule, pointer, *_ in found] == [("type", "/_type"), ("arity", "/_value")]
    assert found[1][3] == "_value must be an array, not a string"


def test_a_misspelt_type_is_compared_as_long_as_there_are_hints():
    """The hints that are passed count the words of a whole document; without them a search space has its own."""
    spec = {"_type": "uniforn", "_value": [1, 2]}
    hints = Hints(most=1)
    assert message(spec, hints).endswith("; did you mean uniform?")
    assert "did you mean" not in message(spec, hints)
    assert message(spec).endswith("; did you mean uniform?")
    assert "did you mean" not in message({**spec, "_type": 7})
    nested = {"_type": "choice", "_value": [{"_name": "n", "y": spec}]}
    assert "did you mean" not in message(nested, hints)


@pytest.mark.parametrize(
    ("spec", "ending"),
    [
        ([1, 2, 3], 'not an array; write {"_type": "choice", "_value": [...]}'),
        ([1, 2], 'for a range, or {"_type": "choice", "_value": [...]} for these two values'),
        ("choice", "not a string"),
        (None, "not null"),
        ({}, "must have _type and _value"),
        ({"note": 1}, "must have _type and _value"),
        ({"_type": "choice"}, "_value; _value is missing"),
        ({"_type": ["normal"]}, "; _value is missing"),
        ({"_type": "normal", "mu": 0}, '_value is missing; write {"_type": "normal", "_value": [mu, sigma]}'),
        ({"uniform": [0, 1]}, '; write {"_type": "uniform", "_value": [...]}'),
        ({"log-uniform": [1, 2]}, '; write {"_type": "loguniform", "_value": [...]}'),
        ({"uniform": [0, 1], "note": 1}, "must have _type and _value"),
        ({"uniform": 1}, "must have _type and _value"),
        ({"minimum": 1, "maximum": 2}, '; write {"_type": "uniform", "_value": [minimum, maximum]}'),
        ({"lower_bound": 1, "upper_bound": 2}, '"uniform", "_value": [lower_bound, upper_bound]}'),
        ({"_value": [1]}, "_value; _type is missing"),
        ({"type": "choice", "value": [1]}, "; write _type and _value, with an underscore"),
        ({"type": "choice", "_value": [1]}, "; write _type, with an underscore"),
        ({"_type": "choice", "value": [1]}, "; write _value, with an underscore"),
        ({"type": "choice", "values": [1]}, "; write _type and _value"),
        ({"_Type": "choice", "__value": [1]}, "; write _type and _value"),
        ({"type_": "choice", "note": 1}, "; write _type; _value is missing"),
        ({"value": [1, 2]}, "; write _value, with an underscore; _type is missing"),
        ({"_type": "choice", "VALUES": [1]}, "; write _value"),
        (
            {"type": "float", "low": 1, "high": 2, "log": True},
            '{"_type": "loguniform", "_value": [low, high]}',
        ),
        (
            {"type": "qloguniform", "lower": 1, "upper": 2, "q": 1},
            '"qloguniform", "_value": [lower, upper, q]}',
        ),
        ({"distribution": "log_uniform_values", "min": 1, "max": 2}, '"loguniform", "_value": [min, max]}'),
        (
            {"_type": "int", "min_value": 1, "maxValue": 2},
            '"randint", "_value": [min_value, maxValue]}; maxValue is excluded',
        ),
        ({"type": "int", "low": 1, "high": 2, "log": True}, '"qloguniform", "_value": [low, high, q]}'),
        *(
            ({"MinValue": 1, "MaxValue": 2, name: scale}, f'"{kind}", "_value": [MinValue, MaxValue]}}')
            for name, scale, kind in [
                ("ScalingType", "Logarithmic", "loguniform"),
                ("ScalingType", "Linear", "uniform"),
                ("scaleType", "UNIT_LOG_SCALE", "loguniform"),
                ("scale", 10, "uniform"),
            ]
        ),
        ({"min": 1, "max": 2}, '; write {"_type": "uniform", "_value": [min, max]}'),
        ({"grid_search": [1, 2]}, '; write {"_type": "choice", "_value": [...]}'),
        ("tune.loguniform(1e-4, 0.1)", '; write {"_type": "loguniform", "_value": [low, high]}'),
        ("trial.suggest_float('x', 0, 1)", '; write {"_type": "uniform", "_value": [low, high]}'),
        ("trial.suggest_float('x', 1, 2, log=True)", '"_type": "loguniform", "_value": [low, high]}'),
        ("trial.suggest_int('x', 1, 2, log=True)", '"_type": "qloguniform", "_value": [low, high, q]}'),
        ("trial.suggest_int('x', 1, 2)", '"randint", "_value": [low, high]}; high is excluded'),
        ("hp.Float('x', 1, 2, sampling='log')", '"_type": "loguniform", "_value": [low, high]}'),
        ("hp.loguniform('x', -5, 0)", "[low, high]}; write the bounds themselves, not their logarithms"),
        ("hp.lognormal('x', 0, 1)", '; write {"_type": "lognormal", "_value": [mu, sigma]}'),
        (3, 'not a number; write {"_type": "choice", "_value": [...]}'),
        (True, 'not a boolean; write {"_type": "choice", "_value": [...]}'),
        ([1e-6, 0.1, "log-uniform"], '; write {"_type": "loguniform", "_value": [...]}'),
        ({"lr": {"_type": "choice", "_value": [1]}}, "in another object; remove that level"),
        ({"lr": {"values": [1, 2]}, "k": {"min": 1, "max": 2}}, "in another object; remove that level"),
        ({"value": 3}, '; write {"_type": "choice", "_value": [...]}'),
        ({"lower": 1, "upper": 2, "sampler": "loguniform"}, '"loguniform", "_value": [lower, upper]}'),
        ({"type": "int", "low": 2, "high": 9, "step": 2}, '"quniform", "_value": [low, high, step]}'),
        (
            {"type": "int", "low": 2, "high": 9, "step": 1},
            '"randint", "_value": [low, high]}; high is excluded',
        ),
        *(
            ({"name": f"{word}Distribution", "attributes": {"low": 1, "high": 2, "log": is_log}}, ending)
            for word, is_log, ending in [
                ("Float", False, '"uniform", "_value": [low, high]}'),
                ("Float", True, '"loguniform", "_value": [low, high]}'),
                ("Int", False, '"randint", "_value": [low, high]}; high is excluded'),
                ("IntLogUniform", False, '"qloguniform", "_value": [low, high, q]}'),
            ]
        ),
        *(
            (spec, '; write {"_type": "choice", "_value": [...]}')
            for spec in [
                {"name": "CategoricalDistribution", "attributes": {"choices": [1]}},
                {"parameterType": "categorical", "feasibleSpace": {"list": ["a"]}},
                {"discreteValueSpec": {"values": [1]}},
                {"Name": "eta", "Values": [1]},
                {"values": [1]},
            ]
        ),
        (
            {"parameterType": "double", "feasibleSpace": {"min": "1", "max": "2"}},
            '"uniform", "_value": [min, max]}',
        ),
        (
            {"parameterType": "int", "feasibleSpace": {"min": "1", "max": "9", "step": "2"}},
            '"quniform", "_value": [min, max, step]}',
        ),
        (
            {"doubleValueSpec": {"minValue": 1, "maxValue": 2}, "scaleType": "UNIT_LOG_SCALE"},
            '"loguniform", "_value": [minValue, maxValue]}',
        ),
        ({"integer_value_spec": {"min_value": 1, "max_value": 2}}, "max_value]}; max_value is excluded"),
        ("nothing(1)", "not a string"),
        ("hp.quloguniform('x', 1, 2)", "not a string"),
        ("tune.choice([1, 2])", '; write {"_type": "choice", "_value": [...]}'),
        ("choice([1, 2], discrete=True)", '; write {"_type": "choice", "_value": [...]}'),
        ("normal(0, 1, discrete=True)", '; write {"_type": "qnormal", "_value": [mu, sigma, q]}'),
        (' {"_type": "choice", "_value": [1]}', "; write the object itself, not a string that contains it"),
        ({"min": 0, "max": 1}, '"uniform", "_value": [min, max]}'),
        ({"kind": "int", "min": 0, "max": 9}, "[min, max]}; max is excluded"),
        *(
            ({"type": "int", name: [1, 9]}, '"randint", "_value": [low, high]}; high is excluded')
            for name in ("bound", "range", "interval", "limits")
        ),
        ("optuna.categorical('x', [1], log=True)", '; write {"_type": "choice", "_value": [...]}'),
        ([0, "uniform", 1], '; write {"_type": "choice", "_value": [...]}'),
        ([False, True], '; write {"_type": "choice", "_value": [...]}'),
        ({"lr": {"values": [1, 2]}, "note": "of the optimizer"}, "must have _type and _value"),
        ({"config": [1, 2]}, "must have _type and _value"),
        # Ray Tune, Determined, DeepHyper, Katib, Optuna and Weights & Biases.
        ({"type": "int", "low": 1, "high": 9, "step": "1"}, "[low, high]}; high is excluded"),
        ({"type": "int", "low": 1, "high": 9, "step": 0}, "[low, high]}; high is excluded"),
        ({"type": "float", "low": 1, "high": 9, "step": 0.5}, '"quniform", "_value": [low, high, step]}'),
        (
            {"type": "uniform", "low": 1, "high": 9, "quantum": 2},
            '"quniform", "_value": [low, high, quantum]}',
        ),
        ({"type": "uniform", "low": 1, "high": 9, "q": 2}, '"quniform", "_value": [low, high, q]}'),
        (
            {"type": "float", "low": 1, "high": 9, "step": 2, "log": True},
            '"loguniform", "_value": [low, high]}',
        ),
        (
            {"type": "discrete_uniform", "low": 1, "high": 9, "q": 2, "log": True},
            '"qloguniform", "_value": [low, high, q]}',
        ),
        ({"sampler": "normal", "low": 1, "high": 9}, '"normal", "_value": [low, high]}'),
        ({"parameter_type": "int", "lowerBound": 1, "upperBound": 9}, "upperBound]}; upperBound is excluded"),
        ({"name": "IntDistribution", "low": 1, "high": 9}, "[low, high]}; high is excluded"),
        ({"min": 1, "max": 9, "scale": "log"}, '"loguniform", "_value": [min, max]}'),
        ({"list": [1, 2]}, '; write {"_type": "choice", "_value": [...]}'),
        (["uniform", [0, 1]], '; write {"_type": "uniform", "_value": [...]}'),
        (["uniform", 0, 1], '; write {"_type": "uniform", "_value": [...]}'),
        (["nothing", [0, 1]], "not an array"),
        *(
            (items, '; write {"_type": "choice", "_value": [...]}')
            for items in ([], ["uniform"], ["uniform", "normal"], [1, [2]])
        ),
        (
            [{"name": "lr"}],
            'as a member of search_space, as in {"${lr}": {"_type": ..., "_value": ...}}',
        ),
        ('{"_type": "choice", "_value": [1]}', "; write the object itself, not a string that contains it"),
        ({"class": "Integer", "lower": 1, "upper": 9}, "[lower, upper]}; upper is excluded"),
        (
            {"class_name": "Int", "config": {"min_value": 1, "max_value": 9}},
            "[min_value, max_value]}; max_value is excluded",
        ),
        ({"type": "categorical", "vals": [1, 2]}, '; write {"_type": "choice", "_value": [...]}'),
        *(
            (
                {**more, "type": "log", "minval": low, "maxval": 3},
                "the bounds themselves, not their logarithms",
            )
            for more, low in (({"base": 10}, 1), ({}, -4), ({}, 0))
        ),
        ({"type": "log", "minval": 1, "maxval": 3}, '"loguniform", "_value": [minval, maxval]}'),
        ({"type": "range", "bounds": [1, 5], "value_type": "int"}, "[low, high]}; high is excluded"),
        (
            {"type": "range", "bounds": [1, 5], "value_type": "float", "log_scale": True},
            '"loguniform", "_value": [low, high]}',
        ),
        ({"type": "range", "bounds": [1]}, "; write _type, with an underscore; _value is missing"),
        ("uniform(1, 5, discrete=True)", '"randint", "_value": [low, high]}; high is excluded'),
        ("loguniform(1, 5, discrete=True)", '"qloguniform", "_value": [low, high, q]}'),
        ([1, {"name": "lr"}], "not an array"),
        ({"_value": [1], "low": 1, "high": 2}, "; _type is missing"),
        ({"_type": "uniform", "value": [1, 2], "low": 1, "high": 2}, "; write _value, with an underscore"),
        (
            {"type": "qloguniform", "low": 1, "high": 2, "log": True},
            '"qloguniform", "_value": [low, high, q]}',
        ),
        ({"type": 7, "low": 1, "high": 2}, '; write {"_type": "uniform", "_value": [low, high]}'),
        *(
            ({name: [1, 2]}, '; write {"_type": "choice", "_value": [...]}')
            for name in ("choices", "categories", "options", "sequence")
        ),
    ],
)
def test_an_entry_without_type_or_value(spec, ending):
    """An entry without `_type` and `_value` is rejected; what is missing is named, or what is nearly right."""
    ((rule, pointer, rejects, text),) = check(spec)
    assert (rule, pointer, rejects) == ("spec", "", True)
    assert text.endswith(ending)


@pytest.mark.parametrize(
    ("space", "what"),
    [
        ({"_type": "choice", "_value": [1, 2]}, "_type and _value"),
        ({"_type": "choice"}, "_type"),
        ({"_type": "choice", "x": 1}, "_type"),
        ({"_value": {}, "x": 1, "_type": "choice"}, "_type"),
        ({"_type": {"_type": "choice", "_value": [1, 2]}, "_value": [1, 2]}, "_value"),
    ],
)
def test_a_search_space_without_names(space, what):
    """It is reported once, and what has a name is checked beside it."""
    found = [one.violation for one in check_space(space, "/s")]
    example = '{"${lr}": {"_type": ..., "_value": ...}}'
    text = f"must have names of parameters, not {what}; put a name around both, as in {example}"
    assert (found[0].rule, found[0].pointer, found[0].message) == ("search-space.spec", "/s", text)
    others = [name for name in ("_value", "x") if name in space and not isinstance(space[name], list)]
    assert [one.pointer for one in found[1:]] == [f"/s/{name}" for name in others]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([[1, 2]], "an array in an array; remove the inner brackets"),
        ([[1, 2], [3, 4]], MAY_CONFUSE),
        ([1, None], MAY_CONFUSE),
        ([None], MAY_CONFUSE),
        ([{"a": 1}, 1], MAY_CONFUSE),
        ([{"name": 1}, 1], f"{MAY_CONFUSE}; write _name, with an underscore"),
    ],
)
def test_the_message_about_an_item(items, message):
    """It says which items the engine documents, or what is nearly right."""
    assert check({"_type": "choice", "_value": items})[-1][3] == message


@pytest.mark.parametrize(
    ("kind", "value", "ending"),
    [
        ("choice", 5, "an array, not a number; put it in brackets"),
        ("choice", 0.5, "not a number with a decimal point; put it in brackets"),
        ("choice", True, "not a boolean; put it in brackets"),
        ("choice", "a", "an array, not a string"),
        ("uniform", 5, "an array [low, high], not a number"),
        ("uniform", " [1, 2]", "not a string; write the array itself, not a string that contains it"),
    ],
)
def test_the_message_about_a_value_that_is_no_array(kind, value, ending):
    assert message({"_type": kind, "_value": value}).endswith(ending)


def test_other_members_have_no_effect():
    """Each other member of an entry is warned about, beside what is wrong with the entry itself."""
    spec = {"a": 1, "_type": "choice", "b/c": 2, "_value": []}
    assert places(spec) == ["member /a", "member /b~1c", "empty! /_value"]


NESTED = {"_name": "n", "y": {"_type": "uniform", "_value": [2, 1]}}


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([1, 2.5], []),
        (["a", "b"], []),
        ([1], ["bounds /_value"]),
        (["a"], ["bounds /_value"]),
        ([True], ["bounds /_value", "boolean /_value/0"]),
        ([], ["empty! /_value"]),
        ([1, "a"], ["mixed /_value"]),
        (["a", 1.5, 2], ["mixed /_value"]),
        ([True, 2], ["boolean /_value/0"]),
        ([1, False], ["boolean /_value/1"]),
        (["a", False], ["boolean /_value/1", "mixed /_value"]),
        ([1, None, [2]], ["choice /_value/1", "choice /_value/2"]),
        (["a", None], ["choice /_value/1"]),
        ([{"y": 1}, 2, {"z": 1}], ["choice /_value/0", "choice /_value/2"]),
        ([NESTED], ["bounds! /_value/0/y/_value"]),
        ([{"_name": "m"}, NESTED], ["bounds! /_value/1/y/_value"]),
        (
            [NESTED, NESTED],
            ["repeated /_value/1/_name", "bounds! /_value/0/y/_value", "bounds! /_value/1/y/_value"],
        ),
        ([{"_name": "m"}, {"_name": "n"}, {"_name": "m"}], ["repeated /_value/2/_name"]),
        ([NESTED, {"y": 1}], ["choice /_value/0", "choice /_value/1"]),
        ([NESTED, "a"], ["choice /_value/0"]),
        ([{"_name": 1}], ["choice /_value/0/_name"]),
        ([{"_name": "n", "y": 1}], ["spec! /_value/0/y"]),
        ([1, 2, 1, 1], ["repeated /_value/2", "repeated /_value/3"]),
        (["a", "a"], ["repeated /_value/1"]),
        ([1.5, 1.5], ["repeated /_value/1"]),
        ([1, 1.0], []),
        ([1, "1"], ["mixed /_value"]),
        ([1, True], ["boolean /_value/1"]),
        ([True, True], ["repeated /_value/1", "boolean /_value/0", "boolean /_value/1"]),
        ([None, None], ["choice /_value/0", "choice /_value/1"]),
        ([[1], 3, 3], ["repeated /_value/2", "choice /_value/0"]),
        ([[1, 2]], ["choice /_value/0"]),
        ([None], ["bounds /_value", "choice /_value/0"]),
    ],
)
def test_items_of_a_choice(items, found):
    """An item is a number or a string, and occurs once; only if all items have a `_name` they are nested choices."""
    assert places({"_type": "choice", "_value": items}) == found


def test_the_messages_about_one_item_and_about_repeated_items():
    """They say what the consequence is."""
    assert message({"_type": "choice", "_value": [1]}) == "one item, so there is only one value"
    repeated = {"_type": "choice", "_value": [1, 2, 2]}
    assert message(repeated) == "the same value as before; it is only drawn more often"
    named = {"_type": "choice", "_value": [{"_name": "m"}, {"_name": "m"}]}
    assert message(named) == "the same _name as before; results do not show which of them was chosen"


def test_a_boolean_is_shown_as_the_engine_inserts_it():
    """The engine inserts `True` and `False` into commands, with a capital letter."""
    assert " True," in message({"_type": "choice", "_value": [True, 2]})
    assert " False," in message({"_type": "choice", "_value": [1, False]})


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("uniform", [True, 2], "number! /_value/0"),
        ("uniform", [0, None], "number! /_value/1"),
        ("quniform", [0, 1, "1"], "number! /_value/2"),
        ("uniform", ["2", 1], "number! /_value/0"),
        ("uniform", [2, [1]], "number! /_value/1"),
        ("randint", [1, 5.0], "number /_value/1"),
        ("randint", [0.0, 5], "number /_value/0"),
        ("randint", [0, 5.5], "number! /_value/1"),
        ("randint", [7.5, 5], "number! /_value/0"),
        ("randint", [0, False], "number! /_value/1"),
    ],
)
def test_bounds_are_numbers(kind, value, found):
    """A bound is a number, for randint an integer; the bounds are not compared if one of them is not a number."""
    assert places({"_type": kind, "_value": value}) == [found]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("uniform", ["1", 2], "low must be a number, not a string; remove the quotes"),
        ("uniform", [".5", 2], "low must be a number, not a string; write 0.5 without quotes"),
        ("qnormal", [0, "-1e3", 1], "sigma must be a number, not a string; remove the quotes"),
        ("quniform", [0, 1, "one"], "q must be a number, not a string"),
        ("uniform", [0, True], "high must be a number, not a boolean"),
        ("randint", ["1.5", 2], "low must be an integer, not a string"),
        ("randint", ["1,5", 2], "low must be an integer, not a string"),
        ("uniform", ["1,5", 2], "low must be a number, not a string; write 1.5 without quotes"),
        ("randint", ["1.0", 2], "low must be an integer, not a string; remove the quotes"),
        ("randint", [None, 1], "low must be an integer, not null"),
        ("randint", [0, 1.5], "high must be an integer"),
        ("randint", [0, 3.0], "high should be written without a decimal point or an exponent"),
    ],
)
def test_the_message_about_a_bound_names_it(kind, value, text):
    """The message has the name of the bound, what it must be and is, and that the quotes of a number must go."""
    assert message({"_type": kind, "_value": value}) == text


@pytest.mark.parametrize(
    ("kind", "value", "found", "words"),
    [
        ("uniform", [0, 1], "", ""),
        ("uniform", [-1, 0], "", ""),
        ("uniform", [2, 1], "bounds! /_value", "at most high; swap them"),
        ("uniform", [-1, -2], "bounds! /_value", "at most high; swap them"),
        ("uniform", [1, 1], "bounds /_value", "equal, so there is only one value"),
        ("uniform", [0, 0], "bounds /_value", "equal, so there is only one value"),
        ("uniform", [1, 2], "", ""),
        ("quniform", [2, 1, 0.5], "bounds! /_value", "swap them"),
        ("randint", [1, 3], "", ""),
        ("randint", [1, 2], "bounds /_value", "high is excluded, so there is only one value"),
        ("randint", [2, 1], "bounds! /_value", "less than high; swap them"),
        ("randint", [2, 2], "bounds! /_value", "less than high; high is excluded"),
        ("loguniform", [0.5, 1], "", ""),
        ("loguniform", [1, 1], "bounds /_value", "equal, so there is only one value"),
        ("loguniform", [0, 1], "bounds! /_value/0", "low of loguniform must be greater than 0"),
        (
            "loguniform",
            [-4, 0],
            "bounds! /_value/0",
            "greater than 0; write the bounds themselves, not their logarithms",
        ),
        ("loguniform", [-4, 0.5], "bounds! /_value/0", "low of loguniform must be greater than 0"),
        ("loguniform", [0, 0], "bounds! /_value/0", "not their logarithms"),
        ("qloguniform", [0, 1, 0.5], "bounds! /_value/0", "low of qloguniform must be greater than 0"),
        ("loguniform", [2, 1], "bounds! /_value", "low must be at most high; swap them"),
        ("loguniform", [1, 0], "bounds! /_value", "low must be at most high, and both greater than 0"),
        (
            "loguniform",
            [-1, -4],
            "bounds! /_value",
            "both greater than 0; write the bounds themselves, not their logarithms",
        ),
        ("normal", [0, 1], "", ""),
        ("normal", [-5, 0.5], "", ""),
        ("normal", [5, 1], "", ""),
        ("normal", [0, 0], "bounds /_value/1", "sigma is 0, so there is only one value"),
        ("normal", [0, -1], "bounds! /_value/1", "sigma must not be less than 0"),
        ("lognormal", [-1, 1], "", ""),
        ("lognormal", [1, -1], "bounds! /_value/1", "sigma must not be less than 0"),
        ("qlognormal", [-1, 1, 0.5], "", ""),
        ("quniform", [0, 1, 0], "step! /_value/2", "q must not be 0: the engine divides by it"),
        ("quniform", [0, 1, -1], "step /_value/2", "q should be greater than 0"),
        ("quniform", [0, 1, 0.5], "", ""),
        ("quniform", [0, 1, 1], "", ""),
        ("quniform", [1, 3, 2], "", ""),
        ("quniform", [1, 3, 2.5], "step /_value/2", "q is larger than the range from low to high"),
        ("quniform", [1, 1, 2], "bounds /_value", "equal, so there is only one value"),
        ("qloguniform", [1, 3, 3], "step /_value/2", "q is larger than the range from low to high"),
        ("qnormal", [0, 1, 5], "", ""),
        ("qnormal", [0, 1, 0.0], "step! /_value/2", "q must not be 0: the engine divides by it"),
        ("quniform", [0.5, 10**399, 1], "bounds! /_value", "cannot compute with numbers this large"),
        ("quniform", [0, 1, 10**399], "bounds! /_value", "cannot compute with numbers this large"),
        ("uniform", [-1.7e308, 1.7e308], "bounds! /_value", "cannot compute with numbers this large"),
        ("uniform", [0, 1.7e308], "", ""),
        ("normal", [10**399, 1], "bounds! /_value", "cannot compute with numbers this large"),
        ("normal", [1e308, 1], "", ""),
        ("loguniform", [5e-324, 1.7e308], "", ""),
        ("lognormal", [710, 1], "bounds! /_value", "mu is the logarithm of the values, not a value"),
        ("lognormal", [700, 1], "", ""),
        ("lognormal", [709.782712893384, 1], "", ""),
        ("randint", [0, 10**19], "bounds! /_value", "cannot compute with numbers this large"),
        ("randint", [-(2**62), 2**62], "", ""),
        ("randint", [-(2**63), 2**62], "bounds! /_value", "cannot compute with numbers this large"),
    ],
)
def test_bounds_and_steps(kind, value, found, words):
    """There must be a value to draw, and should be more than one; a step fits between the bounds."""
    spec = {"_type": kind, "_value": value}
    assert places(spec) == ([found] if found else [])
    assert all(text.endswith(words) for *_, text in check(spec))


def test_a_finding_under_a_very_long_name_is_at_the_search_space():
    """Pointers with a name of more than 1,000 characters could fill the memory."""
    for length, pointer in ((1000, f"/s/{'x' * 1000}/_value"), (1001, "/s")):
        (found,) = check_space({"x" * length: {"_type": "choice", "_value": []}}, "/s")
        assert (found.violation.pointer, found.violation.rule) == (pointer, "search-space.empty")


def test_names_that_a_search_space_replaces():
    """They are the names of its entries and of those in nested choices, whatever else it contains."""
    inner = {"_type": "choice", "_value": [{"_name": "m", "c": 1}]}
    choice = {"_type": "choice", "_value": [{"_name": "n", "b": inner}, {"_name": "o", "d": 1}]}
    space = {"a": choice, "e": {"_type": "choice", "_value": "text"}, "f": 7, "_name": {}}
    assert [*names_in(space)] == ["a", "b", "c", "d", "e", "f", "_name"]
    for other in (1, "x", {"d": 1}):  # then all items are values
        choice["_value"][1] = other
        assert [*names_in(space)] == ["a", "e", "f", "_name"]


def test_only_a_name_without_its_underscore_is_corrected():
    """Other objects may be meant as values."""
    found = check({"_type": "choice", "_value": [{"name": "a"}, {"_name": "b"}, {"rate": 1}, [1]]})
    texts = [text for rule, _, _, text in found if rule == "choice"]
    assert ["write _name" in text for text in texts] == [True, False, False, False]
