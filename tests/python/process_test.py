# Goal: processes that fork, end early or end without closing anything neither hang nor crash. They lose no acknowledged
# save.
# Method: each case is a program of its own that runs to its end.

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import cairn

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(cairn.__file__).parents[1])}

BEGIN = """
import asyncio, os, sys, threading
import cairn
from cairn import aio
OWNER = {"thread_id": "t", "user_id": "u"}
store = cairn.open("sqlite:states.db")
service = cairn.OptimizedStatePersistence(store)
def save(n, **fields):
    return service.save_agent_state(run_id="r", **OWNER, state={"n": n}, **fields)
save(0)
def child_of(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def run(code):
    program = textwrap.dedent(BEGIN) + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def states():
    with cairn.open("sqlite:states.db", create=False) as store:
        service = cairn.StatePersistenceService(store)
        assert store.check(deep=True).findings == []
        return [service.load_agent_state("r", info.snapshot_id).state["n"] for info in store.history("r")][::-1]


def test_a_forked_child_is_told_to_open_stores_after_forking():
    output = run(
        """
        def work():
            for call in (lambda: save(1), lambda: store.stats(), lambda: service.load_agent_state("r"),
                         lambda: service.flush("r"), lambda: service.get_cache_stats(), lambda: service.close()):
                try:
                    call()
                except cairn.ClosedError as error:
                    print(error)
            try:
                cairn.open("sqlite:states.db")
            except ValueError as error:
                print(error)
            with cairn.open("sqlite:own.db") as own:
                cairn.OptimizedStatePersistence(own).save_agent_state(run_id="r", **OWNER, state={"n": 1})
        child_of(work)
        save(2)
        """
    )
    assert output.count("open the store after forking only") == 7
    assert states() == [0, 2]


def test_a_child_that_ends_leaves_its_parents_store_alone():
    run(
        """
        save(1, durability="exit")
        pid = os.fork()
        if pid == 0:
            sys.exit(0)  # with all that an interpreter does at its end
        assert os.waitpid(pid, 0)[1] == 0
        save(2, durability="exit")
        """
    )
    assert states() == [0, 1, 2]


def test_a_fork_while_others_save_does_no_harm():
    run(
        """
        is_over = threading.Event()
        def agent(number):
            step = 0
            while not is_over.is_set():
                step += 1
                service.save_agent_state(run_id=f"run-{number}", **OWNER, state={"n": step}, durability="async")
        threads = [threading.Thread(target=agent, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        def work():
            with cairn.open("sqlite:own.db") as own:
                asyncio.run(aio.OptimizedStatePersistence(own).save_agent_state(run_id="r", **OWNER, state={"n": 1}))
        for _ in range(20):
            child_of(work)
        is_over.set()
        for thread in threads:
            thread.join()
        """
    )
    assert states() == [0]


def test_the_documented_services_serve_workers_that_were_forked_before_they_saved():
    run(
        """
        from netra_backend.app.services.state_persistence_optimized import optimized_state_persistence as netra
        def netra_save(n):
            assert asyncio.run(netra.save_agent_state(run_id="r", **OWNER, state={"n": n}))[0]
        child_of(lambda: netra_save(1))
        child_of(lambda: netra_save(2))
        netra_save(3)
        def too_late():
            try:
                netra_save(4)
            except ValueError as error:
                assert "open the store after forking only" in str(error)
            else:
                raise AssertionError("it was saved")
        child_of(too_late)
        netra_save(5)
        """
    )
    with cairn.open("sqlite:cairn.db") as store:
        assert len(list(store.history("r"))) == 4


@pytest.mark.parametrize("durability", ["async", "exit"])
def test_a_program_that_ends_without_closing_still_has_what_it_queued(durability):
    run(f"""
        for n in range(1, 50):
            save(n, durability="{durability}")
        """)
    assert states() == list(range(50))


def test_a_program_that_ends_with_an_exception_does_so_too():
    program = textwrap.dedent(BEGIN) + "save(1, durability='exit')\nraise SystemExit(3)\n"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, env=ENVIRONMENT).returncode == 3
    assert states() == [0, 1]


def test_a_program_may_end_while_its_loop_and_threads_still_save():
    run(
        """
        def endless():
            n = 0
            while True:
                n += 1
                try:
                    service.save_agent_state(run_id="other", **OWNER, state={"n": n})
                except cairn.ClosedError:
                    return
        threading.Thread(target=endless, daemon=True).start()
        async def leave():
            own = aio.OptimizedStatePersistence(store)
            for n in range(100):
                asyncio.create_task(own.save_agent_state(run_id=f"x{n}", **OWNER, state={"n": n}))
            await asyncio.sleep(0)
        asyncio.run(leave())
        """
    )
    assert states() == [0]
