"""The types of numbers in options, with names that click's error messages and help texts show."""

from __future__ import annotations

import click


class WholeNumber(click.IntRange):
    """A whole number in a range."""

    name = "whole number"


class Number(click.FloatRange):
    """A number in a range."""

    name = "number"
