"""Calls of the engine for asyncio: each loop has one descriptor that wakes it when calls have ended."""

from __future__ import annotations

import asyncio
import functools
import itertools
import weakref
from typing import Any

from cairn import _cairn

# Limits of one turn when many results come together, so that the loop's other work gets a turn too. Each result lets a
# task go on, which takes time as well.
_RESULTS_PER_TURN = 16
_SECONDS_PER_TURN = 0.001


class _Bridge:
    """Belongs to one loop, which holds it as the reader of its descriptor until the loop is closed. Everything runs on
    the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = _cairn.CompletionQueue()
        self._keys = itertools.count()
        self._futures: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self._queue.fileno(), self._deliver)

    def start(self, call: _cairn.Call, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        key = next(self._keys)
        future = self._futures[key] = loop.create_future()
        submitted = call.start(self._queue, key)
        future.add_done_callback(functools.partial(_see, submitted))
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


def _see(call: _cairn.Submitted, future: asyncio.Future[Any]) -> None:
    """Cancels a call that nobody waits for any more, if it has not begun. Otherwise marks its error as seen, so that
    asyncio does not report it: the engine logs saves that fail."""
    if future.cancelled():
        call.cancel()
    else:
        future.exception()


# This map keeps no loop alive, hence the weak references: a bridge has futures, and pending futures hold their loop.
_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Bridge]] = weakref.WeakKeyDictionary()


def _bridge_of(loop: asyncio.AbstractEventLoop) -> _Bridge:
    known = _bridges.get(loop)
    bridge = None if known is None else known()
    if bridge is None:
        bridge = _Bridge(loop)
        _bridges[loop] = weakref.ref(bridge)
    return bridge


def start(call: _cairn.Call) -> asyncio.Future[Any]:
    """Makes the call and returns a future of the running loop, which receives the result. Cancelling the future cancels
    a call that has not begun."""
    loop = asyncio.get_running_loop()
    return _bridge_of(loop).start(call, loop)
