"""Leaving by Ctrl-C while the store is locked: a save that was interrupted is not waited for."""

from __future__ import annotations

from typing import Optional, Sequence

from cairn import _cairn
from cairn._logging import logger


def are_held_up(services: Sequence[_cairn.Service]) -> bool:
    """Whether saves are under way that were interrupted, and none that anybody relies on."""
    counts = [service.saves_under_way() for service in services]
    return any(interrupted for interrupted, _ in counts) and all(queued <= left for left, queued in counts)


def is_leaving(kind: Optional[type[BaseException]], services: Sequence[_cairn.Service], what: object) -> bool:
    """Whether the program is being ended (``kind``) while interrupted saves alone are under way: whoever waits for them
    any longer waits for what nobody was promised."""
    if kind is None or not issubclass(kind, (KeyboardInterrupt, SystemExit)) or not are_held_up(services):
        return False
    logger.warning("%r is closed once a save that was interrupted has ended: it may still be applied", what)
    return True
