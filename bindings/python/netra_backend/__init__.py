"""The documented system's import paths. Everything is `cairn`'s."""
