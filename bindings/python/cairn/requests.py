"""Requests. A wrong field is refused when the request is made, and the error names the field."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from typing import Any, Mapping, Optional, TypeVar, Union

from cairn.names import AgentPhase, CheckpointType, Durability, OnConflict, RecoveryType

_Named = TypeVar("_Named", bound=Enum)


_VERSION_MAX = 2**63 - 1
_SECONDS_MAX = 1e9


def check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: give 1 to 255 bytes of text")
    _check_unicode(name, value)


def check_optional_text(name: str, value: object) -> None:
    if value is not None:
        check_text(name, value)


def _check_unicode(name: str, value: str) -> None:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} has a lone surrogate: give text that UTF-8 can say") from None


def check_state_type(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"state_type must be a str, not {type(value).__name__}")
    _check_unicode("state_type", value)


def check_timeout(value: object) -> None:
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"timeout must be a number of seconds, not {type(value).__name__}")
    if not abs(value) <= _SECONDS_MAX:
        raise ValueError(f"timeout is {value}: give seconds, or None for the service's own")


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def check_time(name: str, value: object) -> None:
    """Refuses a time without a zone: only the caller knows which zone it means."""
    if value is None:
        return
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(
            f"{name} is {value.isoformat()}, which has no time zone: give one that has, as "
            "datetime.now(timezone.utc) + …, or value.astimezone() for local time"
        )


def microseconds_of(name: str, time: Optional[datetime.datetime]) -> Optional[int]:
    """Returns the microseconds since 1970."""
    check_time(name, time)
    return None if time is None else (time - _EPOCH) // datetime.timedelta(microseconds=1)


def _check_version(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 <= value <= _VERSION_MAX:
        raise ValueError(f"{name} is {value}: give the head's version, or 0 for a run that does not exist yet")


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def _check_object(name: str, value: object) -> None:
    """Refuses values that cannot be a dict or be converted to one. The conversion checks the content."""
    if value is None or isinstance(value, (str, bytes, int, float, list, tuple, set)):
        raise TypeError(f"{name} must be a dict, a dataclass or a model, not {type(value).__name__}")


def _named(kind: type[_Named], name: str, value: object) -> Union[_Named, str]:
    """Returns the enumeration's member of this name, or the name itself if there is none. A member of another
    enumeration counts as its value."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a {kind.__name__} or a str, not {type(value).__name__}")
    _check_unicode(name, value)
    text = str.__str__(value)
    try:
        return kind(text)
    except ValueError:
        return text


def _one_of(kind: type[_Named], name: str, value: object) -> _Named:
    known = _named(kind, name, value)
    if isinstance(known, kind):
        return known
    *others, last = [member.value for member in kind]
    raise ValueError(f'{name} is "{known}": give {", ".join(others)} or {last}')


@dataclass(kw_only=True)
class StatePersistenceRequest:
    """A state to save, with its metadata.

    ``state_data`` is a dict, a dataclass or a pydantic model; or bytes, an opaque state, and ``state_type`` says what
    they are (``"msgpack"``; a ``+`` in it says that they are ciphertext). ``expires_at`` is a datetime with a time zone,
    ``metadata`` and ``execution_context`` are dicts, ``timeout`` is in seconds.
    """

    run_id: str
    thread_id: str
    user_id: str
    state_data: Any
    checkpoint_type: Union[CheckpointType, str] = CheckpointType.AUTO
    agent_phase: Union[AgentPhase, str, None] = None
    execution_context: Optional[Mapping[str, Any]] = None
    is_recovery_point: bool = False
    expires_at: Optional[datetime.datetime] = None
    parent_snapshot_id: Optional[str] = None
    metadata: Optional[Mapping[str, Any]] = None
    snapshot_id: Optional[str] = None
    on_conflict: Union[OnConflict, str] = OnConflict.REBASE
    expected_version: Optional[int] = None
    timeout: Optional[float] = None
    durability: Union[Durability, str, None] = None
    state_type: Optional[str] = None

    def __post_init__(self) -> None:
        check_text("run_id", self.run_id)
        self._check_owner()
        for name in ("parent_snapshot_id", "snapshot_id"):
            check_optional_text(name, getattr(self, name))
        self._check_state()
        for name in ("execution_context", "metadata"):
            if getattr(self, name) is not None:
                _check_object(name, getattr(self, name))
        _check_bool("is_recovery_point", self.is_recovery_point)
        self.checkpoint_type = _named(CheckpointType, "checkpoint_type", self.checkpoint_type)
        if not self.checkpoint_type:
            raise ValueError("checkpoint_type is empty: give auto, manual, … or a name of your own")
        if self.agent_phase is not None:
            self.agent_phase = _named(AgentPhase, "agent_phase", self.agent_phase)
        check_time("expires_at", self.expires_at)
        self.on_conflict = _one_of(OnConflict, "on_conflict", self.on_conflict)
        if self.durability is not None:
            self.durability = _one_of(Durability, "durability", self.durability)
        _check_version("expected_version", self.expected_version)
        check_timeout(self.timeout)

    def _check_state(self) -> None:
        if self.state_type is None:
            if isinstance(self.state_data, (bytes, bytearray, memoryview)):
                raise TypeError("state_data is bytes: give state_type, which says what they are")
            _check_object("state_data", self.state_data)
            return
        check_state_type(self.state_type)
        if not isinstance(self.state_data, (bytes, bytearray, memoryview)):
            raise TypeError(f"state_data must be bytes where state_type is given, not {type(self.state_data).__name__}")

    def _check_owner(self) -> None:
        check_text("thread_id", self.thread_id)
        check_text("user_id", self.user_id)


@dataclass(kw_only=True)
class StateRecoveryRequest:
    """A run to recover. ``target_snapshot_id`` is required by ``rollback`` and refused by the others."""

    run_id: str
    recovery_type: Union[RecoveryType, str] = RecoveryType.RESUME
    thread_id: Optional[str] = None
    user_id: Optional[str] = None
    target_snapshot_id: Optional[str] = None
    failure_reason: Optional[str] = None
    auto_recovery: bool = False

    def __post_init__(self) -> None:
        check_text("run_id", self.run_id)
        for name in ("thread_id", "user_id", "target_snapshot_id"):
            check_optional_text(name, getattr(self, name))
        if self.failure_reason not in (None, ""):
            check_text("failure_reason", self.failure_reason)
        _check_bool("auto_recovery", self.auto_recovery)
        self.recovery_type = _one_of(RecoveryType, "recovery_type", self.recovery_type)
