"""Events of a store, for watchers."""

from __future__ import annotations

import asyncio
import collections
import datetime
import threading
import weakref
from dataclasses import dataclass, replace
from typing import AsyncIterator, Optional

from cairn.errors import CairnError
from cairn.results import Receipt


@dataclass(frozen=True, slots=True)
class CheckpointEvent:
    """A save ended: with a ``receipt``, or an ``error``. ``dropped`` events before it did not reach this watcher."""

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


class EventHub:
    """Sends events to every watcher of one store. It costs nothing as long as there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: weakref.WeakSet[Events] = weakref.WeakSet()  # a watcher may go away without `close`
        self._sequence = 0

    @property
    def is_watched(self) -> bool:
        return len(self._watchers) > 0

    def watch(self, queue_size: int) -> Events:
        return Events(self, queue_size)

    def add(self, watcher: Events) -> None:
        with self._lock:
            self._watchers.add(watcher)

    def remove(self, watcher: Events) -> None:
        with self._lock:
            self._watchers.discard(watcher)

    def tell(self, event: CheckpointEvent) -> None:
        with self._lock:
            self._sequence += 1
            event = replace(event, sequence=self._sequence)
            for watcher in self._watchers:
                watcher.put(event)

    def close(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
            self._watchers.clear()
        for watcher in watchers:
            watcher.end()


class Events:
    """Events of one store, for one watcher on one loop. They begin when this object is made, and end when the store is
    closed."""

    def __init__(self, hub: EventHub, queue_size: int) -> None:
        if queue_size < 1:
            raise ValueError(f"queue_size is {queue_size}: give at least 1")
        self._hub = hub
        self._lock = threading.Lock()
        self._events: collections.deque[CheckpointEvent] = collections.deque()
        self._queue_size = queue_size
        self._dropped = 0
        self._has_ended = False
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        hub.add(self)

    def put(self, event: CheckpointEvent) -> None:
        with self._lock:
            if len(self._events) == self._queue_size:
                self._events.popleft()
                self._dropped += 1
            self._events.append(event)
        self._wake()

    def end(self) -> None:
        self._has_ended = True
        self._wake()

    def close(self) -> None:
        """Stops watching."""
        self._hub.remove(self)
        self.end()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # the loop is closed: nobody watches any more
            pass

    def __aiter__(self) -> AsyncIterator[CheckpointEvent]:
        return self

    async def __anext__(self) -> CheckpointEvent:
        while True:
            with self._lock:
                self._woken.clear()
                if self._events:
                    event, dropped = self._events.popleft(), self._dropped
                    self._dropped = 0
                    return replace(event, dropped=dropped) if dropped else event
                if self._has_ended:
                    raise StopAsyncIteration
            await self._woken.wait()
