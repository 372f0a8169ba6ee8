"""What callers ask for. Wrong fields are refused when a request is made, with the field's name."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import Enum
from typing import Any, Mapping, Optional, TypeVar, Union

from cairn.names import AgentPhase, CheckpointType, OnConflict, RecoveryType

_Named = TypeVar("_Named", bound=Enum)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty: give 1 to 255 bytes of text")


def _check_optional_text(name: str, value: object) -> None:
    if value is not None:
        _check_text(name, value)


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")


def _check_object(name: str, value: object) -> None:
    """A dict, or what stands for one: the conversion itself says more about what is inside."""
    if value is None or isinstance(value, (str, bytes, int, float, list, tuple, set)):
        raise TypeError(f"{name} must be a dict, a dataclass or a model, not {type(value).__name__}")


def _named(kind: type[_Named], name: str, value: object) -> Union[_Named, str]:
    """The name as an enumeration's member if it is one of its own."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a {kind.__name__} or a str, not {type(value).__name__}")
    try:
        return kind(str(value))
    except ValueError:
        return str(value)


@dataclass(kw_only=True)
class StatePersistenceRequest:
    """A state to save, and what it is.

    ``state_data`` is a dict, a dataclass or a pydantic model. ``expires_at`` is an aware datetime (a naive one is taken
    as UTC), ``metadata`` and ``execution_context`` are dicts, ``timeout`` is in seconds.
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
    durability: Optional[str] = None

    def __post_init__(self) -> None:
        for name in ("run_id", "thread_id", "user_id"):
            _check_text(name, getattr(self, name))
        for name in ("parent_snapshot_id", "snapshot_id", "durability"):
            _check_optional_text(name, getattr(self, name))
        _check_object("state_data", self.state_data)
        for name in ("execution_context", "metadata"):
            if getattr(self, name) is not None:
                _check_object(name, getattr(self, name))
        _check_bool("is_recovery_point", self.is_recovery_point)
        self.checkpoint_type = _named(CheckpointType, "checkpoint_type", self.checkpoint_type)
        if not self.checkpoint_type:
            raise ValueError("checkpoint_type is empty: give auto, manual, … or a name of your own")
        if self.agent_phase is not None:
            self.agent_phase = _named(AgentPhase, "agent_phase", self.agent_phase)
        if self.expires_at is not None and not isinstance(self.expires_at, datetime.datetime):
            raise TypeError(f"expires_at must be a datetime, not {type(self.expires_at).__name__}")


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
        _check_text("run_id", self.run_id)
        for name in ("thread_id", "user_id", "target_snapshot_id"):
            _check_optional_text(name, getattr(self, name))
        if self.failure_reason is not None and not isinstance(self.failure_reason, str):
            raise TypeError(f"failure_reason must be a str, not {type(self.failure_reason).__name__}")
        _check_bool("auto_recovery", self.auto_recovery)
        self.recovery_type = _named(RecoveryType, "recovery_type", self.recovery_type)
        if not isinstance(self.recovery_type, RecoveryType):
            raise ValueError(f'recovery_type is "{self.recovery_type}": give restart, resume or rollback')
