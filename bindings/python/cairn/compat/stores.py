"""From whatever a caller has as its ``db_session`` to the store that is meant."""

from __future__ import annotations

import os
import pathlib
import threading
import urllib.parse
import weakref
from typing import Any, Optional

import cairn
from cairn import Store
from cairn.compat.environment import get_env

_BESIDE = ".cairn"

_lock = threading.Lock()
_stores: dict[str, Store] = {}
_stores_of_engines: weakref.WeakKeyDictionary[Any, Store] = weakref.WeakKeyDictionary()


def _forget() -> None:
    """A forked child opens stores of its own."""
    global _lock, _stores_of_engines
    _lock = threading.Lock()
    _stores.clear()
    _stores_of_engines = weakref.WeakKeyDictionary()


os.register_at_fork(after_in_child=_forget)


def store_of(db_session: Any) -> Store:
    """The store for a ``db_session``: None (that of CAIRN_STORE), a store URL, a `cairn.Store`, or a SQLAlchemy session.

    Stores are opened once a process and stay open. A session only says which database is meant: what is saved is
    committed by itself, whatever becomes of the session's transaction.
    """
    if isinstance(db_session, Store):
        return db_session
    if db_session is None:
        return _opened(get_env().load_config().store_url)
    if isinstance(db_session, str):
        return _opened(db_session)
    engine = _engine_of(db_session)
    store = _stores_of_engines.get(engine)
    if store is None:
        store = _stores_of_engines.setdefault(engine, _store_of_engine(engine))
    return store


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
    session = getattr(session, "sync_session", session)
    bind = session.get_bind() if hasattr(session, "get_bind") else None
    engine = getattr(bind, "engine", None)
    if not hasattr(engine, "url"):
        raise TypeError(
            f"db_session cannot be a {type(session).__name__}: give None, a store URL, a cairn.Store or a SQLAlchemy session"
        )
    return engine


def _store_of_engine(engine: Any) -> Store:
    backend = engine.url.get_backend_name()
    if backend == "postgresql":
        url = engine.url.set(drivername="postgresql")
        return _opened(url.render_as_string(hide_password=False))
    if backend != "sqlite":
        raise ValueError(
            f'db_session is of a "{backend}" engine: there are stores for sqlite and postgresql; give a store URL'
        )
    path = _sqlite_path(engine.url)
    return cairn.open("memory:") if path is None else _opened(f"sqlite:{_file_for_store(path)}")


def _sqlite_path(url: Any) -> Optional[pathlib.Path]:
    """None: the database is in memory."""
    database: str = url.database or ""
    if database.startswith("file:"):
        database = urllib.parse.unquote(urllib.parse.urlsplit(database).path)
    if database in ("", ":memory:") or url.query.get("mode") == "memory":
        return None
    return pathlib.Path(database)


def _file_for_store(path: pathlib.Path) -> pathlib.Path:
    """The session's own file if it is a store or still empty; otherwise one beside it.

    A file with other tables is left alone: SQLite has one writer per file, so a session that has written and not yet
    committed would keep every save waiting, and the save the session.
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
