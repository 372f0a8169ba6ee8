"""The environment as one place to ask: what was set here, else the process's variables, else the file `.env`."""

from __future__ import annotations

import os
from typing import Optional, overload

from cairn import _cairn
from cairn.config import Config, load_config


class IsolatedEnvironment:
    """What is set here is seen here only: the process's own variables stay as they are."""

    def __init__(self, dotenv: str = ".env") -> None:
        self._dotenv = dotenv
        self._set: dict[str, str] = {}  # without a lock, which a fork could leave locked: each use is one step

    @overload
    def get(self, name: str) -> Optional[str]: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: Optional[str] = None) -> Optional[str]:
        return self.get_all().get(name, default)

    def set(self, name: str, value: str, source: Optional[str] = None) -> None:
        """``source`` says who sets it; it is accepted as the documented system does, and not used."""
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
    """The process's."""
    return _environment
