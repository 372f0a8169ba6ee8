"""The documented pipeline executor: the user's engine runs the agents, and the executor saves the result."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional, Union

from cairn import _cairn
from cairn._logging import logger
from cairn.compat.context import context_for_engine
from cairn.compat.environment import get_env
from cairn.compat.execution import Execution
from cairn.compat.schemas import CheckpointType
from cairn.compat.services import (
    Answer,
    OptimizedStatePersistence,
    StatePersistenceService,
    optimized_state_persistence,
    state_persistence_service,
)
from cairn.compat.states import MergedState, data_of
from cairn.compat.stores import check, store_of_execution


class PipelineExecutor:
    """``engine.execute_pipeline(pipeline, context, state)`` is the user's own; ``websocket_manager`` may be None.

    ``state_persistence`` is the optimised service if ENABLE_OPTIMIZED_PERSISTENCE says so, otherwise the standard one.
    Raises TypeError or ValueError if there is no store for ``db_session``.
    """

    def __init__(self, engine: Any, websocket_manager: Any = None, db_session: Any = None) -> None:
        if not callable(getattr(engine, "execute_pipeline", None)):
            raise TypeError(f"engine must have execute_pipeline(pipeline, context, state); {type(engine).__name__} has not")
        self.engine = engine
        self.websocket_manager = websocket_manager
        self.db_session = db_session
        check(db_session)
        config = get_env().load_config()
        self._timeout_ms = config.timeout_ms
        self.state_persistence: Union[OptimizedStatePersistence, StatePersistenceService] = (
            optimized_state_persistence if config.enable_optimized_persistence else state_persistence_service
        )

    async def execute_pipeline(self, pipeline: Any, state: Any, run_id: str, context: Any) -> Any:
        """Runs the pipeline, merges the states of successful results into ``state``, and saves it once. The run's lease
        is held meanwhile.

        ``context`` is a mapping or an object with ``thread_id`` and ``user_id`` (which may be None). The engine finds
        these, ``run_id`` and ``agent_name`` in it as members and as attributes. If a merge makes a new state, that one
        is saved, and ``state`` gets the members that it accepts. Returns what the engine returned. If a result failed,
        or if the engine or a merge raises (the exception is passed on), the state is saved as ``recovery``. A failed
        save is logged as an error and reported to the watchers; the results are returned all the same. Raises TypeError
        or ValueError, before anything runs, if there is no store for the sessions of a factory, and ConflictError if another
        executor has the run.
        """
        thread_id, user_id = _thread_of(context), _user_of(context)
        store = await store_of_execution(self.db_session)
        told = context_for_engine(context, run_id=run_id, thread_id=thread_id, user_id=user_id, agent_name="supervisor")
        execution = self._execution(run_id, thread_id, user_id)
        merged = MergedState(state)
        try:
            await execution.begin(store)
            session = self.db_session if store is None else store
            try:
                results = await self.engine.execute_pipeline(pipeline, told, state)
                succeeded = merged.take(_as_list(results))
            except Exception as error:
                await self._save(merged.current, execution, thread_id, user_id, CheckpointType.RECOVERY, session)
                execution.end("failed", str(error) or type(error).__name__)
                raise
            kind = CheckpointType.PIPELINE_COMPLETE if succeeded else CheckpointType.RECOVERY
            await self._save(merged.current, execution, thread_id, user_id, kind, session)
            execution.end("completed" if succeeded else "failed")
            return results
        finally:
            await execution.close()

    async def finalize_state(self, state: Any, context: Any) -> Answer:
        """Saves the state as ``auto`` and sends ``agent_completed``, with the state, to the watchers of the thread.

        ``context`` must have ``run_id`` too. Returns whether the state was saved, and its snapshot's id.
        """
        run_id, thread_id = _required(context, "run_id", "which run this is"), _thread_of(context)
        user_id = _user_of(context)
        execution = self._execution(run_id, thread_id, user_id)
        try:
            answer = await self._save(state, execution, thread_id, user_id, CheckpointType.AUTO, self.db_session)
            payload = _completion(run_id, state, answer[0])
            execution.send({"type": "agent_completed", "run_id": run_id, "thread_id": thread_id, "payload": payload})
            return answer
        finally:
            await execution.close()

    def _execution(self, run_id: str, thread_id: str, user_id: Optional[str]) -> Execution:
        return Execution(self.websocket_manager, run_id, thread_id, user_id, self._timeout_ms)

    async def _save(
        self,
        state: Any,
        execution: Execution,
        thread_id: str,
        user_id: Optional[str],
        kind: CheckpointType,
        db_session: Any,
    ) -> Answer:
        answer: Answer = (False, None)
        reason = "the store could not save it: the log says why"
        try:
            with execution.saving():
                answer = await self.state_persistence.save_agent_state(
                    run_id=execution.run_id,
                    thread_id=thread_id,
                    user_id=user_id,
                    state=state,
                    checkpoint_type=kind,
                    db_session=db_session,
                )
        except Exception as error:  # errors of the state and of the session too: the agents' results must not be lost
            logger.error("the state of run %s was not saved: %s", execution.run_id, error)
            reason = str(error)
        execution.tell_saved(kind.value, bool(answer[0]), reason)
        return answer


def _member(context: Any, name: str) -> Any:
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)


def _required(context: Any, name: str, meaning: str) -> str:
    value = _member(context, name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"context has no {name}: it says {meaning}")
    return value


def _thread_of(context: Any) -> str:
    return _required(context, "thread_id", "to which conversation this run belongs")


def _user_of(context: Any) -> Optional[str]:
    """Returns None only if the context says so: a missing ``user_id`` is an error."""
    has_user = "user_id" in context if isinstance(context, Mapping) else hasattr(context, "user_id")
    if has_user and _member(context, "user_id") is None:
        return None
    return _required(context, "user_id", "whose run this is, so that nobody else reads it")


def _completion(run_id: str, state: Any, is_saved: bool) -> dict[str, Any]:
    """Makes the documented payload. A state without a JSON form was not saved, and is not sent."""
    output = _cairn.loads(_cairn.dumps(data_of(state)).decode()) if is_saved else None
    return {"run_id": run_id, "result": {"success": True, "output": output}, "execution_time_ms": 0.0}


def _as_list(results: Any) -> list[Any]:
    if results is None:
        return []
    if isinstance(results, Iterable) and not isinstance(results, (str, bytes, Mapping)):
        return list(results)
    return [results]
