# Goal: every kind of `db_session` leads to the right store, and its transaction is never touched.
# Method: real SQLAlchemy engines (aiosqlite, sqlite3, and only the address of asyncpg) in a folder of their own.

import contextlib
import os
import pathlib

import pytest

sqlalchemy = pytest.importorskip("sqlalchemy")
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import cairn
from netra_backend.app.agents.supervisor.pipeline_executor import PipelineExecutor
from netra_backend.app.services.state_persistence_optimized import optimized_state_persistence as service

SAVE = {"run_id": "r", "thread_id": "t", "user_id": "u"}


async def states_in(path):
    with cairn.open(f"sqlite:{path}", read_only=True, create=False) as store:
        return cairn.StatePersistenceService(store).load_agent_state("r").state


async def test_none_is_the_configured_store(monkeypatch):
    await service.save_agent_state(**SAVE, state={"n": 1})
    assert await states_in("cairn.db") == {"n": 1}
    monkeypatch.setenv("CAIRN_STORE", "sqlite:elsewhere.db")
    await service.save_agent_state(**SAVE, state={"n": 2}, db_session=None)
    assert await states_in("elsewhere.db") == {"n": 2}


async def test_a_url_or_a_store_is_that_store():
    await service.save_agent_state(**SAVE, state={"n": 1}, db_session="sqlite:a.db")
    assert await states_in("a.db") == {"n": 1}
    with cairn.open("sqlite:b.db") as store:
        assert (await service.save_agent_state(**SAVE, state={"n": 2}, db_session=store))[0]
    assert await states_in("b.db") == {"n": 2}


async def test_an_async_sessions_empty_database_becomes_the_store():
    engine = create_async_engine("sqlite+aiosqlite:///app.db")
    async with AsyncSession(engine) as session:
        success, _ = await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
        assert success and not session.in_transaction()
    assert await states_in("app.db") == {"n": 1}
    assert not pathlib.Path("app.db.cairn").exists()


async def test_a_sync_sessions_database_is_found_too():
    engine = create_engine(f"sqlite:///{os.getcwd()}/app.db")
    with sessionmaker(engine)() as session:
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
    with engine.connect() as connection, Session(connection) as session:
        await service.save_agent_state(**SAVE, state={"n": 2}, db_session=session)
    assert await states_in("app.db") == {"n": 2}


async def test_a_database_with_tables_of_its_own_is_left_alone_and_its_transaction_too():
    engine = create_async_engine("sqlite+aiosqlite:///app.db")
    async with engine.begin() as connection:
        await connection.execute(text("create table notes (note text)"))
    async with AsyncSession(engine) as session:
        await session.execute(text("insert into notes values ('not committed')"))
        success, _ = await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
        assert success, "an open write transaction of the session keeps no save waiting"
        assert session.in_transaction()
        await session.rollback()
        assert (await session.execute(text("select count(*) from notes"))).scalar() == 0
        assert await service.load_agent_state("r", db_session=session) == {"n": 1}
    assert await states_in("app.db.cairn") == {"n": 1}


async def test_a_sessions_store_is_looked_for_once(monkeypatch):
    engine = create_async_engine("sqlite+aiosqlite:///app.db")
    async with AsyncSession(engine) as session:
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
        monkeypatch.setattr(cairn, "open", None)
        await service.save_agent_state(**SAVE, state={"n": 2}, db_session=session)
    async with AsyncSession(engine) as session:
        assert await service.load_agent_state("r", db_session=session) == {"n": 2}


async def test_once_there_the_file_beside_it_stays_the_store():
    engine = create_engine("sqlite:///app.db")
    with Session(engine) as session:
        session.execute(text("create table notes (note text)"))
        session.commit()
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
    engine.dispose()
    os.truncate("app.db", 0)
    with Session(engine) as session:
        assert await service.load_agent_state("r", db_session=session) == {"n": 1}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
async def test_a_database_in_memory_has_a_store_in_memory_of_its_own(url):
    first, second = create_engine(url), create_engine(url)
    with Session(first) as session:
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
        assert await service.load_agent_state("r", db_session=session) == {"n": 1}
    with Session(first) as session:
        assert await service.load_agent_state("r", db_session=session) == {"n": 1}
    with Session(second) as session:
        assert await service.load_agent_state("r", db_session=session) is None
    assert os.listdir(".") == []


async def test_a_postgresql_session_leads_to_its_server():
    engine = create_async_engine("postgresql+asyncpg://me:secret@db.example:5433/states")
    async with AsyncSession(engine) as session:
        with pytest.raises(ValueError, match="postgresql") as error:
            await service.save_agent_state(**SAVE, state={"n": 1}, db_session=session)
        assert "secret" not in str(error.value), "an error holds no password"


class Engine:
    async def execute_pipeline(self, pipeline, context, state):
        return []


async def test_a_factory_is_asked_before_anything_runs():
    class NeverRun:
        async def execute_pipeline(self, pipeline, context, state):
            raise AssertionError("the engine ran, and nothing could have been saved")

    sessions = sessionmaker(create_async_engine("postgresql+asyncpg://me:secret@db.example/states"), class_=AsyncSession)
    executor = PipelineExecutor(NeverRun(), None, lambda: sessions())
    with pytest.raises(ValueError, match="postgresql"):
        await executor.execute_pipeline([], {}, "r", {"thread_id": "t", "user_id": "u"})
    executor = PipelineExecutor(Engine(), None, lambda: "sqlite:named.db")
    await executor.execute_pipeline([], {"n": 1}, "r", {"thread_id": "t", "user_id": "u"})
    assert await executor.state_persistence.load_agent_state("r", db_session="sqlite:named.db") == {"n": 1}


def test_an_executor_is_not_made_for_something_without_a_store(monkeypatch):
    engine = create_async_engine("postgresql+asyncpg://me:secret@db.example:5433/states")
    sessions = sessionmaker(engine, class_=AsyncSession)
    for session in (sessions(), sessions, "postgresql://me:secret@db.example/states"):
        with pytest.raises(ValueError, match="postgresql") as error:
            PipelineExecutor(Engine(), None, session)
        assert "secret" not in str(error.value)
    with pytest.raises(TypeError, match="db_session cannot be a int"):
        PipelineExecutor(Engine(), None, 3)
    monkeypatch.setenv("CAIRN_STORE", "mongodb:x")
    with pytest.raises(ValueError, match="mongodb"):
        PipelineExecutor(Engine(), None, None)


def test_making_an_executor_opens_nothing():
    engine = create_engine("sqlite:///app.db")
    for session in (None, "sqlite:states.db", Session(engine), sessionmaker(engine), lambda: None):
        PipelineExecutor(Engine(), None, session)
    assert os.listdir(".") == []


async def made_of(engine):
    return AsyncSession(engine)


async def yielded_of(engine):
    async with AsyncSession(engine) as session:
        yield session


def yielded_sync(engine):
    with Session(engine.sync_engine) as session:
        yield session


@pytest.mark.parametrize(
    "factory",
    [
        lambda engine: sessionmaker(engine, class_=AsyncSession),
        lambda engine: sessionmaker(engine.sync_engine),
        lambda engine: scoped_session(sessionmaker(engine.sync_engine)),
        lambda engine: lambda: AsyncSession(engine),
        lambda engine: lambda: made_of(engine),
        lambda engine: lambda: yielded_of(engine),
        lambda engine: lambda: yielded_sync(engine),
        lambda engine: contextlib.asynccontextmanager(lambda: yielded_of(engine)),
        lambda engine: contextlib.contextmanager(lambda: yielded_sync(engine)),
        lambda engine: engine,
        lambda engine: engine.sync_engine,
    ],
    ids="async_maker maker scoped function coroutine asyncgen generator asynccontext context async_engine engine".split(),
)
async def test_a_factory_of_sessions_leads_to_their_store(factory):
    sessions = factory(create_async_engine("sqlite+aiosqlite:///app.db"))
    assert (await service.save_agent_state(**SAVE, state={"n": 1}, db_session=sessions))[0]
    assert await service.load_agent_state("r", sessions) == {"n": 1}
    assert await states_in("app.db") == {"n": 1}


async def test_other_databases_and_other_things_are_refused():
    class Mysql:
        class engine:
            url = sqlalchemy.engine.make_url("mysql://x/y")

    class FakeSession:
        def get_bind(self):
            return Mysql

    with pytest.raises(ValueError, match='"mysql" engine: there are stores for sqlite and postgresql'):
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=FakeSession())
    with pytest.raises(TypeError, match="db_session cannot be a int: give None, a store URL"):
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session=3)
    with pytest.raises(ValueError, match="mongodb"):
        await service.save_agent_state(**SAVE, state={"n": 1}, db_session="mongodb://x")
