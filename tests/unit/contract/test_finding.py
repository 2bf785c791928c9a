"""The words with which findings explain themselves."""

import json
import re

import pytest

from hpoq.contract.finding import (
    Hints,
    ViolationList,
    count_violations,
    describe_type,
    hint_at_quotes,
    note_truncation,
)
from hpoq.errors import Violation


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "a boolean"),
        (1, "a number"),
        (2**63 - 1, "a number"),
        (-(2**63) + 1, "a number"),
        (2**63, "a number of more than 64 bits"),
        (0.5, "a number with a decimal point"),
        ("x", "a string"),
        ([], "an array"),
        ({}, "an object"),
        (None, "null"),
    ],
)
def test_a_type_is_named_as_in_json(value, name):
    assert describe_type(value) == name


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("Nmae", "; did you mean Name?"),
        ("NAME", "; did you mean Name?"),
        ("quite different", ""),
        ("", ""),
        (7, ""),
    ],
)
def test_a_similar_word_is_suggested(word, hint):
    """A word that differs in its case alone goes before one that looks alike."""
    assert Hints().suggest(word, ["NAMES", "Name", "Tag"]) == hint


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("random_search", "random"),
        ("RandomSearch", "random"),
        ("grid-search", "gridsearch"),
        ("tpe2", "tpe"),
        ("gps", None),
        ("randomly", "random"),
    ],
)
def test_a_word_with_another_one_behind_it(word, hint):
    """A name that is the first word of what was written goes before one that has more letters in common."""
    assert Hints().suggest(word, ["gridsearch", "random", "tpe"]) == (
        f"; did you mean {hint}?" if hint else ""
    )


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("FINAL_MODE_BEST", "best"),
        ("mode-avg", "avg"),
        ("final best", "best"),
        ("mode.Final", "final"),
        ("finalModeBest", "best"),
        ("best_x", "best"),
        ("modeavg", None),
        # Only a capital behind a small letter begins a word.
        ("SOMEMODEBEST", None),
        ("SomeModeXBest", None),
        ("SomeModeXaBest", "best"),
        ("modeXBEST", None),
    ],
)
def test_a_word_with_another_one_before_it(word, hint):
    """Some serializers write a value of an enumeration behind the enumeration's name."""
    assert Hints().suggest(word, ["final", "best", "avg"]) == (f"; did you mean {hint}?" if hint else "")


ALIKE = " differ in characters that look the same or cannot be seen"


@pytest.mark.parametrize("word", ["Name ", "Na\u200bme", "\uff2eame", "\ufeffName", "Name\0", "N\u0430me"])
def test_a_word_that_looks_the_same_is_recognized(word):
    """Without the second sentence, the suggestion would seem to be what was written."""
    assert Hints().suggest(word, ["Tag", "Name"]) == (
        "; did you mean Name? The two differ in characters that look the same or cannot be seen"
    )
    for word, hint in [
        ("N\u0430m\u0435", "; did you mean Name? The two"),
        ("Name\u0435", "; did you mean Name?"),
        ("N\u0430mx", ""),
        ("\u952e\u540d\u79f0\u4e00", ""),
    ]:
        assert Hints().suggest(word, ["Name"]).removesuffix(ALIKE) == hint
    assert Hints().suggest("${e\u0301}", ["${\u00e9}"]).startswith("; did you mean ${\u00e9}? The two")


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("name", ["experiment_name", "tuner"], "experiment_name"),
        ("Hyperparameters_Best", ["BEST"], "BEST"),
        ("hyperparametersBest", ["BEST"], "BEST"),
        # A word of two letters is in too many others.
        ("gp_search_space", ["gp"], None),
        ("a_long_name_of_gp", ["gp"], None),
        # A part of an access key is no part of anything else.
        ("accessKey", ["Name"], None),
    ],
)
def test_one_word_of_several_is_recognized(word, known, hint):
    """What was written is one word of a known name, or the other way round."""
    assert Hints().suggest(word, known) == (f"; did you mean {hint}?" if hint else "")


def test_a_member_costs_nothing_once_there_are_no_more_hints(monkeypatch):
    """A hostile message may misspell thousands of members."""
    assert Hints(most=1).suggest_member("Nmae", ["Name"], {}) == "; did you mean Name?"
    monkeypatch.delattr("hpoq.contract.finding._find_almost")
    assert Hints(most=0).suggest_member("Nmae", ["Name"], {}) == ""


def test_a_space_between_two_words_is_seen():
    assert Hints().suggest("Grid Search", ["GridSearch"]) == "; did you mean GridSearch?"


@pytest.mark.parametrize("word", ["tpee", "TPEE", "Tppe"])
def test_letters_are_similar_in_any_case(word):
    assert Hints().suggest(word, ["GridSearch", "TPE"]) == "; did you mean TPE?"


def test_a_beginning_of_several_words_is_compared_by_its_letters():
    assert Hints().suggest("metric", ["metric_type", "metric_source", "metric_dict"]) == (
        "; did you mean metric_type?"
    )
    assert Hints().suggest("out", ["output_config", "out_config"]) == "; did you mean out_config?"


def test_only_the_first_misspelt_words_are_compared():
    """A hostile message can misspell one with every few bytes; an empty word costs nothing."""
    hints = Hints(most=1)
    assert hints.suggest("", ["Name"]) == ""
    assert hints.suggest("Nmae", ["Name"]) != ""
    assert hints.suggest("Nmae", ["Name"]) == ""


def test_words_are_similar_if_two_thirds_of_their_letters_are_the_same():
    """Otherwise a suggestion is more often wrong than right."""
    assert Hints().suggest("abcdxx", ["abcdyy"]) == "; did you mean abcdyy?"
    assert Hints().suggest("abcdxx", ["abcdyyy"]) == ""


def test_a_suggestion_takes_little_time():
    """Only the first 60 characters of a word are compared, and only with the first 100 that it may be."""
    assert (
        Hints().suggest("a" * 30 + "b" * 1000, ["a" * 30]) != ""
    )  # 30 + 30 of 60 + 30 characters are the same
    assert Hints().suggest("a" * 33 + "b" * 1000, ["a" * 33 + "c" * 8]) == ""  # 33 + 33 of 60 + 41
    others = [f"{number:010}" for number in range(100)]
    assert Hints().suggest("Nmae", [*others[:99], "Name"]) != ""
    assert Hints().suggest("Nmae", [*others, "Name"]) == ""


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        *((text, "; remove the quotes") for text in ("0", "-1.5", " 2e-3 ", "1E+2")),
        (".5", "; write 0.5 without quotes"),
        ("-.5", "; write -0.5 without quotes"),
        ("+1", "; write 1 without quotes"),
        ("1.", "; write 1 without quotes"),
        ("05", "; write 5 without quotes"),
        ("+1e300", "; write 1e+300 without quotes"),
        ("1e999", ""),
        ("-1e+999", ""),
        ("+1e999", ""),
    ],
)
def test_a_number_in_quotes_is_one_of_json_without_them(text, hint):
    """Many notations of a number are not JSON, so to remove the quotes would be a second mistake."""
    assert hint_at_quotes(text) == hint
    number = re.search("write (.*) without", hint)
    assert not hint or json.loads(number[1] if number else text) == float(text)


def test_a_list_of_violations_is_cut_at_a_thousand():
    """The others are counted, and a note on them counts as many as it stands for."""
    for count in (999, 1000, 1001, 1002):
        violations = ViolationList()
        for number in range(count):
            violations.add(Violation(f"/{number}", "rule", "wrong"))
        assert [one.pointer for one in violations.kept] == [
            f"/{number}" for number in range(min(count, 1000))
        ]
        assert violations.left_out == max(0, count - 1000)
        assert count_violations([*violations.kept, note_truncation(violations.left_out)]) == count
