"""Calls of the engine for asyncio: each loop has one descriptor that wakes it when calls have ended."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from typing import Any

from cairn import _cairn

# What a loop is kept with when many results come together, before its other work gets a turn: each of them lets a task
# go on, which takes its time too.
_RESULTS_PER_TURN = 50
_SECONDS_PER_TURN = 0.001


class _Bridge:
    """Of one loop. Everything runs on the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = _cairn.CompletionQueue()
        self._keys = itertools.count()
        self._futures: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self._queue.fileno(), self._deliver)

    def start(self, call: _cairn.Call, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        key = next(self._keys)
        future = loop.create_future()
        call.start(self._queue, key)
        self._futures[key] = future
        return future

    def _deliver(self) -> None:
        for key, value, error in self._queue.drain(_RESULTS_PER_TURN, _SECONDS_PER_TURN):
            future = self._futures.pop(key)
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Bridge] = weakref.WeakKeyDictionary()


def start(call: _cairn.Call) -> asyncio.Future[Any]:
    """Makes the call; the running loop's future is told how it ended."""
    loop = asyncio.get_running_loop()
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _bridges[loop] = _Bridge(loop)
    return bridge.start(call, loop)
