"""The results of calls."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Generic, Optional, TypeVar

from cairn.names import Durability, Outcome

State = TypeVar("State")

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _time(microseconds: int) -> datetime.datetime:
    """Returns the nearest time that Python can represent: a damaged record may hold any number."""
    try:
        return _EPOCH + datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        nearest = datetime.datetime.max if microseconds > 0 else datetime.datetime.min
        return nearest.replace(tzinfo=datetime.timezone.utc)


def _optional_time(microseconds: Optional[int]) -> Optional[datetime.datetime]:
    return None if microseconds is None else _time(microseconds)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a save. ``snapshot_id`` loads the saved state; ``durability`` is the one that was reached."""

    snapshot_id: str
    outcome: Outcome
    durability: Durability
    version: int
    frame_bytes: int

    @staticmethod
    def of(raw: tuple[Any, ...]) -> Receipt:
        return Receipt(raw[0], _OUTCOMES[raw[1]], _DURABILITIES[raw[2]], raw[3], raw[4])


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_DURABILITIES = {durability.value: durability for durability in Durability}


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot's record, without its state. ``version`` grows within the run; a parent version of 0 means no parent.
    ``damage`` is the damaged part of the record, or empty, as in the other listings. ``state_type`` is the type of an
    opaque state."""

    run_id: str
    thread_id: str
    user_id: str
    snapshot_id: str
    version: int
    parent_version: int
    checkpoint_type: str
    agent_phase: str
    is_recovery_point: bool
    created_at: datetime.datetime
    expires_at: Optional[datetime.datetime]
    state_bytes: int
    frame_bytes: int
    execution_context: Optional[dict[str, Any]]
    metadata: Optional[dict[str, Any]]
    damage: str = ""
    state_type: Optional[str] = None

    @staticmethod
    def of(raw: tuple[Any, ...]) -> SnapshotInfo:
        return SnapshotInfo(*[*raw[:9], _time(raw[9]), _optional_time(raw[10]), *raw[11:]])


@dataclass(frozen=True, slots=True)
class LoadedState(Generic[State]):
    """A loaded state: a plain dict, or an object of the ``state_type`` asked for. ``text`` is the saved text. An opaque
    state is bytes, with the ``state_type`` that they were saved with, and an empty ``text``."""

    state: State
    text: str
    info: SnapshotInfo
    state_type: Optional[str] = None


@dataclass(frozen=True, slots=True)
class Damaged:
    snapshot_id: str
    version: int
    problem: str


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """``source_snapshot_id`` is the snapshot that the state comes from, ``snapshot_id`` the run's head now. An opaque
    state is bytes, with the ``state_type`` that they were saved with."""

    state: Any
    source_snapshot_id: str
    snapshot_id: str
    version: int
    damaged: list[Damaged]
    duration: datetime.timedelta
    state_type: Optional[str] = None

    @staticmethod
    def of(raw: tuple[Any, ...]) -> RecoveryResult:
        state, _, state_type, source, snapshot, version, damaged, microseconds = raw
        duration = datetime.timedelta(microseconds=microseconds)
        return RecoveryResult(state, source, snapshot, version, [Damaged(*each) for each in damaged], duration, state_type)


@dataclass(frozen=True, slots=True)
class RecoveryRecord:
    """A line of the recovery log. ``result`` is "recovered" or an error's code."""

    run_id: str
    recovery_type: str
    failure_reason: str
    auto_recovery: bool
    source_snapshot_id: str
    result_snapshot_id: str
    result: str
    detail: str
    started_at: datetime.datetime
    duration: datetime.timedelta
    damage: str = ""

    @staticmethod
    def of(raw: tuple[Any, ...]) -> RecoveryRecord:
        return RecoveryRecord(*[*raw[:8], _time(raw[8]), datetime.timedelta(microseconds=raw[9]), *raw[10:]])


@dataclass(frozen=True, slots=True)
class RunInfo:
    run_id: str
    thread_id: str
    user_id: str
    head_version: int
    head_snapshot_id: str
    checkpoint_type: str
    agent_phase: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    snapshots: int
    metadata: Optional[dict[str, Any]]
    damage: str = ""

    @staticmethod
    def of(raw: tuple[Any, ...]) -> RunInfo:
        return RunInfo(*[*raw[:7], _time(raw[7]), _time(raw[8]), *raw[9:]])


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    thread_id: str
    user_id: str
    runs: int
    snapshots: int
    updated_at: datetime.datetime
    damage: str = ""

    @staticmethod
    def of(raw: tuple[Any, ...]) -> ThreadInfo:
        return ThreadInfo(*[*raw[:4], _time(raw[4]), *raw[5:]])


@dataclass(frozen=True, slots=True)
class ThreadContext:
    """The runs and figures of a conversation. ``runs`` are ordered newest created first."""

    thread_id: str
    user_id: str
    runs: list[RunInfo]
    snapshots: int
    newest_run_id: str
    newest_snapshot_id: str
    agent_phase: str
    updated_at: datetime.datetime

    @staticmethod
    def of(raw: tuple[Any, ...]) -> ThreadContext:
        runs = [RunInfo.of(run) for run in raw[2]]
        return ThreadContext(*[*raw[:2], runs, *raw[3:7], _time(raw[7])])


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage. It concerns the whole store if ``run_id`` is empty, and a whole run if ``snapshot_id`` is empty. With
    ``code`` "limit_exceeded" it is not damage, but a state that is larger than this program may read."""

    run_id: str
    snapshot_id: str
    problem: str
    code: str = "corrupt"


@dataclass(frozen=True, slots=True)
class CheckReport:
    runs: int
    snapshots: int
    findings: list[Finding]

    @staticmethod
    def of(raw: tuple[Any, ...]) -> CheckReport:
        return CheckReport(raw[0], raw[1], [Finding(*each) for each in raw[2]])
