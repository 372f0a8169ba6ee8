"""The services, and the long calls of a store, for asyncio.

Each loop has one descriptor, which wakes it when calls have ended. No save has a thread of its own, and no call waits
for a call of another run.

If a task is cancelled, its call goes on in the engine: the state may be saved or not. `close` waits for such a call.
``async with`` does too, unless a cancellation, such as Ctrl-C, ends the block itself. Calls that only read, and the
functions of a store, are not made if they have not begun. Saves of one run take effect in the order of the calls,
whichever tasks made them.
"""

from __future__ import annotations

import asyncio
import datetime
from types import TracebackType
from typing import Any, Optional, TypeVar, Union, overload

from cairn import _cairn, _loop
from cairn._leaving import is_leaving
from cairn._service import Calls, loaded_of, request_of
from cairn.config import Config, check_optimizations, load_config
from cairn.requests import StatePersistenceRequest, StateRecoveryRequest
from cairn.results import CheckReport, LoadedState, Receipt, RecoveryRecord, RecoveryResult, ThreadContext
from cairn.store import Store, read_recovery_log, seconds_of

_Self = TypeVar("_Self", bound="StatePersistence")
_State = TypeVar("_State")


class StatePersistence:
    """The interface of both services. It may be used from several loops at the same time."""

    _is_optimized: bool

    def __init__(self, store: Store, config: Optional[Config] = None, **settings: Any) -> None:
        """``config`` replaces that of the environment. ``settings`` replace members of it (``durability="async"``)."""
        self._calls = Calls(store, config, settings, self._is_optimized)

    @property
    def store(self) -> Store:
        return self._calls.store

    async def _made(self, call: _cairn.Call) -> Any:
        return await asyncio.shield(_loop.start(call))

    async def save_agent_state(self, request: Optional[StatePersistenceRequest] = None, **fields: Any) -> Receipt:
        """Saves a state as its run's new head. Give a request, or its fields (``state=`` for ``state_data``).

        Returns when the requested durability is reached. On any error the run's head is unharmed.
        """
        return await self._save(request_of(StatePersistenceRequest, request, fields))

    async def _save(self, wanted: StatePersistenceRequest, execution: Optional[_cairn.Execution] = None) -> Receipt:
        return Receipt.of(await self._made(self._calls.save(wanted, execution)))

    @overload
    async def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
    ) -> LoadedState[dict[str, Any]]: ...

    @overload
    async def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: type[_State],
    ) -> LoadedState[_State]: ...

    @overload
    async def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: str,
    ) -> LoadedState[bytes]: ...

    async def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: Union[type[Any], str, None] = None,
    ) -> LoadedState[Any]:
        """Loads the run's newest state or one of its snapshots. ``state_type``: a pydantic model or dataclass to build,
        or the type that an opaque state must have been saved with. An opaque state is bytes.

        Raises NotFoundError (also if it belongs to another thread or user than the given ones) and CorruptError.
        """
        return loaded_of(await _loop.start(self._calls.load(run_id, snapshot_id, thread_id, user_id)), state_type)

    async def recover_agent_state(
        self, request: Optional[StateRecoveryRequest] = None, **fields: Any
    ) -> RecoveryResult:
        """Recovers a run and writes a line to its recovery log. A failure leaves a line only if damage is the cause."""
        wanted = request_of(StateRecoveryRequest, request, fields)
        return RecoveryResult.of(await self._made(self._calls.recover(wanted)))

    async def get_thread_context(self, thread_id: str, user_id: Optional[str] = None) -> ThreadContext:
        """Describes a conversation. Raises NotFoundError, and ValueError if several users have such a thread."""
        return ThreadContext.of(await _loop.start(self._calls.thread_context(thread_id, user_id)))

    async def flush(self, run_id: str, *, timeout: Optional[float] = None) -> None:
        """Waits until all earlier saves of the run are on disk. ``timeout`` is in seconds."""
        await self._made(self._calls.flush(run_id, timeout))

    async def flush_all(self, *, timeout: Optional[float] = None) -> None:
        """`flush` for all runs."""
        await self._made(self._calls.flush(None, timeout))

    async def close(self) -> None:
        """Refuses further calls, waits for those under way and commits the queued saves. The store stays open."""
        await self._made(self._calls.engine.close())

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        engine = self._calls.engine
        if is_leaving(kind, [engine], self):
            _cairn.Call.leave([engine.close()])
        else:
            await self.close()


class StatePersistenceService(StatePersistence):
    """The standard service: every save writes the whole state in a durable transaction of its own."""

    _is_optimized = False


class OptimizedStatePersistence(StatePersistence):
    """The optimised service: skips stored states, writes changes only, and commits many saves together."""

    _is_optimized = True

    def configure(
        self,
        *,
        enable_deduplication: Optional[bool] = None,
        enable_compression: Optional[bool] = None,
        cache_max_size: Optional[int] = None,
        cache_max_bytes: Optional[int] = None,
        ignore_key_order: Optional[bool] = None,
    ) -> None:
        """Takes effect for saves that begin afterwards. Settings that are not given stay as they are."""
        settings = {
            "enable_deduplication": enable_deduplication,
            "enable_compression": enable_compression,
            "cache_max_size": cache_max_size,
            "cache_max_bytes": cache_max_bytes,
            "ignore_key_order": ignore_key_order,
        }
        self._calls.engine.configure(**check_optimizations(settings))

    def get_cache_stats(self) -> dict[str, Any]:
        """Returns cache, queue and counters: ``cache_size``, ``cache_entries`` (run ids), ``skips``, ``batches``, …"""
        return self._calls.engine.cache_stats()

    def clear_cache(self) -> None:
        """Forgets all cached heads. Never needed for correctness."""
        self._calls.engine.clear_cache()


def make_persistence(store: Store, config: Optional[Config] = None, **settings: Any) -> StatePersistence:
    """Makes the service that the configuration chooses: the optimised one if ENABLE_OPTIMIZED_PERSISTENCE is true."""
    chosen = load_config() if config is None else config
    kind = OptimizedStatePersistence if chosen.enable_optimized_persistence else StatePersistenceService
    return kind(store, chosen, **settings)


# ---- functions of a store ----


async def stats(store: Store) -> dict[str, int]:
    """Does the same as `Store.stats`."""
    counted: dict[str, int] = await _loop.start(store.call("stats"))
    return counted


async def check(store: Store, *, deep: bool = False) -> CheckReport:
    """Does the same as `Store.check`."""
    return CheckReport.of(await _loop.start(store.call("check", deep=deep)))


async def recovery_log(store: Store, run_id: str, *, limit: int = 100) -> list[RecoveryRecord]:
    """Does the same as `Store.recovery_log`."""
    return read_recovery_log(await _loop.start(store.call("recovery_log", run_id, limit=limit)))


async def prune(
    store: Store,
    *,
    keep_last: Optional[int] = None,
    age_max: Optional[datetime.timedelta] = None,
    expired: bool = False,
    include_recovery_points: bool = False,
    run_id: Optional[str] = None,
    thread_id: Optional[str] = None,
    user_id: Optional[str] = None,
    dry_run: bool = False,
) -> dict[str, int]:
    """Does the same as `Store.prune`. Once it has begun, it goes on even if its task is cancelled."""
    report: dict[str, int] = await _loop.start(
        store.call(
            "prune",
            keep_last=keep_last,
            age_max_seconds=seconds_of(age_max),
            expired=expired,
            include_recovery_points=include_recovery_points,
            run_id=run_id,
            thread_id=thread_id,
            user_id=user_id,
            dry_run=dry_run,
        )
    )
    return report


async def delete_runs(
    store: Store,
    *,
    run_id: Optional[str] = None,
    thread_id: Optional[str] = None,
    user_id: Optional[str] = None,
    dry_run: bool = False,
) -> dict[str, int]:
    """Does the same as `Store.delete_runs`. Once it has begun, it goes on even if its task is cancelled."""
    report: dict[str, int] = await _loop.start(
        store.call("delete_runs", run_id=run_id, thread_id=thread_id, user_id=user_id, dry_run=dry_run)
    )
    return report
