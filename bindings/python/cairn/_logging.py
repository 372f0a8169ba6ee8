"""Forwards the engine's log to `logging`, under the name "cairn"."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import Optional

from cairn import _cairn

logger = logging.getLogger("cairn")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_thread: Optional[threading.Thread] = None
_lock = threading.Lock()


def start() -> None:
    """Starts a thread that fetches the engine's log records, once a process: the engine's threads never wait for the
    GIL."""
    global _thread
    with _lock:
        if _thread is None:
            queue = _cairn.LogQueue.of_this_process()
            _thread = threading.Thread(target=_forward, args=(queue,), name="cairn-log", daemon=True)
            _thread.start()


def _forward(queue: _cairn.LogQueue) -> None:
    while (records := queue.take()) is not None:
        for level, event, message, fields in records:
            details = "".join(f" {name}={value}" for name, value in fields.items())
            logger.log(_LEVELS[level], "%s%s", message, details, extra={"event": event, "fields": fields})


def settle() -> None:
    """Waits until all records that the engine has logged so far have reached `logging`."""
    start()
    _cairn.LogQueue.of_this_process().settle()


def _stop() -> None:
    if _thread is not None:
        _cairn.LogQueue.of_this_process().close()
        _thread.join()


def _forget() -> None:
    global _thread, _lock
    _thread = None
    _lock = threading.Lock()


atexit.register(_stop)
os.register_at_fork(after_in_child=_forget)
