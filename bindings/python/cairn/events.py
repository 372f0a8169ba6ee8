"""The events of a store, one for each save that has ended, with the members that docs/reference.md lists."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, AsyncIterator, Optional

from cairn import _cairn, _loop
from cairn.errors import CairnError
from cairn.results import Receipt, _time


@dataclass(frozen=True, slots=True)
class CheckpointEvent:
    """A save ended: with a ``receipt``, or an ``error``. ``dropped`` events before it did not reach this watcher.

    ``is_lost``: the save was acknowledged as ``queued``, and has failed now.
    """

    run_id: str
    thread_id: str
    user_id: str
    checkpoint_type: str
    agent_phase: str
    time: datetime.datetime
    sequence: int
    receipt: Optional[Receipt] = None
    error: Optional[CairnError] = None
    dropped: int = 0
    duration: datetime.timedelta = datetime.timedelta(0)
    state_bytes: int = 0
    is_lost: bool = False

    @property
    def type(self) -> str:
        """"checkpoint", its name among all events."""
        return "checkpoint"

    @staticmethod
    def of(raw: tuple[Any, ...]) -> CheckpointEvent:
        run_id, thread_id, user_id, checkpoint_type, agent_phase, time, duration, state_bytes, *rest = raw
        receipt, error, is_lost, sequence, dropped = rest
        return CheckpointEvent(
            run_id,
            thread_id,
            user_id,
            checkpoint_type,
            agent_phase,
            _time(time),
            sequence,
            None if receipt is None else Receipt.of(receipt),
            error,
            dropped,
            datetime.timedelta(microseconds=duration),
            state_bytes,
            is_lost,
        )


class Events:
    """Events of one store, for one watcher on one loop. They begin when this object is made, and end when the store is
    closed or nothing holds this object any more."""

    def __init__(self, watcher: _cairn.SaveWatcher) -> None:
        self._watcher = watcher

    def close(self) -> None:
        """Stops watching."""
        self._watcher.end()

    def __aiter__(self) -> AsyncIterator[CheckpointEvent]:
        return self

    async def __anext__(self) -> CheckpointEvent:
        while True:
            event, has_ended = self._watcher.take()
            if event is not None:
                return CheckpointEvent.of(event)
            if has_ended:
                raise StopAsyncIteration
            await _loop.start(self._watcher.wait())
