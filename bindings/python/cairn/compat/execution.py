"""One execution of a run by the user's engine: the core's lease and events, and the watchers of the thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any, Iterator, Optional

from cairn import CairnError, ConflictError, _cairn, _loop
from cairn._logging import logger
from cairn.compat.schemas import NO_USER
from cairn.store import Store

_QUEUE_SIZE = 100
_LAST_MESSAGES_SECONDS = 1.0

_current: contextvars.ContextVar[Optional[_cairn.Execution]] = contextvars.ContextVar("cairn_execution", default=None)


def current_execution() -> Optional[_cairn.Execution]:
    """Returns the execution that a save of the documented services belongs to: its lease and its events apply to it."""
    return _current.get()


class Execution:
    """Sends each event of the core to ``websocket_manager`` (or None), as its JSON form. Close it."""

    def __init__(self, manager: Any, run_id: str, thread_id: str, user_id: Optional[str], timeout_ms: int) -> None:
        self.run_id = run_id
        self._core = _cairn.Execution(str(run_id), thread_id, user_id or NO_USER)
        self._messages = _Messages(manager, thread_id)
        self._timeout_ms = timeout_ms
        self._is_running = False
        self._saves = 0
        self._is_left_to_save = False

    async def begin(self, store: Optional[Store]) -> None:
        """Takes the run's lease, and sends ``started``. Raises ConflictError if somebody else executes the run.

        If the store is out of reach, the run goes on without a lease, because the agents' work must not be lost.
        """
        if store is not None:
            try:
                await _loop.start(self._core.acquire(store._handle, self._timeout_ms))
            except ConflictError:
                raise
            except CairnError as error:
                logger.warning("run %s is executed without a lease: %s", self.run_id, error)
        self._is_running = True
        self._core.tell_started()
        self._pass_on()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Makes the save inside this context one of this execution."""
        token = _current.set(self._core)
        try:
            yield
        except asyncio.CancelledError:
            self._is_left_to_save = True
            raise
        finally:
            _current.reset(token)

    def tell_saved(self, kind: str, success: bool, reason: str) -> None:
        """Sends ``checkpoint`` after a save, also if it failed (with a reason) before the core knew of it."""
        if not success and self._core.saves() == self._saves:
            self._core.tell_unsaved(kind, reason)
        self._saves = self._core.saves()
        self._pass_on()

    def end(self, status: str, error: str = "") -> None:
        """Sends ``completed``."""
        self._is_running = False
        self._core.tell_completed(status, error)
        self._pass_on()

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message that is no event of the core."""
        self._messages.send(message)

    async def close(self) -> None:
        """Releases the lease, and waits a little for messages that are under way. Call it last."""
        if self._is_running:
            self.end("interrupted")
        try:
            if self._is_left_to_save:
                del self._core  # a save that goes on after its task was cancelled holds it, and the lease with it
            else:
                await asyncio.shield(_loop.start(self._core.release(self._timeout_ms)))
        except CairnError as error:
            logger.debug("the lease of run %s was not given up: %s", self.run_id, error)
        finally:
            await self._messages.close()

    def _pass_on(self) -> None:
        for text in self._core.take():
            event = _cairn.loads(text)
            if event["user_id"] == NO_USER:
                event["user_id"] = None
            self._messages.send(event)


def _is_cancelled() -> bool:
    """Returns True if the running task itself is cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Messages:
    """Messages to the watchers of the thread. A slow or broken manager neither delays nor breaks the pipeline."""

    def __init__(self, manager: Any, thread_id: str) -> None:
        self._thread_id = thread_id
        self._dropped = 0
        self._queue: asyncio.Queue[Optional[dict[str, Any]]] = asyncio.Queue(_QUEUE_SIZE)
        self._sender = None if manager is None else asyncio.create_task(self._send_all(manager))

    def send(self, message: dict[str, Any]) -> None:
        if self._sender is None:
            return
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self._dropped += 1

    async def _send_all(self, manager: Any) -> None:
        while (message := await self._queue.get()) is not None:
            try:
                await manager.send_to_thread(self._thread_id, message)
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled():
                    raise
                logger.warning("thread %s was not told of %s: %r", self._thread_id, message["type"], error)

    async def close(self) -> None:
        if self._sender is None:
            return
        try:
            self._queue.put_nowait(None)
            await asyncio.wait_for(self._sender, _LAST_MESSAGES_SECONDS)
        except (asyncio.QueueFull, asyncio.TimeoutError):
            self._sender.cancel()
            left = self._queue.qsize() + self._dropped
            logger.warning("thread %s was not told of %d messages: its manager is too slow", self._thread_id, left)
