"""Code that the synchronous and the asyncio services share: their calls of the engine."""

from __future__ import annotations

from typing import Any, Mapping, Optional, TypeVar, Union, cast

from cairn import _cairn, _logging
from cairn.config import Config, changed
from cairn.rebuild import rebuild
from cairn.requests import (
    StatePersistenceRequest,
    StateRecoveryRequest,
    check_optional_text,
    check_state_type,
    check_text,
    check_timeout,
    microseconds_of,
)
from cairn.results import LoadedState, SnapshotInfo
from cairn.store import Store

_Request = TypeVar("_Request", StatePersistenceRequest, StateRecoveryRequest)


def request_of(kind: type[_Request], request: Optional[_Request], fields: Mapping[str, Any]) -> _Request:
    """Returns the given request, or makes one from the given fields. ``state`` is another name for ``state_data``."""
    if request is None:
        renamed = dict(fields)
        if "state" in renamed and "state_data" in renamed:
            raise TypeError("give state or state_data, not both")
        if "state" in renamed:
            renamed["state_data"] = renamed.pop("state")
        return kind(**renamed)
    if fields:
        raise TypeError(f"give a request, or fields ({', '.join(fields)}), not both")
    if not isinstance(request, kind):
        raise TypeError(f"request must be a {kind.__name__}, not {type(request).__name__}")
    return request


def milliseconds_of(timeout: Optional[float]) -> Optional[int]:
    check_timeout(timeout)
    return None if timeout is None else round(timeout * 1000)


class Calls:
    """Prepares the calls of one service. The thread or the loop that waits for a call makes it."""

    def __init__(self, store: Store, config: Optional[Config], settings: Mapping[str, Any], is_optimized: bool) -> None:
        if not isinstance(store, Store):
            raise TypeError(f"store must be a cairn.Store, not {type(store).__name__}: open one with cairn.open(url)")
        _logging.start()
        self.store = store
        self.engine = store.service_of(changed(config, settings), is_optimized=is_optimized)

    def save(self, request: StatePersistenceRequest, execution: Optional[_cairn.Execution] = None) -> _cairn.Call:
        return self.engine.save(
            run_id=request.run_id,
            thread_id=request.thread_id,
            user_id=request.user_id,
            state=self._state_of(request),
            checkpoint_type=str(request.checkpoint_type),
            agent_phase="" if request.agent_phase is None else str(request.agent_phase),
            execution_context=self._optional_state_of(request.execution_context, "execution_context"),
            is_recovery_point=request.is_recovery_point,
            expires_at=microseconds_of("expires_at", request.expires_at),
            parent_snapshot_id=request.parent_snapshot_id,
            metadata=self._optional_state_of(request.metadata, "metadata"),
            snapshot_id=request.snapshot_id or "",
            on_conflict=str(request.on_conflict),
            expected_version=request.expected_version,
            timeout_ms=milliseconds_of(request.timeout),
            durability=None if request.durability is None else str(request.durability),
            execution=execution,
        )

    def _state_of(self, request: StatePersistenceRequest) -> _cairn.State:
        if request.state_type is None:
            return self.engine.state_of(request.state_data, "state_data")
        check_state_type(request.state_type)  # again, since fields can be set: an error of the call shows the state
        return self.engine.opaque_state_of(request.state_data, "state_data", request.state_type)

    # States are made before the call that takes them, so that no error of that call can show their content.
    def _optional_state_of(self, value: Any, name: str) -> Optional[_cairn.State]:
        return None if value is None else self.engine.state_of(value, name)

    def load(
        self, run_id: str, snapshot_id: Optional[str], thread_id: Optional[str], user_id: Optional[str]
    ) -> _cairn.Call:
        check_text("run_id", run_id)
        for name, value in (("snapshot_id", snapshot_id), ("thread_id", thread_id), ("user_id", user_id)):
            check_optional_text(name, value)
        return self.engine.load(run_id, snapshot_id=snapshot_id, thread_id=thread_id, user_id=user_id)

    def recover(self, request: StateRecoveryRequest) -> _cairn.Call:
        return self.engine.recover(
            run_id=request.run_id,
            recovery_type=str(request.recovery_type),
            target_snapshot_id=request.target_snapshot_id,
            failure_reason=request.failure_reason or "",
            auto_recovery=request.auto_recovery,
            thread_id=request.thread_id,
            user_id=request.user_id,
        )

    def thread_context(self, thread_id: str, user_id: Optional[str]) -> _cairn.Call:
        check_text("thread_id", thread_id)
        check_optional_text("user_id", user_id)
        return self.engine.thread_context(thread_id, user_id=user_id)

    def flush(self, run_id: Optional[str], timeout: Optional[float]) -> _cairn.Call:
        check_optional_text("run_id", run_id)
        return self.engine.flush(run_id=run_id, timeout_ms=milliseconds_of(timeout))


def loaded_of(
    raw: tuple[Any, str, Optional[str], tuple[Any, ...]], state_type: Union[type[Any], str, None]
) -> LoadedState[Any]:
    state, text, opaque_type, info = raw
    is_wanted_as_object = not (state_type is None or isinstance(state_type, str))
    if isinstance(state_type, str) and state_type != opaque_type or is_wanted_as_object and opaque_type is not None:
        found = "JSON" if opaque_type is None else f'opaque, of type "{opaque_type}"'
        raise TypeError(f"the state is {found}, and state_type is {state_type!r}: leave it out, or give what it is")
    if is_wanted_as_object:
        state = rebuild(state, cast("type[Any]", state_type))
    return LoadedState(state, text, SnapshotInfo.of(info), opaque_type)
