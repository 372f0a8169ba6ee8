"""State that saves itself: a block or a function gets a run's state, and its changes are saved."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Iterator, Optional, TypeVar, Union, cast

from cairn import aio
from cairn.errors import ConflictError, InvalidStateError, NotFoundError
from cairn.names import Durability, OnConflict
from cairn.persistence import StatePersistence
from cairn.results import LoadedState

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass
class _Work:
    """A state in use, and the version at which it was loaded; 0: the run does not exist yet."""

    state: dict[str, Any]
    version: int

    def take(self, result: Any) -> None:
        """Takes a function's result: it may change the state that it was given, or return another one."""
        if isinstance(result, dict):
            self.state = result


def _work_on(loaded: LoadedState[dict[str, Any]]) -> _Work:
    if loaded.state_type is not None:
        found = f'the state of run "{loaded.info.run_id}" is opaque, of type "{loaded.state_type}"'
        raise InvalidStateError(f"{found}: a checkpoint works on a dict")
    return _Work(loaded.state, loaded.info.version)


class Checkpoint:
    """The result of `cairn.checkpoint`: a context manager and a decorator."""

    def __init__(
        self, persistence: Union[StatePersistence, aio.StatePersistence], *, retry: int = 0, **request: Any
    ) -> None:
        if "state_type" in request:
            raise TypeError("a checkpoint works on a dict, which has no state_type: leave it out")
        self._persistence = persistence
        # Loading commits the queued saves of the run. So a save that is only queued would gain nothing here, and would
        # hide a conflict.
        self._request: dict[str, Any] = {"durability": Durability.SYNC, "on_conflict": OnConflict.FAIL, **request}
        self._retry = _checked_retry(retry, self._request)
        self._open: Optional[_Work] = None  # the state of the block under way

    # ---- loading and saving ----

    @property
    def _head(self) -> dict[str, Any]:
        return {name: self._request[name] for name in ("run_id", "thread_id", "user_id")}

    def _to_save(self, work: _Work) -> dict[str, Any]:
        fields: dict[str, Any] = {**self._request, "state": work.state}
        if fields["on_conflict"] == OnConflict.FAIL:
            fields["expected_version"] = work.version
        return fields

    def _load(self) -> _Work:
        try:
            return _work_on(cast(StatePersistence, self._persistence).load_agent_state(**self._head))
        except NotFoundError:
            return _Work({}, 0)

    def _save(self, work: _Work) -> None:
        cast(StatePersistence, self._persistence).save_agent_state(**self._to_save(work))

    async def _load_async(self) -> _Work:
        try:
            return _work_on(await cast(aio.StatePersistence, self._persistence).load_agent_state(**self._head))
        except NotFoundError:
            return _Work({}, 0)

    async def _save_async(self, work: _Work) -> None:
        await cast(aio.StatePersistence, self._persistence).save_agent_state(**self._to_save(work))

    # ---- a block ----

    def _check(self, is_async: bool) -> None:
        if isinstance(self._persistence, aio.StatePersistence) == is_async:
            return
        raise TypeError(
            "a service of cairn.aio needs `async with`, or an `async def` function"
            if not is_async
            else "`async with` and `async def` functions need a service of cairn.aio"
        )

    def _begin(self, is_async: bool) -> None:
        self._check(is_async)
        if self._retry:
            raise TypeError("a block cannot be run again: give retry= to a function that the checkpoint decorates")
        if self._open is not None:
            raise RuntimeError("this checkpoint's block is still under way: make a checkpoint for each block")

    def _end(self) -> _Work:
        work, self._open = self._open, None
        return cast(_Work, work)

    def __enter__(self) -> dict[str, Any]:
        self._begin(is_async=False)
        self._open = self._load()
        return self._open.state

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        work = self._end()
        if kind is None:
            self._save(work)

    async def __aenter__(self) -> dict[str, Any]:
        self._begin(is_async=True)
        self._open = _Work({}, 0)  # another task must not enter while this one loads
        try:
            self._open = await self._load_async()
        except BaseException:
            self._open = None
            raise
        return self._open.state

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        work = self._end()
        if kind is None:
            await self._save_async(work)

    # ---- a function ----

    def _attempts(self) -> Iterator[bool]:
        """Yields for each attempt whether it is the last."""
        for left in range(self._retry, -1, -1):
            yield left == 0

    def __call__(self, function: _Function) -> _Function:
        is_async = inspect.iscoroutinefunction(function)
        self._check(is_async)
        if is_async:

            @functools.wraps(function)
            async def step_async(*arguments: Any, **keywords: Any) -> Any:
                for is_last in self._attempts():
                    work = await self._load_async()
                    result = await function(work.state, *arguments, **keywords)
                    work.take(result)
                    try:
                        await self._save_async(work)
                        return result
                    except ConflictError:
                        if is_last:
                            raise

            return cast(_Function, step_async)

        @functools.wraps(function)
        def step(*arguments: Any, **keywords: Any) -> Any:
            for is_last in self._attempts():
                work = self._load()
                result = function(work.state, *arguments, **keywords)
                work.take(result)
                try:
                    self._save(work)
                    return result
                except ConflictError:
                    if is_last:
                        raise

        return cast(_Function, step)


def _checked_retry(retry: object, request: dict[str, Any]) -> int:
    if not isinstance(retry, int) or isinstance(retry, bool):
        raise TypeError(f"retry must be an int, not {type(retry).__name__}")
    if retry < 0:
        raise ValueError(f"retry is {retry}: give how many times the function may run again, 0 for never")
    if retry and request["durability"] != Durability.SYNC:
        raise ValueError(f'retry needs durability "sync", not "{request["durability"]}": a queued save conflicts later')
    if "expected_version" in request:
        raise TypeError("expected_version is the version that the checkpoint loads: leave it out")
    return retry


def checkpoint(
    persistence: Union[StatePersistence, aio.StatePersistence],
    *,
    run_id: str,
    thread_id: str,
    user_id: str,
    retry: int = 0,
    **request: Any,
) -> Checkpoint:
    """Lets a block or a function work on a run's state, and saves the state afterwards.

    ``with cairn.checkpoint(persistence, run_id=…, thread_id=…, user_id=…) as state:`` gives the run's newest state ({}
    if there is none) and saves it when the block ends. If the block raises, nothing is saved. A decorator gives the
    state to the function as its first argument. Then it saves that state, or the dict that the function returns.
    With a service of `cairn.aio`, use ``async with`` and ``async def`` functions.

    No update is lost: if another writer has saved the run since the state was loaded, nothing is saved and
    ConflictError is raised. With ``retry``, a function then runs again on the new state, at most this many times.
    ``on_conflict="rebase"`` takes the risk and saves on top of the other writer's state.

    Further keywords are those of a save (``checkpoint_type=``, ``metadata=``, …). The save is ``sync`` unless
    ``durability`` says otherwise. A queued save reports a conflict with another process in `flush`.
    """
    return Checkpoint(persistence, run_id=run_id, thread_id=thread_id, user_id=user_id, retry=retry, **request)
