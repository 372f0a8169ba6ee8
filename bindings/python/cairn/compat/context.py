"""The context that an engine gets: its members are attributes too, and its attributes members."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Mapping

_NAMES = ("run_id", "thread_id", "user_id", "agent_name")


def context_for_engine(given: Any, **known: Any) -> Any:
    """Returns the caller's context for an engine of either kind. The values of ``known`` that it lacks are added, for
    the engine only."""
    if isinstance(given, Mapping):
        return MappingContext(given, {name: value for name, value in known.items() if name not in given})
    if all(hasattr(given, name) for name in _NAMES) and hasattr(type(given), "__getitem__"):
        return given
    return ObjectContext(given, {name: value for name, value in known.items() if not hasattr(given, name)})


class MappingContext(dict[Any, Any]):
    """Stands for the caller's mapping. A change here also changes the caller's."""

    def __init__(self, given: Mapping[Any, Any], added: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_given", given)
        super().__init__({**given, **added})

    def __setitem__(self, name: Any, value: Any) -> None:
        super().__setitem__(name, value)
        if isinstance(self._given, MutableMapping):
            self._given[name] = value

    def __delitem__(self, name: Any) -> None:
        super().__delitem__(name)
        if isinstance(self._given, MutableMapping):
            self._given.pop(name, None)

    # dict's own versions of these do not use the two methods above; MutableMapping's do.
    clear = MutableMapping.clear
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    update = MutableMapping.update

    def __ior__(self, others: Any) -> MappingContext:  # type: ignore[misc]
        self.update(others)
        return self

    def __getattr__(self, name: str) -> Any:
        return self[name] if name in self else getattr(self._given, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __reduce__(self) -> Any:
        """A copy belongs to the engine: changing it does not change the caller's mapping."""
        return MappingContext, ({}, dict(self))


class ObjectContext:
    """Stands for the caller's object. Attributes that are set here are set there, but for the added ones."""

    _given: Any
    _added: dict[str, Any]

    def __init__(self, given: Any, added: dict[str, Any]) -> None:
        object.__setattr__(self, "_given", given)
        object.__setattr__(self, "_added", added)

    __class__ = property(lambda self: type(self._given))  # type: ignore[assignment]  # for isinstance

    def __getattr__(self, name: str) -> Any:
        if name in ("_given", "_added"):  # a copy that is being made is asked for them
            raise AttributeError(name)
        return self._added[name] if name in self._added else getattr(self._given, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._added:
            self._added[name] = value
        else:
            setattr(self._given, name, value)

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and hasattr(self, name)

    def keys(self) -> list[str]:
        return [*(name for name in getattr(self._given, "__dict__", ()) if not name.startswith("_")), *self._added]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self._given == other)

    def __hash__(self) -> int:
        return hash(self._given)

    def __repr__(self) -> str:
        return repr(self._given)
