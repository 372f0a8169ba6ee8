"""State that saves itself: a block, or a function, that is given a run's state and whose changes are saved."""

from __future__ import annotations

import functools
import inspect
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, AsyncIterator, Callable, Iterator, TypeVar, Union, cast

from cairn import aio
from cairn.errors import NotFoundError
from cairn.persistence import StatePersistence

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass
class _Work:
    state: dict[str, Any]

    def take(self, result: Any) -> None:
        """A function may change the state that it is given, or return another one."""
        if isinstance(result, dict):
            self.state = result


class Checkpoint:
    """What `cairn.checkpoint` makes: a context manager, and a decorator."""

    def __init__(self, persistence: Union[StatePersistence, aio.StatePersistence], **request: Any) -> None:
        self._persistence = persistence
        self._request = request
        self._open: Any = None  # the block under way

    @property
    def _owner(self) -> dict[str, str]:
        return {name: self._request[name] for name in ("thread_id", "user_id")}

    @contextmanager
    def _block(self) -> Iterator[_Work]:
        persistence = cast(StatePersistence, self._persistence)
        try:
            state = persistence.load_agent_state(self._request["run_id"], **self._owner).state
        except NotFoundError:
            state = {}
        yield (work := _Work(state))
        persistence.save_agent_state(**self._request, state=work.state)

    @asynccontextmanager
    async def _async_block(self) -> AsyncIterator[_Work]:
        persistence = cast(aio.StatePersistence, self._persistence)
        try:
            state = (await persistence.load_agent_state(self._request["run_id"], **self._owner)).state
        except NotFoundError:
            state = {}
        yield (work := _Work(state))
        await persistence.save_agent_state(**self._request, state=work.state)

    def _check(self, is_async: bool) -> None:
        if isinstance(self._persistence, aio.StatePersistence) == is_async:
            return
        raise TypeError(
            "a service of cairn.aio needs `async with`, or an `async def` function"
            if not is_async
            else "`async with` and `async def` functions need a service of cairn.aio"
        )

    def _begin(self, block: Any) -> Any:
        if self._open is not None:
            raise RuntimeError("this checkpoint's block is still under way: make a checkpoint for each block")
        self._open = block
        return block

    def _end(self) -> Any:
        block, self._open = self._open, None
        return block

    def __enter__(self) -> dict[str, Any]:
        self._check(is_async=False)
        block = self._begin(self._block())
        return cast(_Work, block.__enter__()).state

    def __exit__(self, *error: Any) -> None:
        self._end().__exit__(*error)

    async def __aenter__(self) -> dict[str, Any]:
        self._check(is_async=True)
        block = self._begin(self._async_block())
        return cast(_Work, await block.__aenter__()).state

    async def __aexit__(self, *error: Any) -> None:
        await self._end().__aexit__(*error)

    def __call__(self, function: _Function) -> _Function:
        is_async = inspect.iscoroutinefunction(function)
        self._check(is_async)
        if is_async:

            @functools.wraps(function)
            async def step_async(*arguments: Any, **keywords: Any) -> Any:
                async with self._async_block() as work:
                    result = await function(work.state, *arguments, **keywords)
                    work.take(result)
                return result

            return cast(_Function, step_async)

        @functools.wraps(function)
        def step(*arguments: Any, **keywords: Any) -> Any:
            with self._block() as work:
                result = function(work.state, *arguments, **keywords)
                work.take(result)
            return result

        return cast(_Function, step)


def checkpoint(
    persistence: Union[StatePersistence, aio.StatePersistence],
    *,
    run_id: str,
    thread_id: str,
    user_id: str,
    **request: Any,
) -> Checkpoint:
    """A block that works on a run's state, or a function that does.

    ``with cairn.checkpoint(persistence, run_id=…, thread_id=…, user_id=…) as state:`` gives the run's newest state ({}
    if there is none) and saves it when the block ends; nothing is saved if it raises. As a decorator it gives the
    state to the function as its first argument, and saves it, or the dict that the function returns instead.
    With a service of `cairn.aio`: ``async with``, and ``async def`` functions. Further keywords are those of a save
    (``checkpoint_type=``, ``metadata=``, …).
    """
    return Checkpoint(persistence, run_id=run_id, thread_id=thread_id, user_id=user_id, **request)
