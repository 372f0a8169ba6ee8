# Goal: a checkpoint never loses another writer's update: it is refused, or the function runs again on the new state.
# Method: tasks, threads, processes and blocks overlap on one run. At the end, the run is compared with their answers.

import asyncio
import os
import pathlib
import subprocess
import sys
import threading

import pytest

import cairn
from cairn import aio

OWNER = {"run_id": "r", "thread_id": "t", "user_id": "u"}


@pytest.fixture(params=["OptimizedStatePersistence", "StatePersistenceService"])
def kind(request):
    return request.param


@pytest.fixture
def service(kind, store):
    with getattr(cairn, kind)(store) as service:
        yield service


def increment(state):
    state["n"] = state.get("n", 0) + 1


def run_in_threads(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_every_increment_of_four_threads_is_there_or_was_refused(service):
    done, refused = [], []

    def count():
        for _ in range(50):
            try:
                with cairn.checkpoint(service, **OWNER) as state:
                    increment(state)
                done.append(1)
            except cairn.ConflictError as error:
                assert error.retry == "no"
                refused.append(1)

    run_in_threads(4, count)
    assert len(done) + len(refused) == 200
    assert service.load_agent_state("r").state == {"n": len(done)}


def test_a_function_that_may_run_again_counts_every_call(service):
    step = cairn.checkpoint(service, **OWNER, retry=1000)(increment)

    def count():
        for _ in range(25):
            step()

    run_in_threads(4, count)
    assert service.load_agent_state("r").state == {"n": 100}


def test_processes_lose_no_update_either(kind, store):
    program = (
        "import sys, cairn\n"
        "with cairn.open('sqlite:states.db') as store, getattr(cairn, sys.argv[1])(store) as service:\n"
        "    @cairn.checkpoint(service, run_id='r', thread_id='t', user_id='u', retry=1000)\n"
        "    def step(state):\n"
        "        state['n'] = state.get('n', 0) + 1\n"
        "    for _ in range(25):\n"
        "        step()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(cairn.__file__).parents[1])}
    processes = [
        subprocess.Popen([sys.executable, "-c", program, kind], env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate()[1] for process in processes] == ["", "", ""]
    assert cairn.StatePersistenceService(store).load_agent_state("r").state == {"n": 75}


def test_an_update_to_the_same_state_is_an_update_too(service):
    with cairn.checkpoint(service, **OWNER) as state:
        state["n"] = 5
    with pytest.raises(cairn.ConflictError, match='the head of run "r" is at version 2, not at 1'):
        with cairn.checkpoint(service, **OWNER) as mine:
            with cairn.checkpoint(service, **OWNER) as others:
                increment(others)
            increment(mine)
    assert service.load_agent_state("r").state == {"n": 6}, "one of two increments, and one was refused"


def test_the_first_save_of_a_run_is_one_writers(service):
    with pytest.raises(cairn.ConflictError, match="is at version 1, not at 0"):
        with cairn.checkpoint(service, **OWNER):
            with cairn.checkpoint(service, **OWNER) as others:
                others["n"] = 1


def test_a_run_that_was_deleted_meanwhile_is_not_written_anew(service, store):
    with cairn.checkpoint(service, **OWNER) as state:
        state["n"] = 1
    with pytest.raises(cairn.ConflictError, match="is at version 0, not at 1"):
        with cairn.checkpoint(service, **OWNER) as state:
            store.delete_runs(run_id="r")
            state["n"] = 2
    assert list(store.runs()) == []


def test_blocks_one_after_the_other_conflict_with_nobody(store):
    with cairn.OptimizedStatePersistence(store, durability="exit") as service:
        for _ in range(5):
            with cairn.checkpoint(service, **OWNER) as state:
                increment(state)
        service.save_agent_state(**OWNER, state={"n": 7})
        with cairn.checkpoint(service, **OWNER) as state:
            assert state == {"n": 7}, "what is queued is loaded"
            increment(state)
    assert [info.version for info in store.history("r")] == [7, 6, 5, 4, 3, 2, 1]


def test_a_function_runs_again_only_as_often_as_it_may(service):
    states = []

    @cairn.checkpoint(service, **OWNER, retry=2)
    def step(state):
        states.append(dict(state))
        with cairn.checkpoint(service, **OWNER) as others:
            increment(others)

    with pytest.raises(cairn.ConflictError):
        step()
    assert states == [{}, {"n": 1}, {"n": 2}]


def test_a_conflict_of_the_function_itself_is_not_run_again(service):
    calls = []

    @cairn.checkpoint(service, **OWNER, retry=5)
    def step(state):
        calls.append(1)
        raise cairn.ConflictError("of something else")

    with pytest.raises(cairn.ConflictError, match="of something else"):
        step()
    assert calls == [1]


def test_a_writer_that_takes_the_risk_writes_on_top(service):
    with cairn.checkpoint(service, **OWNER, on_conflict="rebase") as mine:
        with cairn.checkpoint(service, **OWNER) as others:
            others["theirs"] = 1
        mine["mine"] = 1
    assert service.load_agent_state("r").state == {"mine": 1}


async def test_tasks_lose_no_update(kind, store):
    async with getattr(aio, kind)(store) as service:

        async def tool(name, earlier):
            async with cairn.checkpoint(service, **OWNER) as state:
                await (earlier.wait() if earlier else asyncio.sleep(0))
                state[name] = "done"

        is_saved = asyncio.Event()

        async def first():
            await tool("search", None)
            is_saved.set()

        results = await asyncio.gather(tool("mail", is_saved), first(), return_exceptions=True)
        assert isinstance(results[0], cairn.ConflictError) and results[1] is None
        assert (await service.load_agent_state("r")).state == {"search": "done"}

        @cairn.checkpoint(service, **OWNER, retry=1000)
        async def count(state):
            await asyncio.sleep(0)
            increment(state)

        await asyncio.gather(*(count() for _ in range(20)))
        assert (await service.load_agent_state("r")).state == {"search": "done", "n": 20}


def test_an_impossible_argument_is_named(service):
    with pytest.raises(TypeError, match="a block cannot be run again: give retry= to a function"):
        with cairn.checkpoint(service, **OWNER, retry=1):
            pass
    for arguments, kind, error in [
        ({"retry": -1}, ValueError, "retry is -1"),
        ({"retry": "3"}, TypeError, "retry must be an int, not str"),
        ({"retry": 1, "durability": "async"}, ValueError, 'retry needs durability "sync", not "async"'),
        ({"expected_version": 1}, TypeError, "expected_version is the version that the checkpoint loads"),
    ]:
        with pytest.raises(kind, match=error):
            cairn.checkpoint(service, **OWNER, **arguments)


def test_a_block_that_could_not_begin_may_be_begun_again(service):
    checkpoint = cairn.checkpoint(service, **{**OWNER, "run_id": ""})
    for _ in range(2):
        with pytest.raises(ValueError, match="run_id is empty"):
            checkpoint.__enter__()
