# Goal: `state_type=` gives back the objects that were saved: dataclasses and pydantic models with all their contents.
# Method: round trips through a store, and each mismatch with its place.

import dataclasses
import datetime
import decimal
import enum
import typing
import uuid
from typing import Any, Literal, Optional, Union

import pytest

import cairn
from cairn.rebuild import rebuild

pydantic = pytest.importorskip("pydantic")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Tool:
    name: str
    score: float = 0.0
    inner: Optional["Tool"] = None


@dataclasses.dataclass
class Everything:
    tools: list[Tool]
    by_name: dict[str, Tool]
    by_number: dict[int, str]
    by_id: dict[uuid.UUID, int]
    pair: tuple[int, str]
    many: tuple[int, ...]
    numbers: set[int]
    frozen: frozenset[str]
    sequence: typing.Sequence[Tool]
    when: datetime.datetime
    day: datetime.date
    clock: datetime.time
    took: datetime.timedelta
    uid: uuid.UUID
    price: decimal.Decimal
    data: bytes
    colour: Colour
    level: Level
    choice: Literal["a", 1]
    either: Union[int, Tool, None]
    modern: int | str
    anything: Any
    plain: dict
    optional: Optional[list[int]] = None
    made: int = dataclasses.field(default=1, init=False)


def everything():
    return Everything(
        tools=[Tool("a", 1.0, Tool("b"))],
        by_name={"x": Tool("c", 2)},
        by_number={7: "seven"},
        by_id={uuid.UUID(int=5): 5},
        pair=(1, "two"),
        many=(1, 2, 3),
        numbers={3, 1, 2},
        frozen=frozenset({"x", "y"}),
        sequence=[Tool("d")],
        when=datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc),
        day=datetime.date(2026, 1, 2),
        clock=datetime.time(1, 2, 3),
        took=datetime.timedelta(days=1, microseconds=5),
        uid=uuid.UUID(int=7),
        price=decimal.Decimal("12345678901234567890.10"),
        data=b"\x00\xff",
        colour=Colour.RED,
        level=Level.HIGH,
        choice="a",
        either=Tool("e"),
        modern="text",
        anything={"x": [1]},
        plain={"y": None},
    )


def through_a_store(store, state, state_type):
    service = cairn.OptimizedStatePersistence(store)
    service.save_agent_state(run_id="r", thread_id="t", user_id="u", state=state)
    return service.load_agent_state("r", state_type=state_type).state


def test_a_dataclass_comes_back_as_it_was(store):
    assert through_a_store(store, everything(), Everything) == everything()


def test_a_pydantic_model_comes_back_as_it_was(store):
    class Inner(pydantic.BaseModel):
        name: str

    class Model(pydantic.BaseModel):
        inner: Inner
        tools: list[Inner]
        when: datetime.datetime
        colour: Colour
        uid: uuid.UUID
        price: decimal.Decimal

    model = Model(
        inner=Inner(name="a"),
        tools=[Inner(name="b")],
        when=everything().when,
        colour=Colour.RED,
        uid=uuid.UUID(int=1),
        price=decimal.Decimal("1.10"),
    )
    assert through_a_store(store, model, Model) == model
    with pytest.raises(ValueError, match="inner"):
        rebuild({}, Model)


@dataclasses.dataclass
class Small:
    n: int
    tools: list[Tool] = dataclasses.field(default_factory=list)
    when: Optional[datetime.datetime] = None


@pytest.mark.parametrize(
    "value, error",
    [
        ([], "state: a list cannot become a Small"),
        ({}, "state: Small needs the field 'n'"),
        ({"n": 1, "m": 2}, "state: Small has no field 'm'"),
        ({"n": "1"}, "state.n: a str cannot become a int"),
        ({"n": True}, "state.n: a bool cannot become a int"),
        ({"n": 1, "tools": {}}, r"state.tools: a dict cannot become a list"),
        ({"n": 1, "tools": [{"name": "a"}, {"name": 2}]}, r"state.tools\[1\].name: a int cannot become a str"),
        ({"n": 1, "tools": [{}]}, r"state.tools\[0\]: Tool needs the field 'name'"),
        ({"n": 1, "when": "yesterday"}, "state.when: a str cannot become a"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(value, error):
    with pytest.raises(TypeError, match=error):
        rebuild(value, Small)


@pytest.mark.parametrize(
    "value, wanted",
    [([1], tuple[int, int]), ("x", Literal["y"]), ({}, list[int]), ([], dict[str, int]), ("red ", Colour), ("?", bytes)],
)
def test_types_are_not_stretched(value, wanted):
    with pytest.raises(TypeError, match="cannot become"):
        rebuild(value, wanted)
