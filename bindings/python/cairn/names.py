"""Names that are stored, and names in the results of calls. Each is a string too."""

from __future__ import annotations

from enum import Enum


class _Name(str, Enum):
    def __str__(self) -> str:
        return str(self.value)


class CheckpointType(_Name):
    """The reason for a snapshot. Any other name is accepted as a string, and is critical."""

    MANUAL = "manual"
    RECOVERY = "recovery"
    PHASE_TRANSITION = "phase_transition"
    AUTO = "auto"
    INTERMEDIATE = "intermediate"
    PIPELINE_COMPLETE = "pipeline_complete"


class AgentPhase(_Name):
    """The agent's place in its work. Any other name is as good."""

    INITIALIZATION = "initialization"
    TRIAGE = "triage"
    DATA_ANALYSIS = "data_analysis"
    OPTIMIZATION = "optimization"
    ACTION_PLANNING = "action_planning"
    REPORTING = "reporting"
    COMPLETION = "completion"


class RecoveryType(_Name):
    """The state that a run is recovered from: its first one, its newest intact snapshot, or a named snapshot."""

    RESTART = "restart"
    RESUME = "resume"
    ROLLBACK = "rollback"


class Durability(_Name):
    """The point at which a save is acknowledged: on disk, queued, or held until `flush`."""

    SYNC = "sync"
    ASYNC = "async"
    EXIT = "exit"


class Outcome(_Name):
    """The effect of a save."""

    PERSISTED = "persisted"
    DEDUPLICATED = "deduplicated"
    FALLBACK = "fallback"
    QUEUED = "queued"
    FAILED = "failed"


class OnConflict(_Name):
    """The response of a save when another writer has moved the head."""

    REBASE = "rebase"
    FAIL = "fail"
