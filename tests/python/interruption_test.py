# Goal: Ctrl-C, or any signal whose handler raises, ends a waiting call at once. The engine still decides how the call
# ends. Nothing is lost or saved twice, and the service works on.
# Method: programs of their own, whose store another process keeps locked. Their saves would wait for ten minutes, so a
# wait that is not ended shows as a program that does not end.

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

import cairn

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(cairn.__file__).parents[1])}

BEGIN = """
import os, signal, subprocess, sys, threading
import cairn

OWNER = dict(thread_id="t", user_id="u", timeout=600)

class Locked:
    def __enter__(self):
        code = ("import sqlite3, sys; c = sqlite3.connect('states.db', isolation_level=None); "
                "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()")
        self.process = subprocess.Popen([sys.executable, "-c", code], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout.readline() == "locked\\n"
    def __exit__(self, *_):
        self.process.communicate()

def is_interrupted(call, number=signal.SIGINT, kind=KeyboardInterrupt):
    try:
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        call()
    except kind:
        return True

def save(n, run_id="r", **fields):
    return service.save_agent_state(run_id=run_id, **{**OWNER, **fields}, state={"n": n})

store = cairn.open("sqlite:states.db")
service = getattr(cairn, KIND)(store)
save(0)
"""


def run(code, kind="OptimizedStatePersistence", returncode=0):
    program = f"KIND = {kind!r}\n" + textwrap.dedent(BEGIN) + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )
    assert result.returncode == returncode, result.stderr
    return result.stdout + result.stderr


def states(run_id="r"):
    with cairn.open("sqlite:states.db", create=False) as store:
        service = cairn.StatePersistenceService(store)
        assert store.check(deep=True).findings == []
        history = list(store.history(run_id, oldest_first=True))
        return [service.load_agent_state(run_id, info.snapshot_id).state["n"] for info in history]


@pytest.mark.parametrize("kind", ["OptimizedStatePersistence", "StatePersistenceService"])
@pytest.mark.parametrize("fields", ["", "checkpoint_type='manual'"], ids=["auto", "manual"])
def test_a_save_is_interrupted_and_is_applied_once_and_in_its_order(kind, fields):
    run(
        f"""
        save(0, "other")
        with Locked():
            assert is_interrupted(lambda: save(1, {fields}))
            assert service.load_agent_state("other").state == {{"n": 0}}, "it keeps nothing else waiting"
            if KIND == "StatePersistenceService":
                assert service.load_agent_state("r").state == {{"n": 0}}, "nor those who read"
        save(2, {fields})
        store.close()
        """,
        kind,
    )
    assert states() == [0, 1, 2]


def test_every_call_that_waits_is_interrupted():
    run("""
        with Locked():
            save(1, durability="async")
            for call in (lambda: service.flush("r", timeout=600), lambda: service.flush_all(timeout=600),
                         lambda: service.load_agent_state("r"), lambda: service.get_thread_context("t"),
                         lambda: service.recover_agent_state(run_id="r"),
                         lambda: store.prune(keep_last=1), lambda: store.delete_runs(run_id="r"),
                         service.close, store.close):
                assert is_interrupted(call), call
        store.close()
        """)


def test_many_saves_of_other_runs_may_be_left_and_their_threads_end():
    run("""
        def threads():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
        before = threads()
        with Locked():
            for number in range(10):
                assert is_interrupted(lambda: save(1, f"run-{number}"))
            assert service.save_agent_state(run_id="queued", **OWNER, state={}, durability="async").outcome == "queued"
        service.close()
        pause = threading.Event()
        while threads() > before + 3:
            pause.wait(0.01)
        assert store.stats()["snapshots"] == 12
        """)


def test_a_handler_that_does_not_raise_lets_the_save_go_on():
    run("""
        calls = []
        lock = Locked()
        def handler(*_):
            calls.append(1)
            lock.__exit__()
        signal.signal(signal.SIGINT, handler)
        lock.__enter__()
        assert not is_interrupted(lambda: save(1))
        assert calls == [1]
        """)
    assert states() == [0, 1]


def test_a_handler_may_save_too():
    run("""
        lock = Locked()
        def handler(*_):
            lock.__exit__()
            save(2)
        signal.signal(signal.SIGUSR1, handler)
        lock.__enter__()
        assert not is_interrupted(lambda: save(1), signal.SIGUSR1)
        """)
    assert states() == [0, 1, 2]


def test_an_alarm_ends_a_call_with_its_own_error():
    run("""
        class TooLong(Exception):
            pass
        def handler(*_):
            raise TooLong
        signal.signal(signal.SIGALRM, handler)
        with Locked():
            assert is_interrupted(lambda: save(1), signal.SIGALRM, TooLong)
        save(2)
        """)
    assert states() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["OptimizedStatePersistence", "StatePersistenceService"])
@pytest.mark.parametrize("with_blocks", [True, False], ids=["with", "plain"])
def test_a_program_ends_by_ctrl_c_while_the_store_is_locked(kind, with_blocks):
    code = "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
    code += "with store, service:\n    save(1)\n" if with_blocks else "save(1)\n"
    output = run("lock = Locked()\nlock.__enter__()\n" + code, kind, -signal.SIGINT)
    assert output.rstrip().endswith("KeyboardInterrupt")
    assert states() in ([0], [0, 1])


def test_acknowledged_saves_are_committed_before_a_program_ends():
    output = run(
        """
        lock = Locked()
        lock.__enter__()
        with store, service:
            save(1, "queued", durability="async")
            assert is_interrupted(lambda: save(1))
            threading.Timer(0.3, lock.__exit__).start()
            raise KeyboardInterrupt
        """,
        returncode=-signal.SIGINT,
    )
    assert output.rstrip().endswith("KeyboardInterrupt")
    assert states("queued") == [1]


ASYNC = """
from cairn import aio

async def main():
    async with store, getattr(aio, KIND)(store) as service:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        await service.save_agent_state(run_id="r", **OWNER, state={"n": 1})
"""


@pytest.mark.parametrize("kind", ["OptimizedStatePersistence", "StatePersistenceService"])
def test_a_program_of_asyncio_ends_by_ctrl_c_too(kind):
    code = ASYNC + "import asyncio\nlock = Locked()\nlock.__enter__()\nasyncio.run(main())\n"
    output = run(code, kind, -signal.SIGINT)
    assert output.rstrip().endswith("KeyboardInterrupt")
    assert "never retrieved" not in output and "it may still be applied" in output
    assert states() in ([0], [0, 1])


def test_a_task_that_is_cancelled_still_waits_for_what_was_acknowledged():
    run("""
        import asyncio
        from cairn import aio
        async def work():
            async with aio.OptimizedStatePersistence(store) as own:
                await own.save_agent_state(run_id="queued", **OWNER, state={"n": 1}, durability="async")
                is_queued.set()
                await own.save_agent_state(run_id="r", **OWNER, state={"n": 1})
        async def main():
            task = asyncio.create_task(work())
            await is_queued.wait()
            threading.Timer(0.3, lock.__exit__).start()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert [info.version for info in store.history("queued")] == [1]
        lock = Locked()
        lock.__enter__()
        is_queued = asyncio.Event()
        asyncio.run(main())
        """)


def test_a_store_that_another_program_locks_while_it_is_opened_can_be_left_too():
    run("""
        import sqlite3
        store.close()
        code = ("import sqlite3, sys; c = sqlite3.connect('states.db', isolation_level=None); "
                "c.execute('PRAGMA locking_mode=EXCLUSIVE'); c.execute('BEGIN EXCLUSIVE'); "
                "print('locked', flush=True); sys.stdin.read()")
        process = subprocess.Popen([sys.executable, "-c", code], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout.readline() == "locked\\n"
        assert is_interrupted(lambda: cairn.open("sqlite:states.db"), kind=(KeyboardInterrupt, cairn.CairnError))
        process.communicate()
        """)
