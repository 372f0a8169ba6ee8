"""States of any class, as the documented executor takes them: how they are merged, and what is saved of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Iterator, Mapping, MutableMapping

from cairn._logging import logger


class MergedState:
    """What results have made of the caller's state so far."""

    def __init__(self, state: Any) -> None:
        self._given = state
        self.current = state

    def take(self, results: Iterable[Any]) -> bool:
        """Merges the states of successful results, and gives the caller's what it can take. True if all succeeded."""
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
    """The state itself, changed, or another one, if it makes a new one or cannot be changed."""
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
    """Whether a merge into a state's attributes shows in what is saved of it: a ``to_dict`` may say something else."""
    try:
        return all(name in members and (members[name] is value or bool(members[name] == value)) for name, value in wanted.items())
    except Exception:  # whatever their classes say to that
        return False


def _is_of_one_kind(state: Any, made: Any) -> bool:
    """What else a merge returns (nothing, a count, a report) is no state."""
    if isinstance(state, Mapping):
        return isinstance(made, Mapping)
    return isinstance(made, type(state)) or (type(made) is not object and isinstance(state, type(made)))


def _assign(state: Any, members: Mapping[str, Any]) -> bool:
    """False if some of them the state cannot take: it is immutable, or knows no such member."""
    if isinstance(state, Mapping):
        if isinstance(state, MutableMapping):
            state.update(members)
        return isinstance(state, MutableMapping)
    refused = []
    for name, value in members.items():
        try:
            setattr(state, name, value)
        except Exception:  # whatever its class says to that
            refused.append(name)
    if refused:
        logger.debug("a state of type %s does not take %s", type(state).__name__, ", ".join(map(str, refused)))
    return not refused


def members_of(state: Any) -> Mapping[str, Any]:
    """Top-level members as they are, not copied: of a mapping, else public attributes, else what ``to_dict`` says."""
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
    """What is saved: the state itself if the engine knows its kind, else what its ``to_dict()`` or its attributes say."""
    kind = type(state)
    if isinstance(state, Mapping) or dataclasses.is_dataclass(kind) or hasattr(kind, "model_dump"):
        return state
    if hasattr(kind, "__fields__") and hasattr(kind, "parse_obj"):  # a model of pydantic's first version
        return state
    if callable(getattr(state, "to_dict", None)):
        return state.to_dict()
    return members_of(state) if hasattr(state, "__dict__") or hasattr(kind, "__slots__") else state
