"""The words with which findings explain themselves."""

import pytest

from hpoq.contract.finding import Hints, describe_type


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


def test_only_the_first_misspelt_words_are_compared():
    """A hostile message can misspell one with every few bytes; an empty word costs nothing."""
    hints = Hints(most=1)
    assert hints.suggest("", ["Name"]) == ""
    assert hints.suggest("Nmae", ["Name"]) != ""
    assert hints.suggest("Nmae", ["Name"]) == ""
