# Goal: the synchronous and the asyncio services do what the engine promises, and report errors as Python does.
# Method: every test runs against both. An asyncio service is used through a loop of its own.

import asyncio
import datetime
import logging
import os

import pytest

import cairn
from cairn import _cairn, aio
from cairn.compat.environment import get_env
from cairn.errors import CairnError

RUN = {"run_id": "r", "thread_id": "t", "user_id": "u"}


class Both:
    """One interface for both kinds of services. It runs the calls of an asyncio service to their end."""

    def __init__(self, module, kind, store, **settings):
        self.service = getattr(module, kind)(store, **settings)
        self.is_async = module is aio

    def __getattr__(self, name):
        method = getattr(self.service, name)

        def call(*arguments, **fields):
            result = method(*arguments, **fields)
            return self.runner.run(result) if asyncio.iscoroutine(result) else result

        return call

    def __enter__(self):
        self.runner = asyncio.Runner()
        return self

    def __exit__(self, *_):
        self.close()
        self.runner.close()

    def save(self, state, **fields):
        return self.save_agent_state(**{**RUN, "state": state, **fields})

    def load(self, *arguments, **fields):
        return self.load_agent_state("r", *arguments, **fields)


@pytest.fixture(params=[cairn, aio], ids=["sync", "asyncio"])
def module(request):
    return request.param


@pytest.fixture
def optimized(module, store):
    with Both(module, "OptimizedStatePersistence", store) as service:
        yield service


@pytest.fixture
def standard(module, store):
    with Both(module, "StatePersistenceService", store) as service:
        yield service


def test_a_save_says_what_it_did(optimized, standard):
    first = optimized.save({"n": 1})
    assert (first.outcome, first.durability, first.version) == ("persisted", "sync", 1)
    assert first.outcome is cairn.Outcome.PERSISTED and first.frame_bytes > 0
    again = optimized.save({"n": 1})
    assert (again.outcome, again.snapshot_id, again.frame_bytes) == ("deduplicated", first.snapshot_id, 0)
    assert standard.save({"n": 1}).outcome == "persisted"


def test_a_loaded_state_is_the_saved_one(optimized):
    state = {"big": 12345678901234567890, "float": 1.0, "text": "\ud800 \0 ü", "none": None, "list": [True, {}]}
    receipt = optimized.save(state, agent_phase="triage", metadata={"a": 1}, execution_context={"host": "x"})
    loaded = optimized.load()
    assert loaded.state == state and list(loaded.state) == list(state)
    assert loaded.text == (
        '{"big":12345678901234567890,"float":1.0,"text":"\\ud800 \\u0000 ü","none":null,"list":[true,{}]}'
    )
    info = loaded.info
    assert (info.snapshot_id, info.version, info.agent_phase) == (receipt.snapshot_id, 1, "triage")
    assert (info.metadata, info.execution_context) == ({"a": 1}, {"host": "x"})
    assert abs(info.created_at - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(hours=1)


def test_a_request_may_be_given_whole(optimized):
    request = cairn.StatePersistenceRequest(**RUN, state_data={"n": 1})
    assert optimized.save_agent_state(request).outcome == "persisted"
    assert optimized.save_agent_state(**RUN, state_data={"n": 1}).outcome == "deduplicated"
    with pytest.raises(TypeError, match="request must be a StatePersistenceRequest, not dict"):
        optimized.save_agent_state({"run_id": "r"})
    with pytest.raises(TypeError, match="run_id"):
        optimized.save_agent_state(thread_id="t", user_id="u", state={})


def test_owners_are_checked_where_given(optimized):
    optimized.save({"n": 1})
    assert optimized.load(thread_id="t", user_id="u").state == {"n": 1}
    with pytest.raises(cairn.NotFoundError):
        optimized.load(user_id="somebody else")
    with pytest.raises(ValueError, match="another thread or user|belongs"):
        optimized.save({"n": 2}, user_id="somebody else")


def test_a_skip_drops_nothing_that_was_given(optimized):
    first = optimized.save({"n": 1}, agent_phase="triage")
    assert optimized.save({"n": 1}, agent_phase="triage").snapshot_id == first.snapshot_id
    assert optimized.save({"n": 1}, agent_phase="reporting").outcome == "persisted"
    assert optimized.load().info.agent_phase == "reporting"
    assert optimized.save({"n": 1}, snapshot_id="mine").snapshot_id == "mine"
    assert optimized.load("mine").state == {"n": 1}
    assert optimized.save({"n": 1}, checkpoint_type="pipeline_complete").outcome == "persisted"
    assert optimized.save({"n": 1}, execution_context={"tool": "x"}).outcome == "persisted"


def test_the_order_of_keys_is_part_of_a_state_unless_it_is_to_be_ignored(optimized):
    optimized.save({"search": 1, "mail": 2})
    assert optimized.save({"mail": 2, "search": 1}).outcome == "persisted"
    assert list(optimized.load().state) == ["mail", "search"]
    optimized.configure(ignore_key_order=True)
    assert optimized.save({"search": 1, "mail": 2}).outcome == "deduplicated"
    assert list(optimized.load().state) == ["mail", "search"]


def test_an_option_of_the_wrong_kind_is_named(optimized):
    with pytest.raises(TypeError, match="cache_max_size must be an int, not str"):
        optimized.configure(cache_max_size="x")
    with pytest.raises(TypeError, match="cache_max_bytes must be an int, not bool"):
        optimized.configure(cache_max_bytes=True)
    with pytest.raises(TypeError, match="enable_deduplication must be a bool, not int"):
        optimized.configure(enable_deduplication=1)
    with pytest.raises(ValueError, match="cache_max_size is -1: give 0 or more"):
        optimized.configure(cache_max_size=-1)


def test_history_forks_and_labels(optimized, store):
    ids = [optimized.save({"n": n}, metadata={"n": n, "even": n % 2 == 0}).snapshot_id for n in range(250)]
    assert [info.snapshot_id for info in store.history("r", oldest_first=True)] == ids
    assert [info.version for info in store.history("r", limit=3)] == [250, 249, 248]
    assert [info.version for info in store.history("r", limit=100)] == list(range(250, 150, -1))
    assert [info.version for info in store.history("r", limit=0)] == []
    assert len(list(store.history("r", metadata={"even": True}))) == 125
    assert list(store.history("nobody")) == []

    async def versions(**query):
        return [info.version async for info in store.history("r", **query)]

    assert asyncio.run(versions()) == list(range(250, 0, -1))
    assert asyncio.run(versions(limit=101)) == list(range(250, 149, -1))
    fork = optimized.save({"n": 3, "fork": True}, parent_snapshot_id=ids[2])
    assert optimized.load().info.parent_version == 3 and fork.version == 251
    assert optimized.load(ids[100]).state == {"n": 100}


def test_two_writers_notice_each_other(optimized):
    optimized.save({"n": 1})
    assert optimized.save({"n": 2}, expected_version=1, on_conflict="fail").version == 2
    with pytest.raises(cairn.ConflictError) as error:
        optimized.save({"n": 3}, expected_version=1, on_conflict=cairn.OnConflict.FAIL)
    assert (error.value.code, error.value.retry) == ("conflict", "no")
    with pytest.raises(ValueError, match='on_conflict is "perhaps": give rebase or fail'):
        optimized.save({"n": 3}, on_conflict="perhaps")


def test_recovery_rolls_back(optimized, store):
    first = optimized.save({"n": 1}).snapshot_id
    optimized.save({"n": 2})
    result = optimized.recover_agent_state(
        run_id="r", recovery_type="rollback", target_snapshot_id=first, failure_reason="a bad step"
    )
    assert (result.state, result.source_snapshot_id, result.version) == ({"n": 1}, first, 3)
    assert optimized.load().info.checkpoint_type == "recovery"
    record = store.recovery_log("r")[0]
    assert (record.recovery_type, record.failure_reason, record.result) == ("rollback", "a bad step", "recovered")
    with pytest.raises(cairn.NotFoundError):
        optimized.recover_agent_state(cairn.StateRecoveryRequest(run_id="nobody"))


async def listed(pages):
    return [item async for item in pages]


def test_threads_and_runs_are_listed(optimized, store):
    for number in range(120):
        optimized.save({"n": number}, run_id=f"run-{number}")
    assert len(list(store.runs())) == 120
    assert [run.run_id for run in store.runs(limit=2)] == ["run-119", "run-118"]
    assert asyncio.run(listed(store.runs(user_id="u"))) == list(store.runs())
    assert asyncio.run(listed(store.threads())) == list(store.threads(user_id="u"))
    assert [thread.runs for thread in store.threads()] == [120]
    context = optimized.get_thread_context("t")
    assert (context.newest_run_id, context.snapshots, len(context.runs)) == ("run-119", 120, 120)
    assert store.stats()["snapshots"] == 120
    assert store.check(deep=True).findings == []


def test_pruning_leaves_what_loads(optimized, store):
    for number in range(10):
        optimized.save({"n": number})
    assert store.prune(keep_last=3, dry_run=True)["snapshots_deleted"] == 7
    assert store.prune(keep_last=3)["snapshots_deleted"] == 7
    assert [info.version for info in store.history("r")] == [10, 9, 8]
    assert store.prune(age_max=datetime.timedelta(days=1))["snapshots_deleted"] == 0
    assert store.delete_runs(run_id="r")["runs_deleted"] == 1
    with pytest.raises(cairn.NotFoundError):
        optimized.load()


def test_async_durability_is_queued_and_flushed(module, store):
    with Both(module, "OptimizedStatePersistence", store, durability="exit") as service:
        receipt = service.save({"n": 1})
        assert (receipt.outcome, receipt.durability) == ("queued", "exit")
        assert list(store.history("r")) == []
        service.flush("r")
        assert [info.snapshot_id for info in store.history("r")] == [receipt.snapshot_id]
        assert service.save({"n": 2}, durability="sync").outcome == "persisted"
        assert service.save({"n": 3}).outcome == "queued"
        service.flush_all(timeout=10)
        with pytest.raises(ValueError, match='durability is "never"'):
            service.save({"n": 4}, durability="never")
    assert len(list(store.history("r"))) == 3


def test_settings_and_statistics(optimized):
    optimized.save({"n": 1})
    optimized.configure(enable_deduplication=False)
    assert optimized.save({"n": 1}).outcome == "persisted"
    stats = optimized.get_cache_stats()
    assert (stats["cache_size"], stats["deduplication_enabled"], stats["cache_entries"]) == (1, False, ["r"])
    optimized.clear_cache()
    assert optimized.get_cache_stats()["cache_size"] == 0


def test_an_unknown_setting_is_named(module, store):
    with pytest.raises(TypeError, match="unknown setting 'cache_size': there are cache_max_bytes, cache_max_size"):
        module.OptimizedStatePersistence(store, cache_size=3)
    with pytest.raises(TypeError, match="cache_max_size cannot be 'lots'"):
        module.OptimizedStatePersistence(store, cache_max_size="lots")
    with pytest.raises(TypeError, match="log_level can be set by its variable only"):
        module.OptimizedStatePersistence(store, log_level="debug")
    with pytest.raises(TypeError, match="store must be a cairn.Store, not str: open one"):
        module.OptimizedStatePersistence("sqlite:x.db")


def test_the_flag_chooses_the_service(module, store, monkeypatch):
    assert type(module.make_persistence(store)) is module.StatePersistenceService
    monkeypatch.setenv("ENABLE_OPTIMIZED_PERSISTENCE", "true")
    assert type(module.make_persistence(store)) is module.OptimizedStatePersistence


def test_a_closed_service_or_store_says_so(module, folder):
    store = cairn.open("sqlite:other.db")
    service = Both(module, "OptimizedStatePersistence", store).__enter__()
    service.save({"n": 1}, durability="exit")
    store.close()
    with pytest.raises(cairn.ClosedError):
        service.save({"n": 2})
    store.close()
    service.__exit__()
    with cairn.open("sqlite:other.db") as again:
        assert [info.version for info in again.history("r")] == [1], "closing the store commits what was queued"


def test_limits_are_those_of_the_service(module, store):
    with Both(module, "OptimizedStatePersistence", store, state_bytes_max=100, state_depth_max=3) as service:
        with pytest.raises(cairn.LimitExceededError, match="more than 100 bytes.*CAIRN_STATE_BYTES_MAX"):
            service.save({"long": "x" * 100})
        with pytest.raises(cairn.LimitExceededError, match="depth_max=3"):
            service.save({"a": {"b": {"c": {}}}})


def test_every_code_has_its_class():
    for code, name, retry, advice in _cairn.error_rows():
        error = cairn.errors.exception_of(code, "what happened", "why")
        assert type(error) is getattr(cairn, name) and isinstance(error, CairnError)
        assert (error.code, error.retry, error.advice, error.detail) == (code, retry, advice, "why")
        assert str(error) == f"what happened [why]. {advice}"


@pytest.mark.parametrize(
    "url, error, words",
    [
        ("mysql:x", cairn.InvalidArgumentError, "mysql"),
        ("sqlite:", cairn.InvalidArgumentError, '"sqlite:"'),
        ("sqlite:no/such/folder/x.db", cairn.NotFoundError, "no/such/folder"),
    ],
)
def test_a_url_that_cannot_be_opened_is_named(url, error, words):
    with pytest.raises(error, match=words):
        cairn.open(url)


def test_a_path_is_no_url(folder):
    with pytest.raises(TypeError, match="url must be a str, as sqlite:PATH, not PosixPath"):
        cairn.open(folder / "states.db")


def test_a_file_that_is_no_store_is_left_alone(folder):
    (folder / "x.db").write_text("not a database at all, and quite long enough to be looked at" * 20)
    with pytest.raises(cairn.IncompatibleError):
        cairn.open("sqlite:x.db")
    with pytest.raises(cairn.NotFoundError):
        cairn.open("sqlite:none.db", create=False)


def test_the_origin_of_settings_is_told(folder, monkeypatch):
    (folder / ".env").write_text("CAIRN_STORE=sqlite:dot.db\n")
    monkeypatch.setenv("OPTIMIZED_PERSISTENCE_CACHE_SIZE", "7")
    entries = {entry.variable: entry for entry in cairn.config_entries()}
    assert (entries["CAIRN_STORE"].value, entries["CAIRN_STORE"].origin) == ("sqlite:dot.db", ".env")
    assert entries["OPTIMIZED_PERSISTENCE_CACHE_SIZE"].origin == "environment"
    assert cairn.load_config().cache_max_size == 7
    monkeypatch.setenv("OPTIMIZED_PERSISTENCE_CACHE_SIZE", "lots")
    with pytest.raises(cairn.ConfigError, match='OPTIMIZED_PERSISTENCE_CACHE_SIZE.*"lots"'):
        cairn.load_config()


def test_variables_of_others_may_be_anything(folder, monkeypatch):
    monkeypatch.setitem(os.environ, "SOMEBODY_ELSES", os.fsdecode(b"\xff"))
    (folder / ".env").write_bytes(b"ANOTHERS=\xe9\nOPTIMIZED_PERSISTENCE_CACHE_SIZE=7\n")
    assert cairn.load_config().cache_max_size == 7
    assert get_env().get("ANOTHERS") == os.fsdecode(b"\xe9")
    assert get_env().load_config().cache_max_size == 7


def test_a_variable_that_is_no_text_is_named_and_no_other_is_shown(monkeypatch):
    monkeypatch.setenv("PASSWORD", "secret")
    monkeypatch.setitem(os.environ, "CAIRN_DURABILITY", os.fsdecode(b"\xff"))
    with pytest.raises(cairn.ConfigError, match="CAIRN_DURABILITY") as error:
        cairn.load_config()
    assert "secret" not in str(error.value)
    with pytest.raises(TypeError, match="CAIRN_DURABILITY must be a str, not int"):
        cairn.load_config({"CAIRN_DURABILITY": 3})


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda service: service.load_agent_state(None), "run_id must be a str, not NoneType"),
        (lambda service: service.load_agent_state("r", 5), "snapshot_id must be a str, not int"),
        (lambda service: service.load_agent_state("\ud800"), "run_id has a lone surrogate"),
        (lambda service: service.get_thread_context(5), "thread_id must be a str, not int"),
        (lambda service: service.flush(5), "run_id must be a str, not int"),
        (lambda service: service.flush("r", timeout="1"), "timeout must be a number of seconds, not str"),
        (lambda service: service.service.store.history(5), "run_id must be a str, not int"),
    ],
    ids=["load", "snapshot", "surrogate", "thread", "flush", "timeout", "history"],
)
def test_a_wrong_argument_is_named(optimized, call, error):
    with pytest.raises((TypeError, ValueError), match=error):
        call(optimized)


NAIVE = datetime.datetime(2030, 1, 1, 12)


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda service: service.save({}, expires_at=NAIVE), "expires_at is 2030-01-01T12:00:00, which has no time zone"),
        (lambda service: service.service.store.history("r", created_from=NAIVE), "created_from is .* has no time zone"),
        (lambda service: service.service.store.history("r", created_until=NAIVE), "created_until is .* has no time zone"),
        (lambda service: service.service.store.history("r", created_from=NAIVE.date()), "must be a datetime, not date"),
        (lambda service: service.service.store.history("r", created_until=1.5), "must be a datetime, not float"),
    ],
    ids=["expires_at", "created_from", "created_until", "date", "number"],
)
def test_a_time_without_a_zone_is_refused_wherever_one_is_taken(optimized, call, error):
    with pytest.raises((TypeError, ValueError), match=error):
        call(optimized)


def test_a_time_of_any_zone_is_that_time(optimized, store):
    west = datetime.timezone(datetime.timedelta(hours=-8))
    optimized.save({"n": 1}, expires_at=NAIVE.replace(tzinfo=west))
    (info,) = store.history("r", created_until=NAIVE.replace(tzinfo=west))
    assert info.expires_at == datetime.datetime(2030, 1, 1, 20, tzinfo=datetime.timezone.utc)
    assert list(store.history("r", created_from=NAIVE.replace(tzinfo=west))) == []


def test_records_of_the_engine_reach_logging(store, caplog):
    caplog.set_level(logging.DEBUG, "cairn")
    service = cairn.OptimizedStatePersistence(store)
    service.save_agent_state(**RUN, state={"secret": "never told"})
    service.recover_agent_state(run_id="r", recovery_type="restart", failure_reason="for a test")
    cairn._logging.settle()
    record = next(record for record in caplog.records if getattr(record, "event", "") == "recovery")
    assert record.name == "cairn" and record.fields["run_id"] == "r"
    assert "never told" not in caplog.text
