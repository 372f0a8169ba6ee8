"""Makes typed objects from loaded states: pydantic models (version 1 or 2) and dataclasses."""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid
from typing import Any, TypeVar, Union, cast

_T = TypeVar("_T")


def rebuild(value: Any, wanted: type[_T]) -> _T:
    """Converts ``value``, which is plain JSON, to an object of type ``wanted``.

    A pydantic model validates it itself. A dataclass is built from its annotations, at every depth. Raises TypeError
    or ValueError naming the place (``state.tools[3]``), or pydantic's own error.
    """
    return cast(_T, _build(value, wanted, "state"))


def _build(value: Any, wanted: Any, place: str) -> Any:
    if wanted is Any or wanted is object:
        return value
    origin = typing.get_origin(wanted)
    if origin is not None:
        return _build_generic(value, origin, typing.get_args(wanted), wanted, place)
    if hasattr(wanted, "model_validate"):
        return wanted.model_validate(value)
    if hasattr(wanted, "parse_obj"):
        return wanted.parse_obj(value)
    if dataclasses.is_dataclass(wanted):
        return _build_dataclass(value, wanted, place)
    return _build_scalar(value, wanted, place)


def _build_dataclass(value: Any, wanted: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise _mismatch(value, wanted, place)
    hints = typing.get_type_hints(wanted)
    fields = {field.name: field for field in dataclasses.fields(wanted) if field.init}
    if unknown := [name for name in value if name not in hints]:
        raise TypeError(f"{place}: {wanted.__name__} has no field {unknown[0]!r}")
    try:
        return wanted(**{n: _build(v, hints[n], f"{place}.{n}") for n, v in value.items() if n in fields})
    except TypeError as error:
        missing = [n for n, f in fields.items() if n not in value and _is_required(f)]
        if not missing:
            raise
        raise TypeError(f"{place}: {wanted.__name__} needs the field {missing[0]!r}") from error


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _build_generic(value: Any, origin: Any, arguments: tuple[Any, ...], wanted: Any, place: str) -> Any:
    if origin is Union or origin is types.UnionType:
        return _build_union(value, arguments, wanted, place)
    if origin is typing.Annotated:
        return _build(value, arguments[0], place)
    if origin is typing.Literal:
        if value not in arguments:
            raise _mismatch(value, wanted, place)
        return value
    if dataclasses.is_dataclass(origin):
        return _build_dataclass(value, origin, place)
    if not isinstance(origin, type) or not isinstance(value, (dict, list)):
        raise _mismatch(value, wanted, place)
    if isinstance(value, dict):
        if not issubclass(origin, collections.abc.Mapping):
            raise _mismatch(value, wanted, place)
        return {_key(k, arguments[0], place): _build(v, arguments[1], f"{place}[{k!r}]") for k, v in value.items()}
    if issubclass(origin, collections.abc.Mapping):
        raise _mismatch(value, wanted, place)
    return _build_items(value, origin, arguments, wanted, place)


def _build_items(value: list[Any], origin: Any, arguments: tuple[Any, ...], wanted: Any, place: str) -> Any:
    types_of_items = arguments if origin is tuple else (arguments[0], ...)
    if len(types_of_items) == 2 and types_of_items[1] is Ellipsis:
        types_of_items = types_of_items[:1] * len(value)
    if len(types_of_items) != len(value):
        raise _mismatch(value, wanted, place)
    items = [_build(v, t, f"{place}[{i}]") for i, (v, t) in enumerate(zip(value, types_of_items))]
    return items if inspect.isabstract(origin) else origin(items)


def _build_union(value: Any, arguments: tuple[Any, ...], wanted: Any, place: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return _build(value, argument, place)
        except (TypeError, ValueError):
            continue
    raise _mismatch(value, wanted, place)


def _key(key: str, wanted: Any, place: str) -> Any:
    """Converts a key back. JSON's keys are strings, so a number was written as one."""
    if wanted in (int, float):
        return wanted(key)
    return _build(key, wanted, f"{place} (key {key!r})")


_PARSERS: dict[Any, Any] = {
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    uuid.UUID: uuid.UUID,
    decimal.Decimal: lambda text: decimal.Decimal(str(text)),
    bytes: lambda text: base64.b64decode(text, validate=True),
    bytearray: lambda text: bytearray(base64.b64decode(text, validate=True)),
    datetime.timedelta: lambda seconds: datetime.timedelta(seconds=seconds),
}


def _build_scalar(value: Any, wanted: Any, place: str) -> Any:
    try:
        if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
            return cast(Any, wanted)(value)
        if wanted in _PARSERS:
            return _PARSERS[wanted](value)
        if wanted in (set, frozenset, tuple) and isinstance(value, list):
            return cast(Any, wanted)(value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise _mismatch(value, wanted, place) from error
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is None:
        wanted = type(None)
    if isinstance(wanted, type) and isinstance(value, wanted) and (wanted is not int or not isinstance(value, bool)):
        return value
    raise _mismatch(value, wanted, place)


def _mismatch(value: Any, wanted: Any, place: str) -> TypeError:
    name = getattr(wanted, "__name__", None) or str(wanted)
    return TypeError(f"{place}: a {type(value).__name__} cannot become a {name}")
