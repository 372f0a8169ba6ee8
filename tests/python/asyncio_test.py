# Goal: with many tasks, loops and cancellations at once, every save is acknowledged once and in order, and nothing hangs.
# Method: real loops in this process, some of them in threads, on a real store.

import asyncio
import contextlib
import datetime
import gc
import sqlite3
import threading
import weakref

import pytest

import cairn
from cairn import _cairn, aio

OWNER = {"thread_id": "t", "user_id": "u"}


@pytest.fixture
async def service(store):
    async with aio.OptimizedStatePersistence(store) as service:
        yield service


def save(service, run_id, state, **fields):
    return service.save_agent_state(run_id=run_id, **OWNER, state=state, **fields)


async def test_saves_of_a_run_keep_the_order_of_their_calls(service, store):
    runs = [f"run-{number}" for number in range(50)]
    await asyncio.gather(*(save(service, run, {"step": step}) for step in range(20) for run in runs))
    for run in runs:
        versions = [info.version for info in store.history(run, oldest_first=True)]
        assert versions == list(range(1, 21))
        states = [(await service.load_agent_state(run, info.snapshot_id)).state for info in store.history(run)]
        assert [state["step"] for state in states] == list(range(19, -1, -1))


async def test_many_tasks_share_commits(service):
    async def agent(number):
        for step in range(20):
            await save(service, f"run-{number}", {"step": step})

    await asyncio.gather(*(agent(number) for number in range(500)))
    stats = service.get_cache_stats()
    assert stats["saves_by_outcome"]["persisted"] == 10_000
    assert stats["batched"] > 2 * stats["batches"] > 0


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_a_cancelled_save_is_applied_or_not_and_the_next_ones_are_fine(service, store, turns):
    task = asyncio.create_task(save(service, "r", {"n": 1}))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    receipt = await save(service, "r", {"n": 2})
    assert (await service.load_agent_state("r")).state == {"n": 2}
    assert receipt.version == len(list(store.history("r")))


async def test_closing_waits_for_cancelled_saves(store):
    service = aio.OptimizedStatePersistence(store)
    tasks = [asyncio.create_task(save(service, f"run-{number}", {"n": 1})) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await service.close()
    assert len(list(store.runs())) == 100, "they were under way when they were cancelled"
    with pytest.raises(cairn.ClosedError):
        await save(service, "r", {})


def test_one_service_serves_one_loop_after_the_other(store):
    service = aio.OptimizedStatePersistence(store)
    for number in range(5):
        asyncio.run(save(service, "r", {"n": number}))
    assert asyncio.run(service.load_agent_state("r")).state == {"n": 4}


def test_several_loops_use_one_service_at_a_time(store):
    service = aio.OptimizedStatePersistence(store)
    errors = []

    async def agents(name):
        await asyncio.gather(*(save(service, f"{name}-{number}", {"n": number}) for number in range(200)))

    def loop(name):
        try:
            asyncio.run(agents(name))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=loop, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(list(store.runs())) == 800


def test_a_loop_that_ends_before_its_saves_leaves_them_to_the_engine(store):
    service = aio.OptimizedStatePersistence(store)

    async def leave():
        for number in range(200):
            asyncio.create_task(save(service, f"run-{number}", {"n": 1}))
        await asyncio.sleep(0)

    asyncio.run(leave())
    gc.collect()
    asyncio.run(service.close())
    assert len(list(store.runs())) == 200


def test_loops_that_end_before_their_saves_leave_nothing_behind(store):
    service = aio.OptimizedStatePersistence(store)
    save_sync = cairn.StatePersistenceService(store).save_agent_state
    save_sync(run_id="r", **OWNER, state={"n": 0})
    blocker = sqlite3.connect("states.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    async def leave():
        asyncio.create_task(save(service, "r", {"n": 1}))
        await asyncio.sleep(0)
        return weakref.ref(asyncio.get_running_loop())

    loops = [asyncio.run(leave()) for _ in range(10)]
    gc.collect()
    assert [loop() for loop in loops] == [None] * 10
    blocker.execute("ROLLBACK")
    asyncio.run(service.close())
    assert service.store.stats()["snapshots"] == 2


def test_a_service_that_nobody_holds_finishes_what_was_begun(store):
    async def leave():
        service = aio.OptimizedStatePersistence(store)
        task = asyncio.create_task(save(service, "r", {"n": 1}))
        await asyncio.sleep(0)
        del service
        gc.collect()
        return await task

    assert asyncio.run(leave()).outcome == "persisted"


async def test_a_service_made_for_nothing_leaves_nothing_behind(folder):
    threads = threading.active_count()
    for _ in range(50):
        async with cairn.open("memory:") as store, aio.OptimizedStatePersistence(store) as service:
            await save(service, "r", {"n": 1})
    gc.collect()
    assert threading.active_count() <= threads + 2, "asyncio's own helper, and the logger's"
    with open("/proc/self/status") as status:
        native = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
    assert native < 20


async def test_events_tell_saves_in_order_and_count_what_a_slow_watcher_missed(store, service):
    quick, slow = store.events(), store.events(queue_size=3)
    for number in range(10):
        await save(service, "r", {"n": number}, agent_phase="triage")
    with pytest.raises(cairn.InvalidArgumentError):
        await service.save_agent_state(run_id="r", thread_id="t", user_id="somebody else", state={})
    told = [await quick.__anext__() for _ in range(11)]
    assert [event.sequence for event in told] == list(range(1, 12))
    assert [event.receipt.version for event in told[:10]] == list(range(1, 11))
    assert told[0].agent_phase == "triage" and told[10].receipt is None
    assert told[10].error.code == "invalid_argument"
    last = [await slow.__anext__() for _ in range(3)]
    assert [event.sequence for event in last] == [9, 10, 11]
    assert [event.dropped for event in last] == [8, 0, 0]


async def test_events_end_with_the_store_or_their_own_closing():
    store = cairn.open("memory:")
    events, other = store.events(), store.events()
    other.close()
    waiting = asyncio.create_task(events.__anext__())
    await asyncio.sleep(0)
    store.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    assert [event async for event in other] == []


async def test_a_watcher_that_is_forgotten_watches_no_more(store, service):
    await save(service, "r", {"n": 1})
    events = store.events()
    await save(service, "r", {"n": 2})
    async for event in events:
        assert event.receipt.version == 2
        break
    del events
    gc.collect()
    assert store._handle.watchers() == 0


async def test_an_event_is_not_lost_by_a_watcher_that_was_interrupted_while_it_waited(store, service):
    events = store.events()
    for _ in range(3):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.001)
    await save(service, "r", {"n": 1})
    event = await asyncio.wait_for(events.__anext__(), 60)
    assert event.receipt.version == 1 and event.sequence == 1 and event.type == "checkpoint"
    assert event.state_bytes == len('{"n":1}') and event.duration >= datetime.timedelta(0)
    assert event.time.utcoffset() == datetime.timedelta(0) and not event.is_lost


async def test_a_save_whose_task_was_cancelled_is_told_when_it_ends(store, service):
    events = store.events()
    with locked():
        task = await begun(asyncio.create_task(save(service, "r", {"n": 1})))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    event = await asyncio.wait_for(events.__anext__(), 60)
    assert event.receipt.outcome == "persisted"


async def test_a_queued_save_that_is_lost_is_told_again(folder):
    opened = _cairn.open("sqlite:states.db", read_only=False, create=True, file_mode=0o600)
    faulty = _cairn.FaultyStore(opened)
    with cairn.Store(faulty, "sqlite:states.db") as store:
        service = aio.OptimizedStatePersistence(store, durability="async")
        events = store.events()
        faulty.inject(call="commit", nth=1, error="storage_full", for_good=True, after_effect=False)
        await save(service, "r", {"n": 1})
        queued, lost = [await asyncio.wait_for(events.__anext__(), 60) for _ in range(2)]
        assert queued.receipt.outcome == "queued" and not queued.is_lost
        assert lost.is_lost and lost.receipt is None and lost.error.code == "storage_full"
        with pytest.raises(cairn.StorageFullError):
            await service.flush("r")


def test_a_watcher_needs_room_for_an_event(store):
    with pytest.raises(ValueError, match="queue_size is 0"):
        store.events(queue_size=0)


async def test_events_cross_from_threads_to_the_loop(store):
    events = store.events()
    service = cairn.OptimizedStatePersistence(store)
    await asyncio.to_thread(service.save_agent_state, run_id="r", **OWNER, state={"n": 1})
    assert (await events.__anext__()).run_id == "r"


async def test_calls_of_one_run_that_wait_hold_up_no_other_run(store, service):
    for number in range(16):
        await save(service, f"run-{number}", {"n": number})
    async with aio.OptimizedStatePersistence(store, durability="async", timeout_ms=60_000) as queueing:
        with contextlib.closing(sqlite3.connect("states.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            blocked = []
            for number in range(12):
                await save(queueing, f"blocked-{number}", {"n": number})
                blocked.append(asyncio.create_task(queueing.flush(f"blocked-{number}")))
            loads = (queueing.load_agent_state(f"run-{number}") for number in range(16))
            loaded = await asyncio.wait_for(asyncio.gather(*loads), 60)
            assert [each.state["n"] for each in loaded] == list(range(16))
            assert not any(task.done() for task in blocked)
        await asyncio.gather(*blocked)


async def test_long_calls_of_a_store_let_the_loop_go_on(store, service):
    for number in range(5):
        await save(service, "r", {"n": number})
    with contextlib.closing(sqlite3.connect("states.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        pruning = asyncio.create_task(aio.prune(store, keep_last=2))
        deleting = asyncio.create_task(aio.delete_runs(store, run_id="r", dry_run=True))
        assert (await asyncio.wait_for(aio.check(store, deep=True), 60)).findings == []
        assert await asyncio.wait_for(aio.recovery_log(store, "r"), 60) == []
        assert (await asyncio.wait_for(deleting, 60))["runs_deleted"] == 1
        assert not pruning.done()
    assert (await pruning)["snapshots_deleted"] == 3
    assert (await aio.stats(store))["snapshots"] == 2
    await aio.delete_runs(store, run_id="r")
    with pytest.raises(cairn.NotFoundError):
        await aio.delete_runs(store, run_id="r")


async def test_the_loop_ticks_while_a_store_is_looked_after(store, service):
    await asyncio.gather(*(save(service, f"run-{number % 50}", {"n": number}) for number in range(500)))
    for looked_after in (aio.check(store, deep=True), aio.stats(store), aio.prune(store, keep_last=1)):
        task = asyncio.create_task(looked_after)
        ticks = 0
        while not task.done():
            await asyncio.sleep(0)
            ticks += 1
        await task
        assert ticks >= 2, "one to begin the call, and at least one before it ended"


@contextlib.contextmanager
def locked():
    with contextlib.closing(sqlite3.connect("states.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def begun(task):
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_a_call_that_waits_behind_others_of_its_run_ends_at_its_own_deadline(store):
    async with aio.StatePersistenceService(store, timeout_ms=600_000) as service:
        await save(service, "r", {"n": 0})
        with locked():
            first = await begun(asyncio.create_task(save(service, "r", {"n": 1})))
            with pytest.raises(cairn.UnavailableError, match='an earlier call of "r"'):
                await asyncio.wait_for(save(service, "r", {"n": 2}, timeout=0.05), 60)
            assert not first.done()
        await first
        assert (await service.load_agent_state("r")).state == {"n": 1}, "the late one was not made"


async def test_a_load_whose_task_is_cancelled_before_it_began_is_not_made(folder):
    opened = _cairn.open("sqlite:states.db", read_only=False, create=True, file_mode=0o600)
    counting = _cairn.FaultyStore(opened)
    with cairn.Store(counting, "sqlite:states.db") as store:
        async with aio.StatePersistenceService(store, timeout_ms=600_000) as service:
            await save(service, "r", {"n": 0})
            loads = counting.calls("get")
            with locked():
                first = await begun(asyncio.create_task(save(service, "r", {"n": 1})))
                load = await begun(asyncio.create_task(service.load_agent_state("r")))
                load.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await load
                assert not first.done()
            await first
            await save(service, "r", {"n": 2})
            assert counting.calls("get") == loads


async def test_a_service_that_is_dropped_while_it_saves_keeps_nobody_waiting(store):
    async with aio.StatePersistenceService(store) as other:
        await save(other, "r", {"n": 0})
    with locked():
        service = aio.OptimizedStatePersistence(store, timeout_ms=600_000)
        task = await begun(asyncio.create_task(save(service, "r", {"n": 1})))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del service, task
        gc.collect()  # it would wait for ten minutes here
    while store.stats()["snapshots"] < 2:
        await asyncio.sleep(0.01)
