"""The services with blocking calls. `cairn.aio` has the same services for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional, TypeVar, Union, overload

from cairn import _cairn
from cairn._leaving import is_leaving
from cairn._service import Calls, loaded_of, request_of
from cairn.config import Config, check_optimizations, load_config
from cairn.requests import StatePersistenceRequest, StateRecoveryRequest
from cairn.results import LoadedState, Receipt, RecoveryResult, ThreadContext
from cairn.store import Store

_Self = TypeVar("_Self", bound="StatePersistence")
_State = TypeVar("_State")


class StatePersistence:
    """The interface of both services. Safe to use from any thread; the GIL is released while the engine works.

    Ctrl-C, or any signal whose handler raises, ends the wait for a call at once. The call itself goes on. So an
    interrupted save may be applied or not, and later saves of its run take effect after it.
    """

    _is_optimized: bool

    def __init__(self, store: Store, config: Optional[Config] = None, **settings: Any) -> None:
        """``config`` replaces that of the environment. ``settings`` replace members of it (``durability="async"``)."""
        self._calls = Calls(store, config, settings, self._is_optimized)

    @property
    def store(self) -> Store:
        return self._calls.store

    def save_agent_state(self, request: Optional[StatePersistenceRequest] = None, **fields: Any) -> Receipt:
        """Saves a state as its run's new head. Give a request, or its fields (``state=`` for ``state_data``).

        Returns when the requested durability is reached. On any error the run's head is unharmed.
        """
        wanted = request_of(StatePersistenceRequest, request, fields)
        return Receipt.of(self._calls.save(wanted).wait())

    @overload
    def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
    ) -> LoadedState[dict[str, Any]]: ...

    @overload
    def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: type[_State],
    ) -> LoadedState[_State]: ...

    @overload
    def load_agent_state(
        self,
        run_id: str,
        snapshot_id: Optional[str] = None,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        state_type: str,
    ) -> LoadedState[bytes]: ...

    def load_agent_state(
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
        return loaded_of(self._calls.load(run_id, snapshot_id, thread_id, user_id).wait(), state_type)

    def recover_agent_state(self, request: Optional[StateRecoveryRequest] = None, **fields: Any) -> RecoveryResult:
        """Recovers a run and writes a line to its recovery log. A failure leaves a line only if damage is the cause."""
        wanted = request_of(StateRecoveryRequest, request, fields)
        return RecoveryResult.of(self._calls.recover(wanted).wait())

    def get_thread_context(self, thread_id: str, user_id: Optional[str] = None) -> ThreadContext:
        """Describes a conversation. Raises NotFoundError, and ValueError if several users have such a thread."""
        return ThreadContext.of(self._calls.thread_context(thread_id, user_id).wait())

    def flush(self, run_id: str, *, timeout: Optional[float] = None) -> None:
        """Waits until all earlier saves of the run are on disk. ``timeout`` is in seconds."""
        self._calls.flush(run_id, timeout).wait()

    def flush_all(self, *, timeout: Optional[float] = None) -> None:
        """`flush` for all runs."""
        self._calls.flush(None, timeout).wait()

    def close(self) -> None:
        """Commits the queued saves and refuses further calls. The store stays open."""
        self._calls.engine.close().wait()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        engine = self._calls.engine
        if is_leaving(kind, [engine], self):
            _cairn.Call.leave([engine.close()])
        else:
            self.close()


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
