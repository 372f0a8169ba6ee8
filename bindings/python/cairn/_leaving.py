"""Leaving by Ctrl-C while the store is locked: a save that was interrupted is not waited for."""

from __future__ import annotations

import asyncio
from typing import Optional, Sequence

from cairn import _cairn
from cairn._logging import logger

_ENDING = (KeyboardInterrupt, SystemExit, asyncio.CancelledError)


def are_held_up(services: Sequence[_cairn.Service]) -> bool:
    """Whether saves are under way that nobody was told of, and none that anybody relies on."""
    under_way = [service.saves_under_way() for service in services]
    return any(untold for untold, _ in under_way) and not any(is_relied_on for _, is_relied_on in under_way)


def is_leaving(kind: Optional[type[BaseException]], services: Sequence[_cairn.Service], what: object) -> bool:
    """Whether the program, or the task, is being ended (``kind``) while such saves alone are under way: whoever waits for
    them any longer waits for what nobody was promised."""
    if kind is None or not issubclass(kind, _ENDING) or not are_held_up(services):
        return False
    logger.warning("%r is closed once a save that was interrupted has ended: it may still be applied", what)
    return True
