"""The documented requests. They have the documented defaults, and are dumped and copied like pydantic's models."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any, Mapping, Optional, TypeVar, Union, cast

import cairn
from cairn import _service
from cairn.compat.states import data_of
from cairn.names import _Name
from cairn.requests import _named, check_optional_text, check_text

_Self = TypeVar("_Self", bound="_Model")

NO_USER = "(no user)"


class CheckpointType(_Name):
    """The reason for a snapshot. ``auto``, ``intermediate`` and ``pipeline_complete`` are optimised. Any other type is
    critical."""

    MANUAL = "manual"
    AUTO = "auto"
    RECOVERY = "recovery"
    PHASE_TRANSITION = "phase_transition"
    FULL = "full"
    CRITICAL = "critical"
    INTERMEDIATE = "intermediate"
    PIPELINE_COMPLETE = "pipeline_complete"


class _Model:
    """The methods that programs call on pydantic's models."""

    _documented: tuple[str, ...]

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Any = None,
        exclude: Any = None,
        exclude_none: bool = False,
        exclude_unset: bool = False,
        exclude_defaults: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        """Returns the documented fields, and the other fields that were given. ``mode="json"``: as values of JSON."""
        dumped: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_default = value == _default_of(field)
            if is_default and (exclude_defaults or exclude_unset or field.name not in self._documented):
                continue
            if (include is not None and field.name not in include) or (exclude is not None and field.name in exclude):
                continue
            if value is None and exclude_none:
                continue
            dumped[field.name] = _plain(value)
        return cairn._cairn.loads(cairn._cairn.dumps(dumped).decode()) if mode == "json" else dumped

    def model_copy(self: _Self, *, update: Optional[Mapping[str, Any]] = None, deep: bool = False) -> _Self:
        """Returns a copy with some fields changed. The changed fields are checked."""
        return dataclasses.replace(copy.deepcopy(self) if deep else self, **(update or {}))


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, _Name):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    return value.model_dump() if hasattr(type(value), "model_dump") else value


@dataclass(kw_only=True)
class StatePersistenceRequest(_Model, cairn.StatePersistenceRequest):
    """A state to save, with its metadata. ``state_data`` may also be an object with ``to_dict()`` or attributes."""

    _documented = (
        "run_id",
        "thread_id",
        "user_id",
        "state_data",
        "checkpoint_type",
        "agent_phase",
        "execution_context",
        "is_recovery_point",
        "expires_at",
    )

    user_id: Optional[str] = None  # type: ignore[assignment]
    checkpoint_type: Union[CheckpointType, str] = CheckpointType.MANUAL
    execution_context: Optional[Mapping[str, Any]] = dataclasses.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checkpoint_type = _named(CheckpointType, "checkpoint_type", self.checkpoint_type)

    def _check_owner(self) -> None:
        check_text("thread_id", self.thread_id)
        check_optional_text("user_id", self.user_id)


@dataclass(kw_only=True)
class StateRecoveryRequest(_Model, cairn.StateRecoveryRequest):
    """A run to recover. ``target_snapshot_id`` is required by ``rollback`` and refused by the others."""

    _documented = ("run_id", "thread_id", "recovery_type", "target_snapshot_id", "failure_reason", "auto_recovery")


def request_of(kind: type[Union[StatePersistenceRequest, StateRecoveryRequest]], request: Any, fields: Any) -> Any:
    """Returns the given request, or makes one from the given fields. A request may be of the program's own class."""
    is_save = kind is StatePersistenceRequest
    engines_kind: Any = cairn.StatePersistenceRequest if is_save else cairn.StateRecoveryRequest
    if request is None:
        return _service.request_of(cast(Any, kind), None, fields)
    essential = ("run_id", "state_data" if is_save else "recovery_type")
    if not isinstance(request, engines_kind) and all(hasattr(request, name) for name in essential):
        names = [field.name for field in dataclasses.fields(kind) if hasattr(request, field.name)]
        if is_save and not isinstance(request.state_data, (bytes, bytearray, memoryview)):
            names = [name for name in names if name != "state_type"]  # it means something else there
        request = kind(**{name: getattr(request, name) for name in names})
    return _service.request_of(engines_kind, request, fields)


def for_engine(request: cairn.StatePersistenceRequest) -> cairn.StatePersistenceRequest:
    """Converts a request for the engine: every run has a user there, and an empty context becomes None."""
    fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(cairn.StatePersistenceRequest)}
    fields["user_id"] = fields["user_id"] or NO_USER
    fields["execution_context"] = fields["execution_context"] or None
    if fields["state_type"] is None:  # otherwise it is bytes
        fields["state_data"] = data_of(fields["state_data"])
    return cairn.StatePersistenceRequest(**fields)
