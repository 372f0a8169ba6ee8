"""The words that are stored, and those that calls answer with. Each is a string too."""

from __future__ import annotations

from enum import Enum


class _Name(str, Enum):
    def __str__(self) -> str:
        return str(self.value)


class CheckpointType(_Name):
    """Why a snapshot was made. Any other name is accepted as a string, and is critical."""

    MANUAL = "manual"
    RECOVERY = "recovery"
    PHASE_TRANSITION = "phase_transition"
    AUTO = "auto"
    INTERMEDIATE = "intermediate"
    PIPELINE_COMPLETE = "pipeline_complete"


class AgentPhase(_Name):
    """Where the agent is in its work. Any other name is as good."""

    INITIALIZATION = "initialization"
    TRIAGE = "triage"
    DATA_ANALYSIS = "data_analysis"
    OPTIMIZATION = "optimization"
    ACTION_PLANNING = "action_planning"
    REPORTING = "reporting"
    COMPLETION = "completion"


class RecoveryType(_Name):
    """How a run is recovered: from its first state, its newest intact snapshot, or one that is named."""

    RESTART = "restart"
    RESUME = "resume"
    ROLLBACK = "rollback"


class Durability(_Name):
    """When a save is acknowledged: on disk, queued, or held until `flush`."""

    SYNC = "sync"
    ASYNC = "async"
    EXIT = "exit"


class Outcome(_Name):
    """What a save did."""

    PERSISTED = "persisted"
    DEDUPLICATED = "deduplicated"
    FALLBACK = "fallback"
    QUEUED = "queued"
    FAILED = "failed"


class OnConflict(_Name):
    """What a save does when another writer has moved the head."""

    REBASE = "rebase"
    FAIL = "fail"
