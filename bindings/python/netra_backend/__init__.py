"""The documented system's import paths. Everything is `cairn`'s."""

from cairn.compat.beside import make_way

make_way(__name__)
