"""One place for all variables: those that were set here, else the process's variables, else the file `.env`."""

from __future__ import annotations

import os
from typing import Optional, overload

from cairn import _cairn
from cairn.config import Config, load_config


class IsolatedEnvironment:
    """Variables that are set here are seen here only: the process's own variables stay as they are."""

    def __init__(self, dotenv: str = ".env") -> None:
        self._dotenv = dotenv
        self._set: dict[str, str] = {}  # needs no lock, since each use is one step; a fork could leave a lock locked

    @overload
    def get(self, name: str) -> Optional[str]: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: Optional[str] = None) -> Optional[str]:
        return self.get_all().get(name, default)

    def set(self, name: str, value: str, source: Optional[str] = None) -> None:
        """Sets a variable. ``source`` says who sets it: the documented system accepts it, but it is not used here."""
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"name and value must be str, not {type(name).__name__} and {type(value).__name__}")
        self._set[name] = value

    def get_all(self) -> dict[str, str]:
        variables = {**os.environ, **self._set}
        is_read = _cairn.reads_dotenv_in(variables.get("ENVIRONMENT", ""))
        return {**_cairn.read_dotenv(self._dotenv), **variables} if is_read else variables

    def load_config(self) -> Config:
        """The engine's settings. Raises ConfigError naming the variable, its value and what is accepted."""
        return load_config({**os.environ, **self._set}, self._dotenv)


_environment = IsolatedEnvironment()


def get_env() -> IsolatedEnvironment:
    """Returns the environment of this process."""
    return _environment
