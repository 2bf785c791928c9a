"""fcruntime.dataclass does what the standard library's decorator does."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import field

import pytest

import fcruntime.dataclass


def classes(**options):
    """The same class by the standard decorator and by ours."""

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


def test_each_instance_has_its_own_default():
    _, ours = classes()
    ours(1, "a").near.append(2)
    assert ours(1, "a").near == []


@pytest.mark.parametrize("decorator", [dataclasses.dataclass, fcruntime.dataclass.dataclass])
def test_no_default_is_shared_by_accident(decorator):
    class Shares:
        near: list = []  # noqa: RUF012 - the slip itself

    with pytest.raises(ValueError, match="default_factory"):
        decorator(Shares)


def test_frozen():
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


def test_mutable():
    standard, ours = classes()
    assert ours.__hash__ is standard.__hash__ is None
    point = ours(1, "a")
    point.x = 2
    point.other = 3
    assert point == ours(2, "a")


def test_what_is_told_of_it():
    standard, ours = classes(frozen=True)
    assert [one.name for one in dataclasses.fields(ours)] == ["x", "name", "near", "weight"]
    told, wanted = (inspect.signature(cls).parameters.values() for cls in (ours, standard))
    assert [one.name for one in told] == [one.name for one in wanted]
    assert ours.weight is standard.weight is None
    assert not hasattr(ours, "near")
    assert [one.default is one.empty for one in told] == [one.default is one.empty for one in wanted]
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
    assert repr(Base("x")) == "Base(***)"
    with pytest.raises(ValueError):
        Base("")


def test_a_derived_class():
    assert Derived("x", 2) == Derived(secret="x", more=2) != Derived("x")
    assert Derived("x") != Base("x")
    assert pickle.loads(pickle.dumps(Derived("x", 2))) == Derived("x", 2)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_class_that_the_standard_decorator_derives(frozen):
    """By whose rules a frozen class has frozen ones alone below it, and no other has."""
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
def test_what_a_field_cannot_be_is_refused(option):
    class Point:
        x: int = field(default=0, **option)

    with pytest.raises(TypeError, match=r"Point\.x"):
        fcruntime.dataclass.dataclass(Point)
