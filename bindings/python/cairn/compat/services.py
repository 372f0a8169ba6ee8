"""The documented services: the same calls, answered with ``(success, snapshot_id)``."""

from __future__ import annotations

from typing import Any, Optional, cast

import cairn
from cairn import CairnError, NotFoundError, aio
from cairn._logging import logger
from cairn.compat.environment import get_env
from cairn.compat.execution import current_execution
from cairn.compat.schemas import NO_USER, StatePersistenceRequest, StateRecoveryRequest, for_engine, request_of
from cairn.compat.stores import is_snapshot_id, store_of
from cairn.store import open_stores

Answer = tuple[bool, Optional[str]]

# Errors in the caller's own values are raised. Other errors are logged, and the answer is False.
_CALLERS_OWN = (cairn.InvalidArgumentError, cairn.InvalidStateError, cairn.LimitExceededError, cairn.ConfigError)


class _Service:
    """Has a service of `cairn.aio` for each store. It is dropped when the store is closed."""

    _kind: type[aio.StatePersistence]

    async def _service_of(self, db_session: Any) -> aio.StatePersistence:
        store = await store_of(db_session)
        service = store._attached.get(self)
        if service is None:
            service = store._attached.setdefault(self, self._made(store))
        return cast(aio.StatePersistence, service)

    def _made(self, store: cairn.Store) -> aio.StatePersistence:
        return self._kind(store, get_env().load_config())

    async def save_agent_state(
        self, request: Optional[cairn.StatePersistenceRequest] = None, db_session: Any = None, **fields: Any
    ) -> Answer:
        """Saves a state: a request, or its fields as keywords (``run_id``, ``thread_id``, ``user_id``, ``state``, …).
        ``checkpoint_type`` is ``manual`` unless it is given, so the save is critical.

        Returns ``(True, snapshot_id)``; if the store could not save it, ``(False, None)``, and the reason is logged as
        an error. Raises TypeError or ValueError naming the field if the request itself is wrong.
        """
        wanted = request_of(StatePersistenceRequest, request, fields)
        try:
            service = await self._service_of(db_session)
            receipt = await service._save(for_engine(wanted), current_execution())
        except _CALLERS_OWN:
            raise
        except CairnError as error:
            logger.error("run %s was not saved: %s", wanted.run_id, error)
            return False, None
        return True, receipt.snapshot_id

    async def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Any = None,
        db_session: Any = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: Optional[type[Any]] = None,
    ) -> Any:
        """Loads the run's newest state, or that of a snapshot, as a dict (or ``state_type``); None if there is none.

        ``load_agent_state(run_id, db_session)`` loads the newest state, too.
        """
        if db_session is None and not is_snapshot_id(snapshot_id):
            snapshot_id, db_session = None, snapshot_id
        service = await self._service_of(db_session)
        try:
            loaded = await service.load_agent_state(
                run_id, snapshot_id, thread_id=thread_id, user_id=user_id, state_type=cast(Any, state_type)
            )
        except NotFoundError:
            return None
        return loaded.state

    async def recover_agent_state(
        self, request: Optional[cairn.StateRecoveryRequest] = None, db_session: Any = None, **fields: Any
    ) -> Answer:
        """Recovers a run. Returns ``(True, snapshot_id)`` with the run's head afterwards; failures as for saves."""
        wanted = request_of(StateRecoveryRequest, request, fields)
        try:
            result = await (await self._service_of(db_session)).recover_agent_state(wanted)
        except _CALLERS_OWN:
            raise
        except CairnError as error:
            logger.error("run %s was not recovered: %s", wanted.run_id, error)
            return False, None
        return True, result.snapshot_id

    async def get_thread_context(
        self, thread_id: Optional[str] = None, user_id: Optional[str] = None, db_session: Any = None
    ) -> dict[str, Any]:
        """Describes a conversation as a dict; an empty one if there is no such thread."""
        if thread_id is None:
            return {}
        try:
            context = await (await self._service_of(db_session)).get_thread_context(thread_id, user_id)
        except NotFoundError:
            return {}
        newest = context.runs[0] if context.runs else None
        return {
            "thread_id": context.thread_id,
            "user_id": None if context.user_id == NO_USER else context.user_id,
            "run_ids": [run.run_id for run in context.runs],
            "snapshots": context.snapshots,
            "current_run_id": context.newest_run_id,
            "current_snapshot_id": context.newest_snapshot_id,
            "agent_phase": context.agent_phase,
            "created_at": None if newest is None else min(run.created_at for run in context.runs),
            "updated_at": context.updated_at,
        }


class StatePersistenceService(_Service):
    """The standard service: every save writes the whole state."""

    _kind = aio.StatePersistenceService


class OptimizedStatePersistence(_Service):
    """The optimised service, with one cache per store."""

    _kind = aio.OptimizedStatePersistence

    def __init__(self) -> None:
        self.fallback_service = StatePersistenceService()
        self._settings: dict[str, Any] = {}

    def _made(self, store: cairn.Store) -> aio.StatePersistence:
        service = super()._made(store)
        cast(aio.OptimizedStatePersistence, service).configure(**self._settings)
        return service

    def _optimized(self) -> list[aio.OptimizedStatePersistence]:
        """Returns the services of the open stores. If there is none, it makes one for an unused store in memory."""
        services = [service for store in open_stores() if (service := store._attached.get(self))]
        return services or [cast(aio.OptimizedStatePersistence, self._made(cairn.open("memory:")))]

    def configure(
        self,
        *,
        enable_deduplication: Optional[bool] = None,
        enable_compression: Optional[bool] = None,
        cache_max_size: Optional[int] = None,
        cache_max_bytes: Optional[int] = None,
        ignore_key_order: Optional[bool] = None,
        enable_optimizations: Optional[bool] = None,
        **others: Any,
    ) -> None:
        """Takes effect for saves that begin afterwards, in every store. Settings that are not given stay as they are.

        ``enable_optimizations`` sets deduplication and compression together. Unknown options are ignored, and the
        logger warns about them by name.
        """
        if others:
            logger.warning("configure: there is no option %s: it is ignored", ", ".join(sorted(others)))
        settings = {
            "enable_deduplication": enable_optimizations if enable_deduplication is None else enable_deduplication,
            "enable_compression": enable_optimizations if enable_compression is None else enable_compression,
            "cache_max_size": cache_max_size,
            "cache_max_bytes": cache_max_bytes,
            "ignore_key_order": ignore_key_order,
        }
        given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
        for service in self._optimized():
            service.configure(**given)
        self._settings.update(given)

    def get_cache_stats(self) -> dict[str, Any]:
        """Returns ``cache_size``, ``cache_max_size``, ``deduplication_enabled``, ``compression_enabled``,
        ``cache_entries`` (run ids) and the engine's counters. With several stores, counters are their sums."""
        first, *others = [service.get_cache_stats() for service in self._optimized()]
        for stats in others:
            for name in ("cache_size", "cache_bytes", "cache_entries", *_COUNTERS):
                first[name] += stats[name]
            for name in ("fallbacks_by_cause", "saves_by_outcome"):
                first[name] = {k: first[name].get(k, 0) + stats[name].get(k, 0) for k in {**first[name], **stats[name]}}
            for name in ("save_latency", "skip_latency", "load_latency"):
                first[name] = stats[name] if stats[name]["count"] > first[name]["count"] else first[name]
        return first

    def clear_cache(self) -> None:
        """Forgets all cached heads. Never needed for correctness."""
        for service in self._optimized():
            service.clear_cache()


_COUNTERS = (
    "hits",
    "misses",
    "evictions",
    "skips",
    "bytes_saved",
    "critical",
    "queue_size",
    "queue_bytes",
    "batches",
    "batched",
    "failed_batches",
    "lost",
)

state_persistence_service = StatePersistenceService()
optimized_state_persistence = OptimizedStatePersistence()
