"""Leaving by Ctrl-C while the store is locked: an interrupted save is not waited for."""

from __future__ import annotations

import asyncio
from typing import Optional, Sequence

from cairn import _cairn
from cairn._logging import logger

_ENDING = (KeyboardInterrupt, SystemExit, asyncio.CancelledError)


def are_held_up(services: Sequence[_cairn.Service]) -> bool:
    """Returns True if saves are under way whose result nobody has received, and no acknowledged save may be queued."""
    under_way = [service.saves_under_way() for service in services]
    return any(untold for untold, _ in under_way) and not any(is_relied_on for _, is_relied_on in under_way)


def is_leaving(kind: Optional[type[BaseException]], services: Sequence[_cairn.Service], what: object) -> bool:
    """Returns True if the program or the task is being ended (``kind``) while only such saves are under way. Nobody was
    promised anything about them, so it is not worth waiting any longer."""
    if kind is None or not issubclass(kind, _ENDING) or not are_held_up(services):
        return False
    logger.warning("%r is closed once a save that was interrupted has ended: it may still be applied", what)
    return True
