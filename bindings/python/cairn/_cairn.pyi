"""The engine, as the package uses it. Programs use the package."""

from typing import Any, Optional

__version__: str

def error_rows() -> list[tuple[str, str, str, str]]: ...
def dumps(object: Any, name: str = ...) -> bytes: ...
def loads(text: str) -> dict[str, Any]: ...
def read_dotenv(path: str) -> dict[str, str]: ...
def load_config(variables: dict[str, str], dotenv: str) -> LoadedConfig: ...
def open(url: str, *, read_only: bool, create: bool) -> Store: ...

class CompletionQueue:
    def __init__(self) -> None: ...
    def fileno(self) -> int: ...
    def drain(self, count: int, seconds: float) -> list[tuple[int, Any, Optional[BaseException]]]: ...

class Call:
    def wait(self) -> Any: ...
    def start(self, queue: CompletionQueue, key: int) -> None: ...

class LogQueue:
    @staticmethod
    def of_this_process() -> LogQueue: ...
    def take(self) -> Optional[list[tuple[str, str, str, dict[str, str]]]]: ...
    def settle(self) -> None: ...
    def close(self) -> None: ...

class Config:
    enable_optimized_persistence: bool
    cache_max_size: int
    enable_deduplication: bool
    enable_compression: bool
    enable_monitoring: bool
    store_url: str
    cache_max_bytes: int
    state_bytes_max: int
    state_depth_max: int
    latest_only: bool
    ignore_key_order: bool
    durability: str
    timeout_ms: int
    @property
    def log_level(self) -> str: ...
    def __init__(self) -> None: ...
    def __copy__(self) -> Config: ...

class LoadedConfig:
    @property
    def config(self) -> Config: ...
    @property
    def entries(self) -> list[tuple[str, str, str, str, str]]: ...

class Store:
    def close(self) -> Call: ...
    def history(
        self,
        run_id: str,
        *,
        thread_id: Optional[str],
        user_id: Optional[str],
        checkpoint_type: Optional[str],
        agent_phase: Optional[str],
        is_recovery_point: Optional[bool],
        created_from: Optional[int],
        created_until: Optional[int],
        metadata: dict[str, Any],
        oldest_first: bool,
        after_version: Optional[int],
        limit: int,
    ) -> Call: ...
    def runs(self, *, thread_id: Optional[str], user_id: Optional[str], cursor: str, limit: int) -> Call: ...
    def threads(self, *, user_id: Optional[str], cursor: str, limit: int) -> Call: ...
    def recovery_log(self, run_id: str, *, limit: int) -> Call: ...
    def stats(self) -> Call: ...
    def check(self, *, deep: bool) -> Call: ...
    def prune(
        self,
        *,
        keep_last: Optional[int],
        age_max_seconds: Optional[float],
        expired: bool,
        include_recovery_points: bool,
        run_id: Optional[str],
        thread_id: Optional[str],
        user_id: Optional[str],
        dry_run: bool,
    ) -> Call: ...
    def delete_runs(
        self, *, run_id: Optional[str], thread_id: Optional[str], user_id: Optional[str], dry_run: bool
    ) -> Call: ...

class FaultyStore(Store):
    def __init__(self, store: Store) -> None: ...
    def inject(self, *, call: str, nth: int, error: str, for_good: bool, after_effect: bool) -> None: ...
    def heal(self) -> None: ...
    def calls(self, call: str) -> int: ...

class State: ...

class Service:
    def __init__(self, store: Store, config: Config, *, is_optimized: bool) -> None: ...
    def state_of(self, object: Any, name: str) -> State: ...
    def save(
        self,
        *,
        run_id: str,
        thread_id: str,
        user_id: str,
        state: State,
        checkpoint_type: str,
        agent_phase: str,
        execution_context: Optional[State],
        is_recovery_point: bool,
        expires_at: Optional[int],
        parent_snapshot_id: Optional[str],
        metadata: Optional[State],
        snapshot_id: str,
        on_conflict: str,
        expected_version: Optional[int],
        timeout_ms: Optional[int],
        durability: Optional[str],
    ) -> Call: ...
    def load(
        self, run_id: str, *, snapshot_id: Optional[str], thread_id: Optional[str], user_id: Optional[str]
    ) -> Call: ...
    def recover(
        self,
        *,
        run_id: str,
        recovery_type: str,
        target_snapshot_id: Optional[str],
        failure_reason: str,
        auto_recovery: bool,
        thread_id: Optional[str],
        user_id: Optional[str],
    ) -> Call: ...
    def thread_context(self, thread_id: str, *, user_id: Optional[str]) -> Call: ...
    def flush(self, *, run_id: Optional[str], timeout_ms: Optional[int]) -> Call: ...
    def close(self) -> Call: ...
    def configure(
        self,
        *,
        enable_deduplication: Optional[bool],
        enable_compression: Optional[bool],
        cache_max_size: Optional[int],
        cache_max_bytes: Optional[int],
        ignore_key_order: Optional[bool],
    ) -> None: ...
    def cache_stats(self) -> dict[str, Any]: ...
    def clear_cache(self) -> None: ...
