"""fcruntime.dataclass does what the standard library's decorator does."""

import copy
import dataclasses
import functools
import inspect
import pickle
import sys
from dataclasses import field
from typing import ClassVar

import pytest

import fcruntime.dataclass


def classes(**options):
    """Return the same class by the standard decorator and by ours."""

    def made(decorator):
        class Point:
            """A point."""

            x: int
            name: str = field(repr=False)
            near: list = field(default_factory=list)
            weight: float | None = None

        Point.__qualname__ = "Point"
        return decorator(**options)(Point)

    return made(dataclasses.dataclass), made(fcruntime.dataclass.dataclass)


CALLS = [
    ((1, "a"), {}),
    ((1,), {"name": "a"}),
    ((), {"name": "a", "x": 1, "weight": 0.5}),
    ((1, "a", [2], 3.0), {}),
    ((1,), {}),
    ((), {}),
    ((1, "a"), {"name": "b"}),
    ((1, "a"), {"colour": "red"}),
    ((1, "a", [], 0.0, "more"), {}),
]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
@pytest.mark.parametrize("options", [{}, {"frozen": True}], ids=["mutable", "frozen"])
def test_instances(options, args, kwargs):
    """A call makes the same instance, or fails with the same kind of error, under either decorator."""

    def outcome(cls):
        try:
            made = cls(*args, **kwargs)
        except TypeError:
            return TypeError
        assert made == cls(*args, **kwargs)
        assert made != cls(*args, **kwargs | {"weight": 9.0}) if len(args) < 4 else True
        return repr(made), dataclasses.asdict(made), copy.copy(made) == made

    standard, ours = classes(**options)
    assert outcome(ours) == outcome(standard)


def test_any_name_of_a_field():
    """A field may have the name of what the code around it uses."""

    @fcruntime.dataclass.dataclass(frozen=True)
    class Odd:
        self: int
        values: int
        name: str = "n"
        cls: list = field(default_factory=list)

    assert dataclasses.asdict(Odd(self=1, values=2)) == {"self": 1, "values": 2, "name": "n", "cls": []}


def test_a_wrapped_init_stays(monkeypatch):
    """An `__init__` that was replaced before the first instance was made is not replaced again."""
    _, ours = classes()
    seen, init = [], ours.__init__
    monkeypatch.setattr(ours, "__init__", lambda self, *args: seen.append(args) or init(self, *args))
    assert [ours(1, "a"), ours(2, "b")] == [ours(1, "a"), ours(2, "b")]
    assert seen == [(1, "a"), (2, "b")] * 2
    monkeypatch.setattr(fcruntime.dataclass, "_compile_init", None)
    assert ours(3, "c").x == 3


def test_each_instance_has_its_own_default():
    """A default factory is called for every instance."""
    _, ours = classes()
    ours(1, "a").near.append(2)
    assert ours(1, "a").near == []


@pytest.mark.parametrize("decorator", [dataclasses.dataclass, fcruntime.dataclass.dataclass])
def test_no_default_is_shared_by_accident(decorator):
    """A mutable default is refused."""

    class Shares:
        near: list = []  # noqa: RUF012 - the slip itself

    with pytest.raises(ValueError, match="default_factory"):
        decorator(Shares)


def test_frozen():
    """An instance of a frozen class cannot be changed, has a hash, and can be replaced by a changed copy."""
    standard, ours = classes(frozen=True)
    point = ours(1, "a", (), 0.5)
    for change in (
        lambda: setattr(point, "x", 2),
        lambda: setattr(point, "y", 2),
        lambda: delattr(point, "x"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert hash(point) == hash(ours(1, "a", (), 0.5)) == hash(standard(1, "a", (), 0.5))
    assert dataclasses.replace(point, x=2) == ours(2, "a", (), 0.5) != point
    if hasattr(copy, "replace"):  # from Python 3.13 on
        assert copy.replace(point, x=2) == ours(2, "a", (), 0.5)
    assert point != standard(1, "a", (), 0.5)


def test_replace():
    """`replace` does what `dataclasses.replace` does, also for a class that checks its fields."""
    _, ours = classes(frozen=True)
    point = ours(1, "a", [2])
    for replace in (dataclasses.replace, fcruntime.dataclass.replace):
        assert replace(point, x=2, weight=0.5) == ours(2, "a", [2], 0.5)
        assert replace(Derived("x"), more=1) == Derived("x", 1)
        with pytest.raises(ValueError):
            replace(Base("x"), secret="")
        with pytest.raises(TypeError):
            replace(point, colour="red")
    assert point == ours(1, "a", [2])


def test_a_copy_has_no_cached_properties():
    """What a copy derives from its fields is its own."""

    @fcruntime.dataclass.dataclass(frozen=True)
    class Doubled:
        x: int

        @functools.cached_property
        def twice(self):
            return 2 * self.x

    one = Doubled(1)
    assert one.twice == 2
    assert fcruntime.dataclass.replace(one, x=2).twice == 4


def test_mutable():
    """An instance of a class that is not frozen can be changed and has no hash."""
    standard, ours = classes()
    assert ours.__hash__ is standard.__hash__ is None
    point = ours(1, "a")
    point.x = 2
    point.other = 3
    assert point == ours(2, "a")


def test_fields_signature_and_match_arguments():
    """Fields, signature, class attributes and match arguments are those of the standard decorator."""
    standard, ours = classes(frozen=True)
    assert [one.name for one in dataclasses.fields(ours)] == ["x", "name", "near", "weight"]
    given, wanted = (inspect.signature(cls).parameters.values() for cls in (ours, standard))
    assert [one.name for one in given] == [one.name for one in wanted]
    assert ours.weight is standard.weight is None
    assert not hasattr(ours, "near")
    assert [one.default is one.empty for one in given] == [one.default is one.empty for one in wanted]
    assert ours.__match_args__ == standard.__match_args__


@fcruntime.dataclass.dataclass(frozen=True)
class Base:
    """With methods of its own."""

    secret: str

    def __repr__(self):
        return "Base(***)"

    def __post_init__(self):
        if not self.secret:
            raise ValueError


@fcruntime.dataclass.dataclass(frozen=True)
class Derived(Base):
    """With a field more."""

    more: int = 0


def test_methods_of_its_own_stay():
    """A method that the class defines is not replaced."""
    assert repr(Base("x")) == "Base(***)"
    with pytest.raises(ValueError):
        Base("")


def test_a_derived_class():
    """A derived class has the fields of its base first, and can be pickled."""
    assert Derived("x", 2) == Derived(secret="x", more=2) != Derived("x")
    assert Derived("x") != Base("x")
    assert pickle.loads(pickle.dumps(Derived("x", 2))) == Derived("x", 2)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_class_that_the_standard_decorator_derives(frozen):
    """The standard decorator can derive a class; it refuses to mix frozen and mutable ones, as usual."""
    standard, ours = classes(frozen=frozen)
    for base in (standard, ours):
        derived = dataclasses.dataclass(frozen=frozen)(
            type("Derived", (base,), {"__annotations__": {"more": int}, "more": 0})
        )
        made = derived(1, "a", more=2)
        assert (made.x, made.more, made == derived(1, "a", more=2)) == (1, 2, True)
        with pytest.raises(TypeError, match="cannot inherit"):
            dataclasses.dataclass(frozen=not frozen)(type("Derived", (base,), {}))


@pytest.mark.parametrize("decorator", [dataclasses.dataclass, fcruntime.dataclass.dataclass])
def test_a_frozen_class_that_compares_itself_has_a_hash(decorator):
    """A class that defines `__eq__` keeps a hash if it is frozen."""

    class Compares:
        x: int

        def __eq__(self, other):
            return isinstance(other, Compares)

    made = decorator(frozen=True)(Compares)
    assert hash(made(1)) == hash((1,))
    assert decorator(type("Mutable", (), {"__eq__": Compares.__eq__})).__hash__ is None


@pytest.mark.parametrize(
    "option", [{"compare": False}, {"init": False}, {"hash": False}, {"kw_only": True}], ids=str
)
def test_unsupported_options_of_a_field_are_refused(option):
    """An option of `field` that would be ignored is an error."""

    class Point:
        x: int = field(default=0, **option)

    with pytest.raises(TypeError, match=r"Point\.x"):
        fcruntime.dataclass.dataclass(Point)


@pytest.mark.parametrize(
    "annotation", [ClassVar[int], "ClassVar[int]", dataclasses.InitVar[int], "dataclasses.KW_ONLY"], ids=str
)
def test_unsupported_annotations_are_refused(annotation):
    """An annotation that the standard decorator would not make a field of is an error."""
    with pytest.raises(TypeError, match=r"Point\.x"):
        fcruntime.dataclass.dataclass(type("Point", (), {"__annotations__": {"x": annotation}}))


@pytest.mark.parametrize("decorator", [dataclasses.dataclass, fcruntime.dataclass.dataclass])
def test_a_field_without_default_after_one_with_default_is_refused(decorator):
    """A default that could never be used is an error under either decorator."""

    class Point:
        x: int = 0
        y: int

    with pytest.raises(TypeError, match="default"):
        decorator(Point)


@pytest.mark.parametrize("decorator", [dataclasses.dataclass, fcruntime.dataclass.dataclass])
def test_annotations_may_name_what_is_defined_later(decorator):
    """A name that does not exist yet does not keep a class from being made, on every Python that allows it."""
    source = "class Node:\n    value: int\n    next: 'Node | None' = None\n"
    if sys.version_info >= (3, 14):
        source += "    later: NotDefinedYet = None\n"
    names = {}
    exec(source, names)
    node = decorator(names["Node"])
    assert [one.name for one in dataclasses.fields(node)][:2] == ["value", "next"]
    assert node(1, node(2)).next == node(2)


def test_annotations_that_are_text():
    """Under `from __future__ import annotations` every annotation is text."""
    names = {}
    exec("from __future__ import annotations\nclass Node:\n    value: int\n    later: NoName = None\n", names)
    assert [one.name for one in dataclasses.fields(fcruntime.dataclass.dataclass(names["Node"]))] == [
        "value",
        "later",
    ]
