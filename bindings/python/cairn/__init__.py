"""Batched state persistence for AI agents."""

from cairn import _cairn

__version__: str = _cairn.__version__
