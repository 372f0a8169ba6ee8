# Goal: the synchronous services work from many threads at a time, and let other threads run while they wait.
# Method: threads of this process. A lock on the database file makes a save wait for as long as a test wants.

import sqlite3
import threading

import cairn

OWNER = {"thread_id": "t", "user_id": "u"}


def in_threads(count, work):
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_many_threads_save_and_load(store):
    service = cairn.OptimizedStatePersistence(store)

    def agent(number):
        for step in range(50):
            state = {"step": step, "agent": number}
            service.save_agent_state(run_id=f"run-{number}", **OWNER, state=state)
            assert service.load_agent_state(f"run-{number}").state == state

    in_threads(16, agent)
    assert store.stats()["snapshots"] == 16 * 50


def test_other_threads_run_while_a_save_waits(store):
    blocker = sqlite3.connect("states.db", isolation_level=None, check_same_thread=False)
    service = cairn.OptimizedStatePersistence(store)
    service.save_agent_state(run_id="r", **OWNER, state={"n": 0})
    blocker.execute("BEGIN IMMEDIATE")
    receipts = []
    thread = threading.Thread(
        target=lambda: receipts.append(service.save_agent_state(run_id="r", **OWNER, state={"n": 1}))
    )
    thread.start()
    assert sum(range(100_000)) > 0 and receipts == [], "this thread runs, and the save waits"
    blocker.execute("COMMIT")
    thread.join()
    assert receipts[0].outcome == "persisted"


def test_a_save_that_waits_too_long_is_unavailable(store):
    blocker = sqlite3.connect("states.db", isolation_level=None)
    service = cairn.OptimizedStatePersistence(store)
    service.save_agent_state(run_id="r", **OWNER, state={"n": 0})
    blocker.execute("BEGIN IMMEDIATE")
    try:
        service.save_agent_state(run_id="r", **OWNER, state={"n": 1}, timeout=0.05)
        raise AssertionError("it was saved")
    except cairn.UnavailableError as error:
        assert error.retry == "yes"
    finally:
        blocker.execute("ROLLBACK")


def test_a_dict_that_others_change_meanwhile_is_saved_in_one_of_its_forms(store):
    service = cairn.OptimizedStatePersistence(store)
    state = {"numbers": list(range(100))}
    is_over = threading.Event()

    def change():
        while not is_over.is_set():
            state["numbers"].append(1)
            state["numbers"].pop()

    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(200):
            service.save_agent_state(run_id="r", **OWNER, state=state)
            assert len(service.load_agent_state("r").state["numbers"]) in (100, 101)
    finally:
        is_over.set()
        changer.join()
