"""Stores, which hold snapshots."""

from __future__ import annotations

import asyncio
import atexit
import datetime
import os
import weakref
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Generic, Iterator, Mapping, Optional, TypeVar

from cairn import _cairn, _logging, _loop
from cairn._leaving import are_held_up, is_leaving
from cairn.config import Config, load_config
from cairn.errors import CairnError
from cairn.events import Events
from cairn.requests import check_text, microseconds_of
from cairn.results import CheckReport, RecoveryRecord, RunInfo, SnapshotInfo, ThreadInfo

_Self = TypeVar("_Self", bound="Store")
_Item = TypeVar("_Item")
_Reader = Callable[[Any], tuple[list[_Item], Any]]  # a page's items, and the cursor of the next page; None: no more

_PAGE = 100


def open(url: Optional[str] = None, *, read_only: bool = False, create: bool = True) -> Store:
    """Opens the store that ``url`` names: ``sqlite:PATH`` (made if it is missing), or ``memory:``.

    Without ``url`` it opens the store of the variable CAIRN_STORE (``sqlite:cairn.db``). Use it in a ``with`` or
    ``async with`` statement. Raises NotFoundError, ReadOnlyError, IncompatibleError (not a cairn store) and others.
    """
    _logging.start()
    config = load_config()
    url = config.store_url if url is None else url
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, as sqlite:PATH, not {type(url).__name__}")
    return Store(_cairn.open(url, read_only=read_only, create=create, file_mode=config.file_mode), url)


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def open_stores() -> list[Store]:
    """Returns the open stores of this process."""
    return list(_open_stores)


# Commits the queued saves of a program that ends without closing its stores.
def _close_all() -> None:
    for store in open_stores():
        if are_held_up(list(store._services)):
            continue
        try:
            store.close()
        except CairnError as error:
            _logging.logger.error("%r could not be closed: %s", store, error)


atexit.register(_close_all)
os.register_at_fork(after_in_child=_open_stores.clear)


class Store:
    """An open store, safe to use from any thread. Methods block, and release the GIL meanwhile. Listings may be
    iterated with ``for`` or with ``async for``."""

    def __init__(self, handle: _cairn.Store, url: str) -> None:
        self._handle = handle
        self._url = url
        self._services: weakref.WeakSet[_cairn.Service] = weakref.WeakSet()
        # Objects that other modules made for this store; they are dropped when it is closed.
        self._attached: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        _open_stores.add(self)

    @property
    def url(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"<cairn.Store {self._url}>"

    def history(
        self,
        run_id: str,
        *,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        checkpoint_type: Optional[str] = None,
        agent_phase: Optional[str] = None,
        is_recovery_point: Optional[bool] = None,
        created_from: Optional[datetime.datetime] = None,
        created_until: Optional[datetime.datetime] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        oldest_first: bool = False,
        limit: Optional[int] = None,
    ) -> Pages[SnapshotInfo]:
        """Lists the run's snapshots, newest first.

        ``metadata`` holds members that the snapshots' metadata must have. Times must have a time zone;
        ``created_until`` is exclusive.
        """
        check_text("run_id", run_id)
        query: dict[str, Any] = {
            "thread_id": thread_id,
            "user_id": user_id,
            "checkpoint_type": None if checkpoint_type is None else str(checkpoint_type),
            "agent_phase": None if agent_phase is None else str(agent_phase),
            "is_recovery_point": is_recovery_point,
            "created_from": microseconds_of("created_from", created_from),
            "created_until": microseconds_of("created_until", created_until),
            "metadata": dict(metadata or {}),
            "oldest_first": oldest_first,
        }

        def ask(after_version: Optional[int], count: int) -> _cairn.Call:
            return self._handle.history(run_id, after_version=after_version, limit=count, **query)

        return Pages(ask, _read_history, limit)

    def runs(
        self, *, thread_id: Optional[str] = None, user_id: Optional[str] = None, limit: Optional[int] = None
    ) -> Pages[RunInfo]:
        """Lists runs, newest created first."""

        def ask(cursor: Optional[str], count: int) -> _cairn.Call:
            return self._handle.runs(thread_id=thread_id, user_id=user_id, cursor=cursor or "", limit=count)

        return Pages(ask, _read_runs, limit)

    def threads(self, *, user_id: Optional[str] = None, limit: Optional[int] = None) -> Pages[ThreadInfo]:
        """Lists threads by id. One thread id under two users is two threads."""

        def ask(cursor: Optional[str], count: int) -> _cairn.Call:
            return self._handle.threads(user_id=user_id, cursor=cursor or "", limit=count)

        return Pages(ask, _read_threads, limit)

    def recovery_log(self, run_id: str, *, limit: int = 100) -> list[RecoveryRecord]:
        """Returns the run's recoveries, newest first."""
        return read_recovery_log(self.call("recovery_log", run_id, limit=limit).wait())

    def stats(self) -> dict[str, Any]:
        """Returns counts and sizes. Reads all rows."""
        stats: dict[str, Any] = self.call("stats").wait()
        return stats

    def check(self, *, deep: bool = False) -> CheckReport:
        """Looks for damage; ``deep`` decodes every snapshot."""
        return CheckReport.of(self.call("check", deep=deep).wait())

    def prune(
        self,
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
        """Deletes the snapshots that the rules select, and returns counts. Heads stay, and all snapshots that
        remain still load."""
        report: dict[str, int] = self.call(
            "prune",
            keep_last=keep_last,
            age_max_seconds=seconds_of(age_max),
            expired=expired,
            include_recovery_points=include_recovery_points,
            run_id=run_id,
            thread_id=thread_id,
            user_id=user_id,
            dry_run=dry_run,
        ).wait()
        return report

    def delete_runs(
        self,
        *,
        run_id: Optional[str] = None,
        thread_id: Optional[str] = None,
        user_id: Optional[str] = None,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Deletes whole runs: one run, a thread's, or a user's. Further arguments narrow the selection."""
        report: dict[str, int] = self.call(
            "delete_runs", run_id=run_id, thread_id=thread_id, user_id=user_id, dry_run=dry_run
        ).wait()
        return report

    def events(self, *, queue_size: int = 1000) -> Events:
        """Watches the saves that are made through this store from now on: ``async for event in store.events()``.

        A watcher that is too slow loses the oldest of ``queue_size`` events; its next event says how many were lost.
        """
        if queue_size < 1:
            raise ValueError(f"queue_size is {queue_size}: give at least 1")
        return Events(self._handle.watch(queue_size=queue_size))

    def call(self, name: str, *arguments: Any, **options: Any) -> _cairn.Call:
        """Prepares a call of the engine's store. `cairn.aio` makes the same calls for event loops."""
        call: _cairn.Call = getattr(self._handle, name)(*arguments, **options)
        return call

    def service_of(self, config: Config, *, is_optimized: bool) -> _cairn.Service:
        """Makes the engine of a service. It is closed with the store."""
        service = _cairn.Service(self._handle, config, is_optimized=is_optimized)
        self._services.add(service)
        return service

    def close(self) -> None:
        """Closes the store. First closes the services that use it, which commits their queued saves. Waits for calls
        under way."""
        try:
            for service in list(self._services):
                service.close().wait()
        except CairnError:
            self._close_itself()
            raise
        self._close_itself()

    def _close_itself(self) -> None:
        self._handle.close().wait()
        self._forget()

    def _forget(self) -> None:
        self._handle.end_watching()
        self._attached.clear()
        _open_stores.discard(self)

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if not self._leave(kind):
            self.close()

    def _leave(self, kind: Optional[type[BaseException]]) -> bool:
        """If the program is being ended, begins to close the store, waits for nothing, and returns True."""
        services = list(self._services)
        if not is_leaving(kind, services, self):
            return False
        _cairn.Call.leave([*(service.close() for service in services), self._handle.close()])
        self._forget()
        return True

    async def __aenter__(self: _Self) -> _Self:
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if not self._leave(kind):
            await asyncio.get_running_loop().run_in_executor(None, self.close)


class Pages(Generic[_Item]):
    """A listing of a store, for ``for`` and ``async for``. It is read page by page, as far as needed. Each loop starts
    from the beginning."""

    def __init__(self, ask: Callable[[Any, int], _cairn.Call], read: _Reader[_Item], limit: Optional[int]) -> None:
        self._ask = ask
        self._read = read
        self._limit = limit

    def _left(self, found: int) -> int:
        return _PAGE if self._limit is None else min(_PAGE, self._limit - found)

    def __iter__(self) -> Iterator[_Item]:
        found, cursor = 0, None
        while self._left(found) > 0:
            items, cursor = self._read(self._ask(cursor, self._left(found)).wait())
            yield from items
            found += len(items)
            if cursor is None:
                return

    async def __aiter__(self) -> AsyncIterator[_Item]:
        found, cursor = 0, None
        while self._left(found) > 0:
            items, cursor = self._read(await _loop.start(self._ask(cursor, self._left(found))))
            for item in items:
                yield item
            found += len(items)
            if cursor is None:
                return


def seconds_of(age: Optional[datetime.timedelta]) -> Optional[float]:
    return None if age is None else age.total_seconds()


def read_recovery_log(raw: list[Any]) -> list[RecoveryRecord]:
    return [RecoveryRecord.of(each) for each in raw]


def _read_history(raw: list[Any]) -> tuple[list[SnapshotInfo], Optional[int]]:
    items = [SnapshotInfo.of(each) for each in raw]
    return items, items[-1].version if items else None


def _read_runs(raw: tuple[list[Any], str]) -> tuple[list[RunInfo], Optional[str]]:
    return [RunInfo.of(each) for each in raw[0]], raw[1] or None


def _read_threads(raw: tuple[list[Any], str]) -> tuple[list[ThreadInfo], Optional[str]]:
    return [ThreadInfo.of(each) for each in raw[0]], raw[1] or None
