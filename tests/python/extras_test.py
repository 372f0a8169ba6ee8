# Goal: the package's conveniences work as a Python engineer expects: checkpointed blocks and functions, stores for
# tests, and the program.
# Method: tests each by itself, with its failures.

import asyncio
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

import cairn
from cairn import aio
from cairn.testing import FaultyStore, cairn_store, faulty_store  # noqa: F401: fixtures

OWNER = {"run_id": "r", "thread_id": "t", "user_id": "u"}


# ---- checkpoints ----


def test_a_block_works_on_the_newest_state_and_saves_it(cairn_store):
    service = cairn.OptimizedStatePersistence(cairn_store)
    for step in range(3):
        with cairn.checkpoint(service, **OWNER, metadata={"step": step}) as state:
            assert state.get("steps", []) == list(range(step))
            state.setdefault("steps", []).append(step)
    assert [info.metadata["step"] for info in cairn_store.history("r")] == [2, 1, 0]


def test_a_block_that_raises_saves_nothing(cairn_store):
    service = cairn.OptimizedStatePersistence(cairn_store)
    with pytest.raises(ZeroDivisionError):
        with cairn.checkpoint(service, **OWNER) as state:
            state["n"] = 1 / 0
    assert list(cairn_store.runs()) == []


def test_a_function_is_given_the_state(cairn_store):
    service = cairn.OptimizedStatePersistence(cairn_store)

    @cairn.checkpoint(service, **OWNER, checkpoint_type="manual")
    def add(state, number, *, twice=False):
        """Adds."""
        state["sum"] = state.get("sum", 0) + number * (2 if twice else 1)
        return state["sum"]

    @cairn.checkpoint(service, **OWNER)
    def replace(state):
        return {"old": state}

    assert (add(1), add(2, twice=True), add.__name__, add.__doc__) == (1, 5, "add", "Adds.")
    assert replace() == {"old": {"sum": 5}}
    assert service.load_agent_state("r").state == {"old": {"sum": 5}}


async def test_asyncio_has_the_same(cairn_store):
    service = aio.OptimizedStatePersistence(cairn_store)

    @cairn.checkpoint(service, **OWNER)
    async def step(state):
        await asyncio.sleep(0)
        state["n"] = state.get("n", 0) + 1

    await step()
    await step()
    async with cairn.checkpoint(service, **OWNER) as state:
        assert state == {"n": 2}
        state["n"] = 10
    assert (await service.load_agent_state("r")).state == {"n": 10}
    await service.close()


async def test_the_wrong_kind_of_service_is_told(cairn_store):
    with pytest.raises(TypeError, match="cairn.aio needs `async with`"):
        with cairn.checkpoint(aio.OptimizedStatePersistence(cairn_store), **OWNER):
            pass
    with pytest.raises(TypeError, match="need a service of cairn.aio"):
        async with cairn.checkpoint(cairn.OptimizedStatePersistence(cairn_store), **OWNER):
            pass
    with pytest.raises(TypeError, match="cairn.aio"):
        cairn.checkpoint(aio.OptimizedStatePersistence(cairn_store), **OWNER)(lambda state: state)


def test_a_checkpoint_is_one_block(cairn_store):
    checkpoint = cairn.checkpoint(cairn.OptimizedStatePersistence(cairn_store), **OWNER)
    with checkpoint:
        with pytest.raises(RuntimeError, match="make a checkpoint for each block"):
            checkpoint.__enter__()
    with checkpoint as state:
        assert state == {}


def test_somebody_elses_run_is_not_loaded(cairn_store):
    service = cairn.OptimizedStatePersistence(cairn_store)
    with cairn.checkpoint(service, **OWNER) as state:
        state["secret"] = 1
    with pytest.raises(cairn.InvalidArgumentError):
        with cairn.checkpoint(service, **{**OWNER, "user_id": "somebody else"}) as state:
            assert state == {}


# ---- stores for tests ----


def test_an_error_on_the_optimised_way_falls_back_and_is_logged(faulty_store, caplog):
    service = cairn.OptimizedStatePersistence(faulty_store)
    faulty_store.inject("commit", error="internal")
    receipt = service.save_agent_state(**OWNER, state={"n": 1})
    assert receipt.outcome == "fallback"
    assert service.get_cache_stats()["fallbacks_by_cause"] == {"internal": 1}
    cairn._logging.settle()
    record = next(record for record in caplog.records if getattr(record, "event", None) == "save_fallback")
    assert record.levelname == "WARNING" and record.name == "cairn"


def test_a_store_that_fails_for_good_is_an_error_that_says_what_to_do(faulty_store):
    service = cairn.OptimizedStatePersistence(faulty_store)
    faulty_store.inject(error="storage_full", for_good=True)
    with pytest.raises(cairn.StorageFullError) as error:
        service.save_agent_state(**OWNER, state={"n": 1})
    assert error.value.retry == "yes" and "space" in error.value.advice
    faulty_store.heal()
    assert service.save_agent_state(**OWNER, state={"n": 1}).outcome == "persisted"
    assert faulty_store.calls("commit") >= 2


def test_an_outcome_that_is_unknown_is_resolved(faulty_store):
    service = cairn.OptimizedStatePersistence(faulty_store)
    faulty_store.inject(error="outcome_unknown", after_effect=True)
    receipt = service.save_agent_state(**OWNER, state={"n": 1})
    assert [info.snapshot_id for info in faulty_store.history("r")] == [receipt.snapshot_id]


def test_a_fault_that_makes_no_sense_is_refused():
    store = FaultyStore()
    with pytest.raises(ValueError, match='call is "save": give commit, head, get, history or lease'):
        store.inject("save")
    with pytest.raises(ValueError, match='error is "broken": give a code'):
        store.inject(error="broken")
    store.close()


def test_the_fixtures_are_a_plugin(folder):
    (folder / "program_test.py").write_text(
        'pytest_plugins = ["cairn.testing"]\n'
        "def test_it(cairn_store, faulty_store):\n    assert cairn_store.stats()['runs'] == 0\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "program_test.py")]
    environment = {**os.environ, "PYTHONPATH": str(cairn.__path__[0]).rpartition("/")[0]}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert "1 passed" in result.stdout, result.stdout


def test_the_plugin_of_an_installed_package_may_be_named_too(folder):
    package = pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python" / "pyproject.toml"
    plugins = tomllib.loads(package.read_text())["project"]["entry-points"]["pytest11"]
    installed = folder / "cairn-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: cairn\nVersion: 0\n")
    lines = [f"{name} = {module}" for name, module in plugins.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]) + "\n")
    (folder / "program_test.py").write_text(
        'pytest_plugins = ["cairn.testing"]\ndef test_it(cairn_store):\n    assert cairn_store.stats()["runs"] == 0\n'
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "program_test.py")]
    path = os.pathsep.join([str(cairn.__path__[0]).rpartition("/")[0], str(folder)])
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=folder)
    assert "1 passed" in result.stdout, result.stdout + result.stderr


# ---- the program ----


def test_the_program_comes_with_the_package(folder, store):
    cairn.OptimizedStatePersistence(store).save_agent_state(**OWNER, state={"n": 1})
    environment = {**os.environ, "PYTHONPATH": str(cairn.__path__[0]).rpartition("/")[0]}
    command = [sys.executable, "-m", "cairn", "--store", "sqlite:states.db", "load", "--run", "r"]
    assert subprocess.run(command, capture_output=True, text=True, env=environment).stdout == '{"n":1}\n'
    command[-1] = "nobody"
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 6 and result.stderr.startswith("cairn: not_found:")
