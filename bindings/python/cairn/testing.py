"""For tests of programs that save: `pytest_plugins = ["cairn.testing"]` gives the fixtures `cairn_store` and
`faulty_store`."""

from __future__ import annotations

from typing import Iterator

import pytest

import cairn
from cairn import Store, _cairn


class FaultyStore(Store):
    """A store in memory whose calls fail on demand."""

    def __init__(self) -> None:
        self._faulty = _cairn.FaultyStore(_cairn.open("memory:", read_only=False, create=True, file_mode=0o600))
        super().__init__(self._faulty, "memory:")

    def inject(
        self,
        call: str = "commit",
        nth: int = 1,
        error: str = "unavailable",
        *,
        for_good: bool = False,
        after_effect: bool = False,
    ) -> None:
        """Makes the ``nth`` call from now on fail. ``call`` is "commit", "head", "get", "history" or "lease".

        ``error`` is an error's code ("storage_full"). ``for_good``: all later calls fail too, until `heal`.
        ``after_effect``: the call takes effect and then reports the error.
        """
        self._faulty.inject(call=call, nth=nth, error=error, for_good=for_good, after_effect=after_effect)

    def heal(self) -> None:
        """Forgets all faults that are still pending."""
        self._faulty.heal()

    def calls(self, call: str) -> int:
        """Returns the number of calls so far, failed ones included."""
        return self._faulty.calls(call)


@pytest.fixture
def cairn_store() -> Iterator[Store]:
    """A store in memory, for this test alone."""
    with cairn.open("memory:") as store:
        yield store


@pytest.fixture
def faulty_store() -> Iterator[FaultyStore]:
    """A store in memory that fails when the test asks for it."""
    with FaultyStore() as store:
        yield store
        store.heal()
