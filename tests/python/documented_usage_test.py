# Goal: code written for the documented system runs on cairn unchanged, and does what that system promises its users.
# Method: every Python block of README.md, docs/migration.md and docs/python.md runs as it stands, in order, with the
# names that its reader already has (an engine, a session). Then each promise is tested by itself.

import ast
import asyncio
import collections
import contextlib
import copy
import dataclasses
import datetime
import enum
import gc
import inspect
import json
import os
import pathlib
import pickle
import re
import sqlite3
import sys
import types
import weakref

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTATION = SOURCE.parent / "shared" / "BatchedStatePersistence.md"


def python_blocks(page):
    """Yields a page's Python blocks with their line numbers, without programs, which begin with the name of a file."""
    text = page.read_text()
    for match in re.finditer(r"^```python\n(?!# \w+\.py)(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 2, match.group(1)


async def run_block(code, names, place):
    """Runs a block that may await at its top level, as in a notebook."""
    compiled = compile(code, place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.isawaitable(result):
        await result


async def run_page(page, names):
    for line, code in python_blocks(page):
        await run_block("\n" * (line - 1) + code, names, str(page))


class Result:
    def __init__(self, state, success=True):
        self.success = success
        self.state = state


class Engine:
    """The user's own engine: each "agent" of the pipeline is a dict to merge, or an exception."""

    async def execute_pipeline(self, pipeline, context, state):
        results = []
        for step in pipeline:
            if isinstance(step, Exception):
                raise step
            results.append(step if isinstance(step, Result) else Result(step))
        return results


class Watcher:
    def __init__(self, error=None):
        self.messages = []
        self.error = error

    async def send_to_thread(self, thread_id, message):
        self.messages.append((thread_id, message["type"]))
        if self.error:
            raise self.error


@pytest.fixture
def netra(monkeypatch, folder):
    """The documented modules, as a newly started process sees them."""
    from netra_backend.app.agents.supervisor import pipeline_executor
    from netra_backend.app.core import isolated_environment
    from netra_backend.app.schemas import agent_state
    from netra_backend.app.services import state_persistence, state_persistence_optimized

    import cairn.store
    from cairn.compat import stores

    optimized = state_persistence_optimized.optimized_state_persistence
    monkeypatch.setattr(cairn.store, "_open_stores", weakref.WeakSet())
    monkeypatch.setattr(optimized, "_settings", {})
    monkeypatch.setattr(stores, "_stores", {})
    monkeypatch.setattr(isolated_environment.get_env(), "_set", {})
    yield types.SimpleNamespace(
        PipelineExecutor=pipeline_executor.PipelineExecutor,
        get_env=isolated_environment.get_env,
        standard=state_persistence.state_persistence_service,
        optimized=optimized,
        OptimizedStatePersistence=state_persistence_optimized.OptimizedStatePersistence,
        **{name: getattr(agent_state, name) for name in agent_state.__all__},
    )
    for store in cairn.store.open_stores():
        store.close()


CONTEXT = {"thread_id": "thread-1", "user_id": "user-1"}


def request(netra, **fields):
    known = {"run_id": "r", "thread_id": "t", "user_id": "u", "state_data": {"n": 1}, "checkpoint_type": "auto"}
    return netra.StatePersistenceRequest(**{**known, **fields})


# ---- the pages ----


def known_names(db_session=None):
    return {
        "engine": Engine(),
        "websocket_manager": None,
        "db_session": db_session,
        "pipeline": [{"plan": "ask"}, {"answer": 42}],
        "state": {"question": "why"},
        "run_id": "run-1",
        "context": CONTEXT,
    }


@pytest.mark.parametrize("page", ["README.md", "docs/migration.md", "docs/python.md"])
async def test_every_block_of_the_pages_runs(netra, page, capsys):
    assert list(python_blocks(SOURCE / page))
    await run_page(SOURCE / page, known_names())


@pytest.mark.parametrize("enabled_by", ["nothing", "environment", "dotenv"])
async def test_the_documentations_own_blocks_run_verbatim(netra, enabled_by, monkeypatch, capsys):
    if not DOCUMENTATION.exists():
        pytest.skip(f"{DOCUMENTATION} is not here")
    if enabled_by == "environment":
        monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", "true")
    if enabled_by == "dotenv":
        pathlib.Path(".env").write_text("ENABLE_OPTIMIZED_PERSISTENCE=true\n")
    names = known_names()
    await run_page(DOCUMENTATION, names)
    assert names["success"] is True
    is_optimized = names["executor"].state_persistence is netra.optimized
    assert is_optimized == (enabled_by != "nothing")
    assert names["state"] == {"question": "why", "plan": "ask", "answer": 42}
    assert f"Cache size: {2 if is_optimized else 1}\n" in capsys.readouterr().out


def test_the_pages_hold_the_documentations_blocks_verbatim():
    if not DOCUMENTATION.exists():
        pytest.skip(f"{DOCUMENTATION} is not here")
    ours = [code for _, code in python_blocks(SOURCE / "docs" / "migration.md")]
    for line, code in python_blocks(DOCUMENTATION):
        assert code in ours, f"the block at line {line} of the documentation"


def test_the_documented_package_only_re_exports():
    package = SOURCE / "bindings" / "python" / "netra_backend"
    for path in set(package.rglob("*.py")) - {package / "__init__.py"}:
        for node in ast.parse(path.read_text()).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_list = isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
            assert isinstance(node, ast.ImportFrom) or is_docstring or is_list, f"{path}:{node.lineno}"


# ---- the choice of the service ----


async def test_with_the_flag_off_the_executor_skips_nothing(netra):
    executor = netra.PipelineExecutor(Engine(), None, None)
    assert executor.state_persistence is netra.standard
    for _ in range(2):
        await executor.execute_pipeline([{"a": 1}], {"q": 1}, "r", CONTEXT)
    assert (await netra.standard.get_thread_context("thread-1"))["snapshots"] == 2


@pytest.mark.parametrize("how", ["environment", "dotenv", "get_env"])
async def test_with_the_flag_on_the_executor_skips_what_is_stored(netra, how, monkeypatch):
    if how == "environment":
        monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", "true")
    elif how == "dotenv":
        pathlib.Path(".env").write_text("export ENABLE_OPTIMIZED_PERSISTENCE='true'\n")
    else:
        netra.get_env().set("ENABLE_OPTIMIZED_PERSISTENCE", "true")
    executor = netra.PipelineExecutor(Engine(), None, None)
    assert executor.state_persistence is netra.optimized
    for _ in range(2):
        await executor.execute_pipeline([{"a": 1}], {"q": 1}, "r", CONTEXT)
    assert (await netra.standard.get_thread_context("thread-1"))["snapshots"] == 1


def test_a_flag_that_cannot_be_read_is_an_error_that_names_it(netra, monkeypatch):
    monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", "perhaps")
    with pytest.raises(ValueError, match='ENABLE_OPTIMIZED_PERSISTENCE.*"perhaps".*true or false'):
        netra.PipelineExecutor(Engine(), None, None)


@pytest.mark.parametrize("flag", ["true", "false"])
async def test_importing_the_optimised_service_chooses_it(netra, flag, monkeypatch):
    monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", flag)
    first = await netra.optimized.save_agent_state(request(netra), None)
    assert await netra.optimized.save_agent_state(request(netra), None) == first


@pytest.mark.parametrize(
    "fields",
    [{"checkpoint_type": "manual"}, {"checkpoint_type": "recovery"}, {"is_recovery_point": True}],
    ids=["manual", "recovery", "recovery_point"],
)
async def test_critical_saves_are_never_skipped(netra, fields):
    ids = {(await netra.optimized.save_agent_state(request(netra, **fields), None))[1] for _ in range(3)}
    assert len(ids) == 3


# ---- saving and loading ----


async def test_both_forms_of_a_save_are_one(netra):
    by_request = await netra.optimized.save_agent_state(request(netra), None)
    by_keywords = await netra.optimized.save_agent_state(
        run_id="r", thread_id="t", user_id="u", state={"n": 1}, checkpoint_type="auto", db_session=None
    )
    assert by_keywords == by_request
    with pytest.raises(TypeError, match="not both"):
        await netra.optimized.save_agent_state(request(netra), None, run_id="r")


async def test_a_snapshot_is_found_only_under_its_run(netra):
    _, first = await netra.optimized.save_agent_state(request(netra), None)
    await netra.optimized.save_agent_state(request(netra, state_data={"n": 2}), None)
    await netra.optimized.save_agent_state(request(netra, run_id="other"), None)
    assert await netra.optimized.load_agent_state("r") == {"n": 2}
    assert await netra.optimized.load_agent_state("r", first) == {"n": 1}
    assert await netra.optimized.load_agent_state("r", snapshot_id=first, db_session=None) == {"n": 1}
    assert await netra.optimized.load_agent_state("other", first) is None
    assert await netra.optimized.load_agent_state("nobody") is None


async def test_a_run_is_rolled_back(netra):
    _, first = await netra.optimized.save_agent_state(request(netra), None)
    await netra.optimized.save_agent_state(request(netra, state_data={"n": 2}), None)
    recovery = netra.StateRecoveryRequest(
        run_id="r", recovery_type=netra.RecoveryType.ROLLBACK, target_snapshot_id=first, failure_reason="a bad step"
    )
    success, head = await netra.optimized.recover_agent_state(recovery, None)
    assert success and head != first
    assert await netra.standard.load_agent_state("r") == {"n": 1}
    missing = netra.StateRecoveryRequest(run_id="nobody", recovery_type=netra.RecoveryType.RESUME)
    assert await netra.optimized.recover_agent_state(missing, None) == (False, None)


async def test_the_context_of_a_thread_tells_its_runs(netra):
    for run_id in ("r1", "r2"):
        await netra.optimized.save_agent_state(
            request(netra, run_id=run_id, agent_phase=netra.AgentPhase.TRIAGE), None
        )
    context = await netra.optimized.get_thread_context("t")
    assert context["run_ids"] == ["r2", "r1"]
    assert (context["current_run_id"], context["agent_phase"], context["user_id"]) == ("r2", "triage", "u")
    assert await netra.optimized.get_thread_context("nobody") == {}
    assert await netra.optimized.get_thread_context() == {}


async def test_a_save_that_the_store_cannot_make_is_answered_and_logged(netra, caplog):
    await netra.optimized.save_agent_state(request(netra), None)
    taken = request(netra, state_data={"n": 2}, snapshot_id="mine")
    assert (await netra.optimized.save_agent_state(taken, None))[0]
    again = request(netra, state_data={"n": 3}, snapshot_id="mine")
    assert await netra.optimized.save_agent_state(again, None) == (False, None)
    record = next(record for record in caplog.records if record.levelname == "ERROR")
    assert record.name == "cairn" and "run r was not saved" in record.message and '"mine"' in record.message


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"run_id": ""}, "run_id is empty"),
        ({"run_id": 7}, "run_id must be a str, not int"),
        ({"user_id": 7}, "user_id must be a str"),
        ({"thread_id": None}, "thread_id must be a str"),
        ({"state_data": [1]}, "state_data must be a dict.* not list"),
        ({"state_data": None}, "state_data must be a dict"),
        ({"checkpoint_type": 3}, "checkpoint_type must be a CheckpointType or a str"),
        ({"checkpoint_type": ""}, "checkpoint_type is empty"),
        ({"agent_phase": 3}, "agent_phase must be"),
        ({"execution_context": "x"}, "execution_context must be a dict"),
        ({"is_recovery_point": "yes"}, "is_recovery_point must be a bool"),
        ({"expires_at": "soon"}, "expires_at must be a datetime"),
        ({"expires_at": datetime.datetime(2030, 1, 1)}, "expires_at is 2030-01-01T00:00:00, which has no time zone"),
        ({"expected_version": "1"}, "expected_version must be an int, not str"),
        ({"expected_version": True}, "expected_version must be an int, not bool"),
        ({"expected_version": 2**63}, "expected_version is 9223372036854775808: give"),
        ({"timeout": "1"}, "timeout must be a number of seconds, not str"),
        ({"timeout": float("inf")}, "timeout is inf: give seconds"),
        ({"timeout": float("nan")}, "timeout is nan: give seconds"),
        ({"on_conflict": 3}, "on_conflict must be a.? OnConflict or a str"),
        ({"on_conflict": "merge"}, 'on_conflict is "merge": give rebase or fail'),
        ({"durability": "later"}, 'durability is "later": give sync, async or exit'),
        ({"thread_id": "\ud800"}, "thread_id has a lone surrogate"),
        ({"agent_phase": "\ud800"}, "agent_phase has a lone surrogate"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_wrong_field_is_named(netra, fields, error):
    with pytest.raises((TypeError, ValueError), match=error):
        request(netra, **fields)


@pytest.mark.parametrize(
    "fields, error",
    [
        ({"run_id": ""}, "run_id is empty"),
        ({"recovery_type": "undo"}, 'recovery_type is "undo": give restart, resume or rollback'),
        ({"failure_reason": 7}, "failure_reason must be a str"),
        ({"failure_reason": "\udfff"}, "failure_reason has a lone surrogate"),
        ({"auto_recovery": None}, "auto_recovery must be a bool"),
    ],
)
def test_a_wrong_field_of_a_recovery_is_named(netra, fields, error):
    with pytest.raises((TypeError, ValueError), match=error):
        netra.StateRecoveryRequest(**{"run_id": "r", **fields})


async def test_no_error_of_a_call_shows_what_is_in_a_state(netra):
    wanted = request(netra, state_data={"password": "secret"}, metadata={"token": "secret"})
    wanted.expected_version = "changed after it was checked"
    with pytest.raises(TypeError) as error:
        await netra.optimized.save_agent_state(wanted, None)
    assert "secret" not in str(error.value)


async def test_both_words_for_a_state_are_refused_together(netra):
    with pytest.raises(TypeError, match="give state or state_data, not both"):
        await netra.optimized.save_agent_state(run_id="r", thread_id="t", user_id="u", state={}, state_data={"n": 1})


async def test_a_program_may_have_enumerations_of_its_own(netra):
    class Kind(str, enum.Enum):
        STEP = "auto"
        MINE = "of_my_own"

    assert request(netra, checkpoint_type=Kind.STEP).checkpoint_type is netra.CheckpointType.AUTO
    assert request(netra, agent_phase=Kind.MINE).agent_phase == "of_my_own"
    first = await netra.optimized.save_agent_state(request(netra, checkpoint_type=Kind.STEP), None)
    assert await netra.optimized.save_agent_state(request(netra, checkpoint_type=Kind.STEP), None) == first


async def test_a_state_that_is_no_json_is_refused_with_its_path(netra):
    with pytest.raises(TypeError, match=r"state_data\['tools'\]\[1\]"):
        await netra.optimized.save_agent_state(request(netra, state_data={"tools": [1, object()]}), None)
    assert await netra.optimized.load_agent_state("r") is None


# ---- settings ----


async def test_settings_hold_for_stores_in_use_and_for_later_ones(netra):
    service = netra.OptimizedStatePersistence()
    await service.save_agent_state(request(netra), "sqlite:one.db")
    service.configure(enable_deduplication=False, enable_compression=False, cache_max_size=7)
    await service.save_agent_state(request(netra), "sqlite:two.db")
    for url in ("sqlite:one.db", "sqlite:two.db"):
        _, first = await service.save_agent_state(request(netra), url)
        assert (await service.save_agent_state(request(netra), url))[1] != first
    stats = service.get_cache_stats()
    assert (stats["cache_max_size"], stats["deduplication_enabled"], stats["compression_enabled"]) == (7, False, False)
    assert stats["cache_size"] == 2 and stats["cache_entries"] == ["r", "r"]
    assert stats["saves_by_outcome"]["persisted"] == 6
    service.clear_cache()
    assert service.get_cache_stats()["cache_size"] == 0


async def test_services_go_with_their_stores(netra):
    import cairn

    def threads():
        gc.collect()
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))

    await netra.optimized.save_agent_state(request(netra), None)
    before = threads()
    for number in range(10):
        async with cairn.open(f"sqlite:{number}.db") as store:
            await netra.optimized.save_agent_state(request(netra), store)
        store = cairn.open("memory:")
        await netra.standard.save_agent_state(request(netra), store)
    del store
    assert threads() < before + 10, "each store has five"
    netra.optimized.configure(cache_max_size=7)
    assert netra.optimized.get_cache_stats()["cache_size"] == 1


def test_an_unknown_or_wrong_setting_changes_nothing(netra, caplog):
    service = netra.OptimizedStatePersistence()
    service.configure(cache_size=3, batch_window_ms=5, enable_compression=False)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.name == "cairn" and "no option batch_window_ms, cache_size" in record.message
    assert service.get_cache_stats()["compression_enabled"] is False, "and the known ones are taken"
    with pytest.raises(ValueError, match="cache_max_size is 0"):
        service.configure(cache_max_size=0)
    with pytest.raises(TypeError):
        service.configure(enable_deduplication="no")
    assert service.get_cache_stats()["cache_max_size"] == 1000


def test_statistics_before_the_first_save_are_those_of_the_settings(netra, monkeypatch):
    monkeypatch.setenv("OPTIMIZED_PERSISTENCE_CACHE_SIZE", "12")
    stats = netra.OptimizedStatePersistence().get_cache_stats()
    assert (stats["cache_size"], stats["cache_max_size"], stats["cache_entries"]) == (0, 12, [])
    assert not pathlib.Path("cairn.db").exists()


def test_the_fallback_service_is_the_standard_one(netra):
    assert type(netra.optimized.fallback_service) is type(netra.standard)


def test_the_environment_is_asked_in_order(netra, monkeypatch):
    environment = netra.get_env()
    pathlib.Path(".env").write_text("A=dotenv\nB=dotenv\nC=dotenv\n")
    monkeypatch.setenv("B", "process")
    monkeypatch.setenv("C", "process")
    environment.set("C", "set")
    assert [environment.get(name) for name in "ABC"] == ["dotenv", "process", "set"]
    assert environment.get("NOT_THERE") is None and environment.get("NOT_THERE", "x") == "x"
    assert {**environment.get_all(), **os.environ}.keys() == environment.get_all().keys()
    assert os.environ["C"] == "process"
    with pytest.raises(TypeError, match="must be str"):
        environment.set("C", 1)


# ---- the executor ----


class Model:
    def __init__(self, **members):
        self.__dict__.update(members)

    def merge_from(self, other):
        self.merged = getattr(self, "merged", []) + [other.name]


async def test_states_are_merged_by_their_own_merge_or_by_member(netra):
    executor = netra.PipelineExecutor(Engine(), None, None)
    state = Model()
    await executor.execute_pipeline([Model(name="a"), Result(Model(name="b"), False), Model(name="c")], state, "r", CONTEXT)
    assert state.merged == ["a", "c"]
    plain = types.SimpleNamespace(q=1, a=0)
    executor = netra.PipelineExecutor(Engine(), None, None)
    results = await executor.execute_pipeline([types.SimpleNamespace(a=1), {"b": 2}], plain, "r2", CONTEXT)
    assert vars(plain) == {"q": 1, "a": 1, "b": 2}
    assert [result.success for result in results] == [True, True]


async def test_every_kind_of_state_is_merged_with_all_its_members(netra):
    @dataclasses.dataclass(slots=True)
    class Base:
        a: int

    @dataclasses.dataclass(slots=True)
    class Derived(Base):
        b: int

    executor = netra.PipelineExecutor(Engine(), None, None)
    state = collections.UserDict(q=1)
    await executor.execute_pipeline([Derived(1, 2), {"c": 3}], state, "r", CONTEXT)
    assert state == {"q": 1, "a": 1, "b": 2, "c": 3}
    assert await netra.standard.load_agent_state("r") == {"q": 1, "a": 1, "b": 2, "c": 3}


async def test_a_merge_that_raises_leaves_a_recovery_checkpoint(netra):
    class Unmergeable(dict):
        def merge_from(self, other):
            raise RuntimeError("no merge")

    executor = netra.PipelineExecutor(Engine(), None, "sqlite:states.db")
    with pytest.raises(RuntimeError, match="no merge"):
        await executor.execute_pipeline([{"a": 1}], Unmergeable(q=1), "r", CONTEXT)
    assert await netra.standard.load_agent_state("r", db_session="sqlite:states.db") == {"q": 1}


async def test_a_failed_result_or_engine_leaves_a_recovery_checkpoint(netra):
    import cairn

    executor = netra.PipelineExecutor(Engine(), None, "sqlite:states.db")
    await executor.execute_pipeline([{"a": 1}, Result({"b": 2}, success=False)], {}, "failed", CONTEXT)
    with pytest.raises(RuntimeError, match="broken"):
        await executor.execute_pipeline([RuntimeError("broken")], {"q": 1}, "raised", CONTEXT)
    await executor.execute_pipeline([{"a": 1}], {}, "good", CONTEXT)
    with cairn.open("sqlite:states.db", read_only=True) as store:
        types_of = {run: [info.checkpoint_type for info in store.history(run)] for run in ("failed", "raised", "good")}
    assert types_of == {"failed": ["recovery"], "raised": ["recovery"], "good": ["pipeline_complete"]}
    assert await netra.standard.load_agent_state("failed", db_session="sqlite:states.db") == {"a": 1}


@pytest.mark.parametrize("context", [{}, {"thread_id": "t"}, {"thread_id": "", "user_id": "u"}, None])
async def test_a_context_without_owner_is_refused_before_anything_runs(netra, context):
    class Never(Engine):
        async def execute_pipeline(self, *arguments):
            raise AssertionError("the engine ran")

    with pytest.raises(ValueError, match="context has no (thread_id|user_id)"):
        await netra.PipelineExecutor(Never(), None, None).execute_pipeline([], {}, "r", context)


async def test_the_owner_may_be_attributes_of_the_context(netra):
    executor = netra.PipelineExecutor(Engine(), None, None)
    await executor.execute_pipeline([{"a": 1}], {}, "r", types.SimpleNamespace(thread_id="t9", user_id="u9"))
    assert (await netra.standard.get_thread_context("t9"))["user_id"] == "u9"


async def test_watchers_are_told_in_order_and_their_failures_are_only_logged(netra, caplog):
    watcher = Watcher()
    await netra.PipelineExecutor(Engine(), watcher, None).execute_pipeline([{"a": 1}], {}, "r", CONTEXT)
    told = [("thread-1", kind) for kind in ("started", "checkpoint", "completed")]
    assert watcher.messages == told
    broken = Watcher(RuntimeError("gone"))
    results = await netra.PipelineExecutor(Engine(), broken, None).execute_pipeline([{"a": 2}], {}, "r", CONTEXT)
    assert results[0].success and broken.messages == told
    assert sum("was not told" in record.message for record in caplog.records) == 3


class Keeping(Watcher):
    """Keeps the messages themselves."""

    async def send_to_thread(self, thread_id, message):
        self.messages.append(message)


def event_names():
    """The table of events in docs/reference.md."""
    section = (SOURCE / "docs" / "reference.md").read_text().split("\n## Events\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))


async def test_watchers_get_the_events_of_the_core(netra):
    watcher = Keeping()
    await netra.PipelineExecutor(Engine(), watcher, None).execute_pipeline([{"a": 1}], {}, "r", CONTEXT)
    started, saved, completed = watcher.messages
    common = {"run_id": "r", "thread_id": "thread-1", "user_id": "user-1"}
    for number, event in enumerate(watcher.messages, 1):
        assert common.items() <= event.items() and event["sequence"] == number
        assert event["type"] in event_names()
        assert datetime.datetime.fromisoformat(event["time"]).tzinfo is not None
    assert saved["checkpoint_type"] == "pipeline_complete" and saved["duration_us"] >= 0
    head = (await netra.standard.get_thread_context("thread-1"))["current_snapshot_id"]
    assert saved["receipt"] == {"snapshot_id": head, "outcome": "persisted", "durability": "sync", "version": 1}
    assert completed["status"] == "completed" and "error" not in completed


async def test_watchers_are_told_how_a_run_failed(netra):
    watcher = Keeping()
    executor = netra.PipelineExecutor(Engine(), watcher, None)
    await executor.execute_pipeline([{"a": 1}, Result({}, success=False)], {}, "r", CONTEXT)
    with pytest.raises(RuntimeError, match="broken"):
        await executor.execute_pipeline([RuntimeError("broken")], {}, "r", CONTEXT)
    await executor.execute_pipeline([{"a": object()}], {}, "r", CONTEXT)
    ended = [event for event in watcher.messages if event["type"] == "completed"]
    assert [event["status"] for event in ended] == ["failed", "failed", "completed"]
    assert "error" not in ended[0]
    assert ended[1]["error"]["code"] == "agent_failed" and ended[1]["error"]["message"] == "broken"
    saves = [event for event in watcher.messages if event["type"] == "checkpoint"]
    assert [event["checkpoint_type"] for event in saves] == ["recovery", "recovery", "pipeline_complete"]
    assert "state_data['a']" in saves[2]["error"]["message"] and "receipt" not in saves[2]


# ---- one executor a run ----


class Waiting(Engine):
    """Works until it is told to go on."""

    def __init__(self):
        self.works = asyncio.Event()
        self.may_end = asyncio.Event()
        self.calls = 0

    async def execute_pipeline(self, pipeline, context, state):
        self.calls += 1
        self.works.set()
        await self.may_end.wait()
        return await super().execute_pipeline(pipeline, context, state)


def executing(netra, engine, watcher=None, session="sqlite:states.db", context=CONTEXT):
    executor = netra.PipelineExecutor(engine, watcher, session)
    return asyncio.create_task(executor.execute_pipeline([{"a": 1}], {}, "r", context))


async def test_a_run_that_is_executed_is_refused_to_others_until_it_has_ended(netra):
    import cairn

    engine, other = Waiting(), Waiting()
    first = executing(netra, engine)
    await engine.works.wait()
    with cairn.open("sqlite:states.db") as store:
        for session in ("sqlite:states.db", store):
            watcher = Keeping()
            with pytest.raises(cairn.ConflictError, match='run "r" is in progress'):
                await executing(netra, other, watcher, session)
            assert other.calls == 0 and watcher.messages == []
        assert (await netra.standard.save_agent_state(request(netra, run_id="other"), store))[0]
    engine.may_end.set()
    other.may_end.set()
    assert (await first)[0].success and (await executing(netra, other))[0].success
    assert await netra.standard.load_agent_state("r", db_session="sqlite:states.db") == {"a": 1}


async def test_a_run_that_another_process_executes_is_refused(netra):
    import cairn

    program = """if True:
        import asyncio, sys
        from netra_backend.app.agents.supervisor.pipeline_executor import PipelineExecutor

        class Engine:
            async def execute_pipeline(self, pipeline, context, state):
                print("works", flush=True)
                await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
                return []

        executor = PipelineExecutor(Engine(), None, "sqlite:states.db")
        asyncio.run(executor.execute_pipeline([], {"by": "child"}, "r", {"thread_id": "thread-1", "user_id": "user-1"}))
    """
    place = str(pathlib.Path(cairn.__file__).parents[1])
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": place},
    )
    assert await child.stdout.readline() == b"works\n"
    with pytest.raises(cairn.ConflictError, match='run "r" is in progress'):
        await executing(netra, Engine())
    child.kill()
    await child.wait()
    assert (await executing(netra, Engine()))[0].success, "whoever is gone holds nothing"


async def test_an_execution_that_has_lost_its_run_saves_nothing_over_it(netra, caplog):
    engine, watcher = Waiting(), Keeping()
    task = executing(netra, engine, watcher)
    await engine.works.wait()
    with contextlib.closing(sqlite3.connect("states.db", isolation_level=None)) as connection:
        assert connection.execute("UPDATE leases SET owner = 'elsewhere', epoch = epoch + 1").rowcount == 1
    engine.may_end.set()
    assert (await task)[0].success, "what the agents did is not lost"
    assert await netra.standard.load_agent_state("r", db_session="sqlite:states.db") is None
    assert [event["error"]["code"] for event in watcher.messages if event["type"] == "checkpoint"] == ["conflict"]
    assert any(record.levelname == "ERROR" and "was not saved" in record.message for record in caplog.records)


async def test_a_cancelled_execution_gives_its_run_up(netra):
    engine, watcher = Waiting(), Keeping()
    task = executing(netra, engine, watcher)
    await engine.works.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(event["type"], event.get("status")) for event in watcher.messages] == [
        ("started", None),
        ("completed", "interrupted"),
    ]
    assert (await executing(netra, Engine()))[0].success


async def test_a_save_that_goes_on_after_its_task_was_cancelled_keeps_the_lease_until_it_ends(netra):
    engine = Waiting()
    task = executing(netra, engine)
    await engine.works.wait()
    with contextlib.closing(sqlite3.connect("states.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        engine.may_end.set()
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)
    del task
    gc.collect()
    while await netra.standard.load_agent_state("r", db_session="sqlite:states.db") != {"a": 1}:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_the_last_save_of_an_execution_is_on_disk_before_its_lease_is_given_up(netra, monkeypatch, durability):
    import cairn

    monkeypatch.setenv("CAIRN_DURABILITY", durability)
    monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", "true")
    watcher = Keeping()
    await executing(netra, Engine(), watcher)
    assert watcher.messages[1]["receipt"]["durability"] == "sync"
    with cairn.open("sqlite:states.db", read_only=True) as store:
        assert [info.checkpoint_type for info in store.history("r")] == ["pipeline_complete"]


async def test_a_store_that_cannot_be_asked_stops_no_agent(netra, caplog):
    import cairn
    from cairn import _cairn

    opened = _cairn.open("sqlite:states.db", read_only=False, create=True, file_mode=0o600)
    faulty = _cairn.FaultyStore(opened)
    with cairn.Store(faulty, "sqlite:states.db") as store:
        faulty.inject(call="lease", nth=1, error="unavailable", for_good=True, after_effect=False)
        assert (await executing(netra, Engine(), None, store))[0].success
        assert await netra.standard.load_agent_state("r", db_session=store) == {"a": 1}
    assert any("is executed without a lease" in record.message for record in caplog.records)


async def test_a_stranger_holds_nobodys_run(netra, caplog):
    await executing(netra, Engine())
    engine, owner = Waiting(), Waiting()
    stranger = executing(netra, engine, context={"thread_id": "thread-1", "user_id": "stranger"})
    await engine.works.wait()
    owner.may_end.set()
    assert (await executing(netra, owner))[0].success
    engine.may_end.set()
    assert (await stranger)[0].success
    assert sum("belongs to another thread or user" in record.message for record in caplog.records) == 2


async def test_a_service_of_the_programs_own_is_asked_as_ever(netra):
    class Own:
        async def save_agent_state(self, run_id, thread_id, user_id, state, checkpoint_type, db_session):
            self.saved = (run_id, thread_id, user_id, state, checkpoint_type)
            return True, "own-id"

    watcher = Keeping()
    executor = netra.PipelineExecutor(Engine(), watcher, "sqlite:states.db")
    executor.state_persistence = own = Own()
    await executor.execute_pipeline([{"a": 1}], {}, "r", CONTEXT)
    assert own.saved == ("r", "thread-1", "user-1", {"a": 1}, "pipeline_complete")
    assert [event["type"] for event in watcher.messages] == ["started", "completed"], "cairn has saved nothing"


async def test_a_watcher_that_hangs_does_not_hold_the_pipeline_up(netra, monkeypatch, caplog):
    from cairn.compat import execution

    monkeypatch.setattr(execution, "_LAST_MESSAGES_SECONDS", 0.01)

    class Hanging:
        async def send_to_thread(self, thread_id, message):
            await asyncio.Event().wait()

    results = await netra.PipelineExecutor(Engine(), Hanging(), None).execute_pipeline([{"a": 1}], {}, "r", CONTEXT)
    assert results[0].success
    assert any("too slow" in record.message for record in caplog.records)


async def test_a_watcher_whose_connection_was_cancelled_ends_no_pipeline(netra, caplog):
    watcher = Watcher(asyncio.CancelledError())
    results = await netra.PipelineExecutor(Engine(), watcher, None).execute_pipeline([{"a": 1}], {}, "r", CONTEXT)
    assert results[0].success and len(watcher.messages) == 3
    assert sum("was not told" in record.message for record in caplog.records) == 3


async def test_results_are_returned_whatever_a_state_or_session_raises(netra, caplog):
    class Broken:
        def merge_from(self, other):
            pass

        def model_dump(self):
            raise RuntimeError("no dump")

        def __call__(self):
            raise RuntimeError("no session")

    for state, session in ((Broken(), None), ({}, Broken())):
        executor = netra.PipelineExecutor(Engine(), None, session)
        assert (await executor.execute_pipeline([{"a": 1}], state, "r", CONTEXT))[0].success
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert ["no dump" in errors[0], "no session" in errors[1]] == [True, True]


async def test_results_are_returned_also_if_they_cannot_be_saved(netra, caplog):
    watcher = Watcher()
    executor = netra.PipelineExecutor(Engine(), watcher, None)
    state = {}
    results = await executor.execute_pipeline([{"a": object()}], state, "r", CONTEXT)
    assert results[0].success and "a" in state
    assert any(record.levelname == "ERROR" and "state_data['a']" in record.message for record in caplog.records)


def test_an_engine_that_cannot_execute_is_refused(netra):
    with pytest.raises(TypeError, match="execute_pipeline"):
        netra.PipelineExecutor(object(), None, None)


# ---- states of any class ----


@dataclasses.dataclass(frozen=True)
class Frozen:
    question: str = "why"
    answers: tuple = ()

    def merge_from(self, other):
        return dataclasses.replace(self, answers=(*self.answers, *other.answers))


class Remade:
    """Merges as the documented system does: a merge returns a new object, although this one could be changed."""

    def __init__(self, **members):
        self.__dict__.update(members)

    def merge_from(self, other):
        return Remade(**{**vars(self), **vars(other)})

    def to_dict(self):
        return dict(vars(self))


async def executed(netra, pipeline, state, run_id="r"):
    executor = netra.PipelineExecutor(Engine(), None, None)
    await executor.execute_pipeline(pipeline, state, run_id, CONTEXT)
    return await netra.standard.load_agent_state(run_id)


async def test_a_new_object_of_a_merge_is_saved_and_given_to_the_callers_state(netra):
    state = Remade(question="why")
    saved = await executed(netra, [Remade(plan="ask"), Remade(answer=42)], state)
    assert saved == vars(state) == {"question": "why", "plan": "ask", "answer": 42}


async def test_a_frozen_state_is_saved_as_merged_and_stays_as_it_is(netra):
    state = Frozen()
    saved = await executed(netra, [Frozen(answers=(1,)), Frozen(answers=(2,))], state)
    assert saved == {"question": "why", "answers": [1, 2]} and state == Frozen()


async def test_models_of_pydantic_are_merged_whether_frozen_or_not(netra):
    pydantic = pytest.importorskip("pydantic")

    class State(pydantic.BaseModel):
        question: str = "why"
        answer: int = 0

        def merge_from(self, other):
            return type(self)(question=self.question, answer=other.answer or self.answer)

    class FrozenState(State):
        class Config:
            frozen = True
            allow_mutation = False

    for number, kind in enumerate((State, FrozenState)):
        state = kind()
        saved = await executed(netra, [kind(answer=42)], state, f"r{number}")
        assert saved == {"question": "why", "answer": 42}
        assert state.answer == (42 if kind is State else 0)


async def test_a_frozen_state_without_a_merge_is_saved_with_all_members(netra):
    @dataclasses.dataclass(frozen=True)
    class Plain:
        question: str = "why"

    saved = await executed(netra, [{"answer": 42}, types.SimpleNamespace(plan="ask")], Plain())
    assert saved == {"question": "why", "answer": 42, "plan": "ask"}
    assert await executed(netra, [{"a": 1}], types.MappingProxyType({"q": 1}), "r2") == {"q": 1, "a": 1}


async def test_another_result_of_a_merge_is_no_state(netra):
    class Counting:
        def __init__(self):
            self.merged = []

        def merge_from(self, other):
            self.merged.append(other.name)
            return {"conflicts": len(self.merged)}

    assert await executed(netra, [Model(name="a"), Model(name="b")], Counting()) == {"merged": ["a", "b"]}


async def test_results_that_were_merged_before_a_merge_raised_are_saved(netra):
    executor = netra.PipelineExecutor(Engine(), None, None)
    with pytest.raises(AttributeError, match="answers"):
        await executor.execute_pipeline([Frozen(answers=(1,)), Model(name="b")], Frozen(), "r", CONTEXT)
    assert await netra.standard.load_agent_state("r") == {"question": "why", "answers": [1]}


class SaysAnswer:
    """Its `to_dict` does not show the attributes that it is given."""

    def __init__(self, answer):
        self._answer = answer

    def to_dict(self):
        return {"answer": self._answer}


async def test_results_are_saved_though_to_dict_does_not_say_them(netra):
    assert await executed(netra, [{"more": 2}], SaysAnswer(1)) == {"answer": 1, "more": 2}
    assert await executed(netra, [SaysAnswer(42)], SaysAnswer(1), "r2") == {"answer": 42}
    assert await executed(netra, [SaysAnswer(42), {"more": 2}], {"q": 1}, "r3") == {"q": 1, "answer": 42, "more": 2}


class OnlyToDict:
    __slots__ = ("_secret",)

    def to_dict(self):
        return {"n": 1}


class OnlyAttributes:
    def __init__(self):
        self.n = 1
        self._cache = object()


class OnlySlots:
    __slots__ = ("n",)

    def __init__(self):
        self.n = 1


@pytest.mark.parametrize("kind", [OnlyToDict, OnlyAttributes, OnlySlots])
async def test_states_of_any_class_are_saved(netra, kind):
    assert await executed(netra, [], kind()) == {"n": 1}
    assert await executed(netra, [kind()], {}, "r2") == {"n": 1}
    assert (await netra.optimized.save_agent_state(request(netra, run_id="r3", state_data=kind()), None))[0]
    assert (await netra.optimized.save_agent_state(run_id="r4", thread_id="t", state=kind()))[0]
    assert await netra.optimized.load_agent_state("r3") == await netra.optimized.load_agent_state("r4") == {"n": 1}


# ---- the engine's context ----


class Looking(Engine):
    """Looks up the values of its context as attributes and as members, and writes both."""

    async def execute_pipeline(self, pipeline, context, state):
        self.context = context
        self.attributes = (context.run_id, context.thread_id, context.user_id, context.agent_name)
        self.members = tuple(context[name] for name in ("run_id", "thread_id", "user_id", "agent_name"))
        assert context.get("nothing") is None and "nothing" not in context and not hasattr(context, "nothing")
        context["as_member"] = 1
        context.as_attribute = 2
        context.agent_name = "triage"
        assert (context.as_member, context["as_attribute"], context["agent_name"]) == (1, 2, "triage")
        return await super().execute_pipeline(pipeline, context, state)


@pytest.mark.parametrize("kind", [dict, collections.UserDict, types.SimpleNamespace])
async def test_the_engine_finds_members_and_attributes_whichever_the_caller_has(netra, kind):
    engine, context = Looking(), kind(**CONTEXT, trace="x")
    await netra.PipelineExecutor(engine, None, None).execute_pipeline([], {}, "r", context)
    assert engine.attributes == engine.members == ("r", "thread-1", "user-1", "supervisor")
    assert isinstance(engine.context, dict if kind is not types.SimpleNamespace else kind)
    assert dict(**engine.context)["trace"] == "x"
    held = vars(context) if kind is types.SimpleNamespace else dict(context)
    assert {**held, "agent_name": "triage"} == {
        **CONTEXT,
        "trace": "x",
        "as_member": 1,
        "as_attribute": 2,
        "agent_name": "triage",
    }
    assert "run_id" not in held, "what is added is the engine's"


@pytest.mark.parametrize("has_members", [True, False])
async def test_a_context_that_has_both_is_the_engines_as_it_is_and_another_gets_members(netra, has_members):
    @dataclasses.dataclass
    class Context:
        run_id: str = "r"
        thread_id: str = "t"
        user_id: str = "u"
        agent_name: str = "mine"

    class WithMembers(Context):
        def __getitem__(self, name):
            return getattr(self, name)

    engine, context = Looking(), (WithMembers if has_members else Context)()
    engine.execute_pipeline = lambda pipeline, given, state: kept(given)

    async def kept(given):
        assert isinstance(given, Context) and given == context and (given is context) == has_members
        assert given["run_id"] == given.run_id == "r" and given["agent_name"] == "mine"
        return []

    await netra.PipelineExecutor(engine, None, None).execute_pipeline([], {}, "r", context)


async def test_a_context_can_be_copied_and_written_as_json(netra):
    class Copying(Engine):
        async def execute_pipeline(self, pipeline, context, state):
            for other in (copy.copy(context), copy.deepcopy(context), pickle.loads(pickle.dumps(context))):
                other["run_id"] = other.agent_name = "changed"
                assert other.thread_id == "thread-1" and context["run_id"] == "r"
            assert json.loads(json.dumps(context))["agent_name"] == "supervisor"
            del context["trace"]
            context.update(more=1)
            return []

    context = {**CONTEXT, "trace": "x"}
    await netra.PipelineExecutor(Copying(), None, None).execute_pipeline([], {}, "r", context)
    assert context == {**CONTEXT, "more": 1}


# ---- the documented interface ----


def test_a_request_has_the_documented_defaults(netra):
    wanted = netra.StatePersistenceRequest(run_id="r", thread_id="t", state_data={})
    assert wanted.checkpoint_type is netra.CheckpointType.MANUAL
    assert (wanted.user_id, wanted.agent_phase, wanted.execution_context) == (None, None, {})
    assert (wanted.is_recovery_point, wanted.expires_at) == (False, None)


def test_a_request_is_dumped_and_copied_as_a_model(netra):
    wanted = request(netra, agent_phase=netra.AgentPhase.TRIAGE, metadata={"a": 1})
    dumped = wanted.model_dump()
    assert dumped == {
        "run_id": "r",
        "thread_id": "t",
        "user_id": "u",
        "state_data": {"n": 1},
        "checkpoint_type": "auto",
        "agent_phase": "triage",
        "execution_context": {},
        "is_recovery_point": False,
        "expires_at": None,
        "metadata": {"a": 1},
    }
    assert type(dumped["checkpoint_type"]) is type(dumped["agent_phase"]) is str
    assert netra.StatePersistenceRequest(**dumped) == wanted
    assert wanted.model_dump(include={"run_id", "expires_at"}, exclude_none=True) == {"run_id": "r"}
    assert "metadata" not in wanted.model_dump(exclude={"metadata"})
    until = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
    changed = wanted.model_copy(update={"expires_at": until}, deep=True)
    assert changed.model_dump(mode="json")["expires_at"] == "2030-01-01T00:00:00+00:00"
    assert wanted.expires_at is None and changed.state_data is not wanted.state_data
    with pytest.raises(TypeError, match="run_id must be a str"):
        wanted.model_copy(update={"run_id": 3})
    recovery = netra.StateRecoveryRequest(run_id="r", thread_id="t")
    assert recovery.model_copy().model_dump() == {
        "run_id": "r",
        "thread_id": "t",
        "recovery_type": "resume",
        "target_snapshot_id": None,
        "failure_reason": None,
        "auto_recovery": False,
    }


async def test_every_documented_checkpoint_type_is_there_and_three_are_optimised(netra):
    optimised = []
    for kind in netra.CheckpointType:
        ids = [
            (await netra.optimized.save_agent_state(request(netra, run_id=kind.value, checkpoint_type=kind), None))[1]
            for _ in range(2)
        ]
        if ids[0] == ids[1]:
            optimised.append(kind.name)
    assert sorted(optimised) == ["AUTO", "INTERMEDIATE", "PIPELINE_COMPLETE"]
    assert (netra.CheckpointType.FULL, netra.CheckpointType.CRITICAL) == ("full", "critical")


async def test_a_save_without_a_type_is_manual(netra):
    import cairn

    await netra.optimized.save_agent_state(run_id="r", thread_id="t", state={"n": 1}, db_session="sqlite:states.db")
    with cairn.open("sqlite:states.db", read_only=True) as store:
        (info,) = store.history("r")
    assert (info.checkpoint_type, info.execution_context) == ("manual", None)


async def test_a_program_may_have_a_request_class_of_its_own(netra):
    pydantic = pytest.importorskip("pydantic")

    class Mine(pydantic.BaseModel):
        run_id: str = "r"
        thread_id: str = "t"
        user_id: str = None
        state_data: dict = {"n": 1}
        checkpoint_type: netra.CheckpointType = "auto"
        is_recovery_point: bool = False
        note: str = "of its own"
        state_type: str = "an agent's"

    first = await netra.optimized.save_agent_state(Mine(), None)
    assert first[0] and await netra.optimized.save_agent_state(Mine(), None) == first
    recovery = types.SimpleNamespace(run_id="r", recovery_type="rollback", target_snapshot_id=first[1])
    assert (await netra.optimized.recover_agent_state(recovery, None))[0]
    with pytest.raises(TypeError, match="request must be a StatePersistenceRequest, not dict"):
        await netra.optimized.save_agent_state({"run_id": "r"}, None)
    with pytest.raises(TypeError, match="run_id must be a str, not int"):
        await netra.optimized.save_agent_state(types.SimpleNamespace(run_id=3, thread_id="t", state_data={}), None)


async def test_a_run_without_a_user_is_nobodys(netra):
    first = await netra.optimized.save_agent_state(run_id="r", thread_id="t", state={"n": 1})
    assert first[0] and await netra.optimized.load_agent_state("r") == {"n": 1}
    assert (await netra.optimized.get_thread_context("t"))["user_id"] is None
    executor = netra.PipelineExecutor(Engine(), None, None)
    await executor.execute_pipeline([{"a": 1}], {}, "r", {"thread_id": "t", "user_id": None})
    assert await netra.optimized.load_agent_state("r") == {"a": 1}
    with pytest.raises(ValueError, match="belongs to another thread or user"):
        await netra.optimized.save_agent_state(run_id="r", thread_id="t", user_id="bob", state={"n": 2})


async def test_a_session_may_stand_where_a_snapshot_id_does(netra):
    import cairn

    _, first = await netra.optimized.save_agent_state(request(netra), "sqlite:other.db")
    await netra.optimized.save_agent_state(request(netra, state_data={"n": 2}), "sqlite:other.db")
    assert await netra.optimized.load_agent_state("r", "sqlite:other.db") == {"n": 2}
    assert await netra.optimized.load_agent_state("r", first, "sqlite:other.db") == {"n": 1}
    with cairn.open("sqlite:other.db") as store:
        assert await netra.standard.load_agent_state("r", store) == {"n": 2}
    assert await netra.optimized.load_agent_state("r", first) is None, "CAIRN_STORE has no such run"


async def test_optimisations_are_switched_together(netra):
    service = netra.OptimizedStatePersistence()

    async def is_skipped():
        return len({(await service.save_agent_state(request(netra), None))[1] for _ in range(2)}) == 1

    def settings():
        stats = service.get_cache_stats()
        return stats["deduplication_enabled"], stats["compression_enabled"]

    assert await is_skipped()
    service.configure(enable_optimizations=False)
    assert not await is_skipped() and settings() == (False, False)
    service.configure(enable_optimizations=True, enable_compression=False)
    assert await is_skipped() and settings() == (True, False)


async def test_a_state_is_finalised_and_its_watchers_are_told(netra):
    import cairn

    watcher = Keeping()
    executor = netra.PipelineExecutor(Engine(), watcher, "sqlite:states.db")
    state = types.SimpleNamespace(at=datetime.date(2030, 1, 1))
    success, snapshot_id = await executor.finalize_state(state, {**CONTEXT, "run_id": "r"})
    with cairn.open("sqlite:states.db", read_only=True) as store:
        (info,) = store.history("r")
    assert success and (info.snapshot_id, info.checkpoint_type) == (snapshot_id, "auto")
    assert [(message["thread_id"], message["type"]) for message in watcher.messages] == [
        ("thread-1", "checkpoint"),
        ("thread-1", "agent_completed"),
    ]
    assert watcher.messages[0]["receipt"]["snapshot_id"] == snapshot_id
    assert watcher.messages[-1]["payload"] == {
        "run_id": "r",
        "result": {"success": True, "output": {"at": "2030-01-01"}},
        "execution_time_ms": 0.0,
    }
    with pytest.raises(ValueError, match="context has no run_id"):
        await executor.finalize_state(state, CONTEXT)
    assert await executor.finalize_state({"a": object()}, {**CONTEXT, "run_id": "r"}) == (False, None)
    assert watcher.messages[-1]["payload"]["result"]["output"] is None
