"""The documented system's import paths. Everything comes from `cairn`."""

from cairn.compat.beside import make_way

make_way(__name__)
