"""The types of numbers in options, named in plain words where an option is wrong."""

from __future__ import annotations

import click


class WholeNumber(click.IntRange):
    """A whole number in a range."""

    name = "whole number"


class Number(click.FloatRange):
    """A number in a range."""

    name = "number"
