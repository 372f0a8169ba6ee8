"""Batched state persistence for AI agents: a save costs what changed."""

from cairn import _engine  # first of all: it says why a Python cannot load the engine
from cairn import _cairn
from cairn.checkpoint import Checkpoint, checkpoint
from cairn.compat import beside as _beside
from cairn.config import Config, ConfigEntry, config_entries, load_config
from cairn.errors import (
    AgentFailedError,
    AlreadyExistsError,
    CairnError,
    CallCancelledError,
    ClosedError,
    ConfigError,
    ConflictError,
    CorruptError,
    IncompatibleError,
    InternalError,
    InvalidArgumentError,
    InvalidStateError,
    LimitExceededError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ReadOnlyError,
    StorageFullError,
    UnauthenticatedError,
    UnavailableError,
)
from cairn.events import CheckpointEvent, Events
from cairn.names import AgentPhase, CheckpointType, Durability, OnConflict, Outcome, RecoveryType
from cairn.persistence import (
    OptimizedStatePersistence,
    StatePersistence,
    StatePersistenceService,
    make_persistence,
)
from cairn.requests import StatePersistenceRequest, StateRecoveryRequest
from cairn.results import (
    CheckReport,
    Damaged,
    Finding,
    LoadedState,
    Receipt,
    RecoveryRecord,
    RecoveryResult,
    RunInfo,
    SnapshotInfo,
    ThreadContext,
    ThreadInfo,
)
from cairn.store import Pages, Store, open

_beside.stand_beside()

__version__: str = _cairn.__version__

__all__ = [
    "AgentFailedError",
    "AgentPhase",
    "AlreadyExistsError",
    "CairnError",
    "CallCancelledError",
    "CheckReport",
    "Checkpoint",
    "CheckpointEvent",
    "CheckpointType",
    "ClosedError",
    "Config",
    "ConfigEntry",
    "ConfigError",
    "ConflictError",
    "CorruptError",
    "Damaged",
    "Durability",
    "Events",
    "Finding",
    "IncompatibleError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidStateError",
    "LimitExceededError",
    "LoadedState",
    "NotFoundError",
    "OnConflict",
    "OptimizedStatePersistence",
    "Outcome",
    "OutcomeUnknownError",
    "Pages",
    "PermissionDeniedError",
    "ReadOnlyError",
    "Receipt",
    "RecoveryRecord",
    "RecoveryResult",
    "RecoveryType",
    "RunInfo",
    "SnapshotInfo",
    "StatePersistence",
    "StatePersistenceRequest",
    "StatePersistenceService",
    "StateRecoveryRequest",
    "StorageFullError",
    "Store",
    "ThreadContext",
    "ThreadInfo",
    "UnauthenticatedError",
    "UnavailableError",
    "checkpoint",
    "config_entries",
    "load_config",
    "make_persistence",
    "open",
]
