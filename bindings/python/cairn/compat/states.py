"""States of any class, which the documented executor accepts: merging them, and choosing the data to save."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Iterator, Mapping, MutableMapping

from cairn._logging import logger


class MergedState:
    """The caller's state, with the results that were merged into it so far."""

    def __init__(self, state: Any) -> None:
        self._given = state
        self.current = state

    def take(self, results: Iterable[Any]) -> bool:
        """Merges the states of successful results, and gives the caller's state the members that it accepts. Returns
        True if all results succeeded."""
        succeeded = True
        try:
            for result in results:
                succeeded = bool(getattr(result, "success", False)) and succeeded
                state = getattr(result, "state", None)
                if getattr(result, "success", False) and state is not None and state is not self._given:
                    self.current = _merged(self.current, state)
        finally:
            if self.current is not self._given:
                _assign(self._given, members_of(self.current))
        return succeeded


def _merged(state: Any, other: Any) -> Any:
    """Returns the state itself, changed, or a new one if its merge makes one or it cannot be changed."""
    if callable(getattr(state, "merge_from", None)):
        made = state.merge_from(other)
        return made if _is_of_one_kind(state, made) else state
    before, added = _saved_members_of(state), _saved_members_of(other)
    if _assign(state, added) and _has(_saved_members_of(state), added):
        return state
    return {**before, **added}


def _saved_members_of(state: Any) -> Mapping[str, Any]:
    data = data_of(state)
    return data if isinstance(data, Mapping) else members_of(state)


def _has(members: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Returns True if members that were set as attributes appear in the saved data: a ``to_dict`` may ignore them."""
    try:
        return all(name in members and (members[name] is value or bool(members[name] == value)) for name, value in wanted.items())
    except Exception:  # their classes may raise anything
        return False


def _is_of_one_kind(state: Any, made: Any) -> bool:
    """Returns True if a merge returned a state, and not something else (None, a count, a report)."""
    if isinstance(state, Mapping):
        return isinstance(made, Mapping)
    return isinstance(made, type(state)) or (type(made) is not object and isinstance(state, type(made)))


def _assign(state: Any, members: Mapping[str, Any]) -> bool:
    """Sets members of the state. Returns False if it does not accept some: it is immutable, or has no such member."""
    if isinstance(state, Mapping):
        if isinstance(state, MutableMapping):
            state.update(members)
        return isinstance(state, MutableMapping)
    refused = []
    for name, value in members.items():
        try:
            setattr(state, name, value)
        except Exception:  # its class may raise anything
            refused.append(name)
    if refused:
        logger.debug("a state of type %s does not take %s", type(state).__name__, ", ".join(map(str, refused)))
    return not refused


def members_of(state: Any) -> Mapping[str, Any]:
    """Returns top-level members, not copied: those of a mapping, else public attributes, else those of ``to_dict``."""
    if isinstance(state, Mapping):
        return state
    names = (name for name in _names_of(state) if not name.startswith("_") and hasattr(state, name))
    members: Mapping[str, Any] = {name: getattr(state, name) for name in names}
    if not members and callable(getattr(state, "to_dict", None)):
        members = state.to_dict()
    return members


def _names_of(state: Any) -> Iterator[str]:
    for base in reversed(type(state).__mro__):
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
    yield from getattr(state, "__dict__", ())


def data_of(state: Any) -> Any:
    """Returns the data to save: the state itself if the engine knows its kind, else its ``to_dict()`` or attributes."""
    kind = type(state)
    if isinstance(state, Mapping) or dataclasses.is_dataclass(kind) or hasattr(kind, "model_dump"):
        return state
    if hasattr(kind, "__fields__") and hasattr(kind, "parse_obj"):  # a model of pydantic's first version
        return state
    if callable(getattr(state, "to_dict", None)):
        return state.to_dict()
    return members_of(state) if hasattr(state, "__dict__") or hasattr(kind, "__slots__") else state
