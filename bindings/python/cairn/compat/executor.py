"""The documented pipeline executor: the user's engine runs the agents, the result is persisted by itself."""

from __future__ import annotations

import asyncio
from typing import Any, Iterable, Iterator, Mapping, MutableMapping, Optional, Union

from cairn import CheckpointType
from cairn._logging import logger
from cairn.compat.environment import get_env
from cairn.compat.services import (
    OptimizedStatePersistence,
    StatePersistenceService,
    optimized_state_persistence,
    state_persistence_service,
)

_QUEUE_SIZE = 100
_LAST_MESSAGES_SECONDS = 1.0


class PipelineExecutor:
    """``engine.execute_pipeline(pipeline, context, state)`` is the user's own; ``websocket_manager`` may be None.

    ``state_persistence`` is the optimised service if ENABLE_OPTIMIZED_PERSISTENCE says so, otherwise the standard one.
    """

    def __init__(self, engine: Any, websocket_manager: Any = None, db_session: Any = None) -> None:
        if not callable(getattr(engine, "execute_pipeline", None)):
            raise TypeError(f"engine must have execute_pipeline(pipeline, context, state); {type(engine).__name__} has not")
        self.engine = engine
        self.websocket_manager = websocket_manager
        self.db_session = db_session
        is_optimized = get_env().load_config().enable_optimized_persistence
        self.state_persistence: Union[OptimizedStatePersistence, StatePersistenceService] = (
            optimized_state_persistence if is_optimized else state_persistence_service
        )

    async def execute_pipeline(self, pipeline: Any, state: Any, run_id: str, context: Any) -> Any:
        """Runs the pipeline, merges the states of successful results into ``state``, and saves it once.

        ``context`` is a mapping or an object with ``thread_id`` and ``user_id``. Returns what the engine returned. If
        a result failed, or the engine or a merge raises (which is passed on), the state is saved as ``recovery``. A
        state that could not be saved is logged as an error and told to the watchers; the results are returned all the
        same.
        """
        thread_id, user_id = _owner(context, "thread_id"), _owner(context, "user_id")
        messages = _Messages(self.websocket_manager, thread_id, run_id)
        try:
            messages.send("pipeline_started")
            try:
                results = await self.engine.execute_pipeline(pipeline, context, state)
                succeeded = _merge_results(state, _as_list(results))
            except Exception as error:
                await self._save(state, run_id, thread_id, user_id, CheckpointType.RECOVERY, messages)
                messages.send("pipeline_failed", error=str(error))
                raise
            kind = CheckpointType.PIPELINE_COMPLETE if succeeded else CheckpointType.RECOVERY
            await self._save(state, run_id, thread_id, user_id, kind, messages)
            messages.send("pipeline_completed" if succeeded else "pipeline_failed")
            return results
        finally:
            await messages.close()

    async def _save(
        self, state: Any, run_id: str, thread_id: str, user_id: str, kind: CheckpointType, messages: _Messages
    ) -> None:
        try:
            success, snapshot_id = await self.state_persistence.save_agent_state(
                run_id=run_id,
                thread_id=thread_id,
                user_id=user_id,
                state=state,
                checkpoint_type=kind,
                db_session=self.db_session,
            )
        except Exception as error:  # the state's own and the session's too: what the agents did is not to be lost
            logger.error("the state of run %s was not saved: %s", run_id, error)
            success, snapshot_id = False, None
        messages.send("checkpoint", checkpoint_type=kind.value, saved=success, snapshot_id=snapshot_id)


def _owner(context: Any, name: str) -> str:
    value = context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
    if not isinstance(value, str) or not value:
        raise ValueError(f"context has no {name}: it says whose run this is, so that nobody else reads it")
    return value


def _as_list(results: Any) -> list[Any]:
    if results is None:
        return []
    if isinstance(results, Iterable) and not isinstance(results, (str, bytes, Mapping)):
        return list(results)
    return [results]


def _merge_results(state: Any, results: list[Any]) -> bool:
    """True if all succeeded."""
    for result in results:
        other = getattr(result, "state", None)
        if getattr(result, "success", False) and other is not None and other is not state:
            _merge(state, other)
    return all(getattr(result, "success", False) for result in results)


def _merge(state: Any, other: Any) -> None:
    if hasattr(state, "merge_from"):
        state.merge_from(other)
        return
    members = other if isinstance(other, Mapping) else _members_of(other)
    if isinstance(state, MutableMapping):
        state.update(members)
        return
    for name, value in members.items():
        setattr(state, name, value)


def _members_of(state: Any) -> dict[str, Any]:
    """Top-level members as they are, not copied: models and dataclasses keep them in their dict, or in slots."""
    names = (name for name in _names_of(state) if not name.startswith("_") and hasattr(state, name))
    return {name: getattr(state, name) for name in names}


def _names_of(state: Any) -> Iterator[str]:
    for base in reversed(type(state).__mro__):
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots
    yield from getattr(state, "__dict__", ())


def _is_cancelled() -> bool:
    """Whether the running task itself is: what it waits for may have been cancelled by somebody else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Messages:
    """To whoever watches the thread. A manager that is slow or broken neither delays the pipeline nor breaks it."""

    def __init__(self, manager: Any, thread_id: str, run_id: str) -> None:
        self._thread_id = thread_id
        self._run_id = run_id
        self._dropped = 0
        self._queue: asyncio.Queue[Optional[dict[str, Any]]] = asyncio.Queue(_QUEUE_SIZE)
        self._sender = None if manager is None else asyncio.create_task(self._send_all(manager))

    def send(self, kind: str, **members: Any) -> None:
        if self._sender is None:
            return
        try:
            self._queue.put_nowait({"type": kind, "run_id": self._run_id, "thread_id": self._thread_id, **members})
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
