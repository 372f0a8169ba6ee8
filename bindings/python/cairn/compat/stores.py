"""Finds the store that a caller's ``db_session`` stands for."""

from __future__ import annotations

import contextlib
import inspect
import os
import pathlib
import threading
import urllib.parse
import weakref
from typing import Any, Optional, cast

import cairn
from cairn import Store
from cairn._logging import logger
from cairn.compat.environment import get_env

_BESIDE = ".cairn"

_lock = threading.Lock()
_stores: dict[str, Store] = {}
_stores_of_engines: weakref.WeakKeyDictionary[Any, Store] = weakref.WeakKeyDictionary()


def _forget() -> None:
    """Forgets the stores in a forked child: it opens its own."""
    global _lock, _stores_of_engines
    _lock = threading.Lock()
    _stores.clear()
    _stores_of_engines = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_forget)


async def store_of(db_session: Any) -> Store:
    """Returns the store for a ``db_session``: None (the store of CAIRN_STORE), a store URL, a `cairn.Store`, a
    SQLAlchemy session, or a factory of sessions.

    Stores are opened once a process and stay open. A session only says which database is meant. Saves are committed by
    themselves, whatever becomes of the session's transaction.
    """
    known = _known_store_of(db_session)
    if known is not None:
        return known
    if _is_factory(db_session):
        async with contextlib.AsyncExitStack() as stack:
            made = await _made_by(db_session, stack)
            known = None if made is None else _known_store_of(made)
            return known or _store_of_engine(_engine_of(made))
    return _store_of_engine(_engine_of(db_session))


def check(db_session: Any) -> None:
    """Raises the error of a save if there can be no store for ``db_session``. It opens no store that is possible, and
    does not call a factory."""
    if isinstance(db_session, Store) or (_is_factory(db_session) and _bind_of_factory(db_session) is None):
        return
    if db_session is None:
        db_session = get_env().load_config().store_url
    if isinstance(db_session, str):
        if db_session.partition(":")[0] not in ("sqlite", "memory"):
            _opened(db_session)
        return
    engine = _engine_of(db_session)
    if engine.url.get_backend_name() != "sqlite":
        _store_of_engine(engine)


async def store_of_execution(db_session: Any) -> Optional[Store]:
    """Does the same as `store_of`, but returns None if the store is out of reach now, because it may be back later. Raises
    the errors that `check` cannot find, because a factory must first be called for a session."""
    try:
        return await store_of(db_session)
    except Exception as error:
        was_checked = not _is_factory(db_session) or _bind_of_factory(db_session) is not None
        if isinstance(error, (TypeError, ValueError)) and not was_checked:
            raise
        logger.debug("the store of a run cannot be opened yet: %s", error)
        return None


def is_snapshot_id(value: Any) -> bool:
    """Returns True for a snapshot id or None, and False for a ``db_session`` that was given in its place."""
    return value is None or (isinstance(value, str) and not value.startswith(("sqlite:", "memory:", "postgresql:")))


def _known_store_of(db_session: Any) -> Optional[Store]:
    if isinstance(db_session, Store):
        return db_session
    if db_session is None:
        return _opened(get_env().load_config().store_url)
    return _opened(db_session) if isinstance(db_session, str) else None


def _is_factory(db_session: Any) -> bool:
    return callable(db_session) and not hasattr(db_session, "get_bind")


def _bind_of_factory(factory: Any) -> Any:
    """SQLAlchemy's own factories know the engine that their sessions will have."""
    settings = getattr(factory, "kw", None)
    return settings.get("bind") if isinstance(settings, dict) else None


async def _made_by(factory: Any, stack: contextlib.AsyncExitStack) -> Any:
    """Returns a session that the factory makes, awaits, yields or lends. Closing the stack gives it back."""
    bind = _bind_of_factory(factory)
    if bind is not None:
        return bind
    made = factory()
    if inspect.isawaitable(made):
        made = await made
    if inspect.isasyncgen(made):
        made = cast(Any, contextlib.asynccontextmanager)(lambda generator: generator)(made)
    elif inspect.isgenerator(made):
        made = cast(Any, contextlib.contextmanager)(lambda generator: generator)(made)
    if hasattr(made, "__aenter__"):
        return await stack.enter_async_context(made)
    return stack.enter_context(made) if hasattr(made, "__enter__") else made


def _opened(url: str) -> Store:
    scheme, colon, path = url.partition(":")
    if scheme == "sqlite" and path:
        url = scheme + colon + os.path.abspath(path)
    with _lock:
        store = _stores.get(url)
        if store is None:
            store = _stores[url] = cairn.open(url)
        return store


def _engine_of(session: Any) -> Any:
    """Returns the engine of a session, of a connection or of a SQLAlchemy factory, or the given engine itself."""
    session = getattr(session, "sync_session", session)
    bind = session.get_bind() if hasattr(session, "get_bind") else _bind_of_factory(session) or session
    engine = getattr(getattr(bind, "sync_engine", bind), "engine", None)
    if not hasattr(engine, "url"):
        raise TypeError(
            f"db_session cannot be a {type(session).__name__}: give None, a store URL, a cairn.Store, a SQLAlchemy "
            "session or a factory of sessions"
        )
    return engine


def _store_of_engine(engine: Any) -> Store:
    store = _stores_of_engines.get(engine)
    if store is None:
        url = _url_of(engine)
        store = _stores_of_engines.setdefault(engine, cairn.open("memory:") if url is None else _opened(url))
    return store


def _url_of(engine: Any) -> Optional[str]:
    """Returns the store's URL. None: a store in memory, for this engine alone."""
    backend = engine.url.get_backend_name()
    if backend == "postgresql":
        url: str = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return url
    if backend != "sqlite":
        raise ValueError(
            f'db_session is of a "{backend}" engine: there are stores for sqlite and postgresql; give a store URL'
        )
    path = _sqlite_path(engine.url)
    return None if path is None else f"sqlite:{_file_for_store(path)}"


def _sqlite_path(url: Any) -> Optional[pathlib.Path]:
    """Returns the path of the database. None: it is in memory."""
    database: str = url.database or ""
    if database.startswith("file:"):
        database = urllib.parse.unquote(urllib.parse.urlsplit(database).path)
    if database in ("", ":memory:") or url.query.get("mode") == "memory":
        return None
    return pathlib.Path(database)


def _file_for_store(path: pathlib.Path) -> pathlib.Path:
    """Returns the session's own file if it is a store or still empty; otherwise a file beside it.

    A file with other tables is left alone. SQLite has one writer per file, so a session that has written but not yet
    committed would keep every save waiting, and a save would keep the session waiting.
    """
    beside = path.with_name(path.name + _BESIDE)
    if beside.exists():
        return beside
    if not path.exists() or path.stat().st_size == 0:
        return path
    try:
        cairn.open(f"sqlite:{path}", read_only=True, create=False).close()
    except cairn.IncompatibleError:
        return beside
    return path
