"""Settings: variables of the environment and of the file `.env`."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional, TypeAlias

from cairn import _cairn, _logging

Config: TypeAlias = _cairn.Config

_told: set[str] = set()  # settings are read often, but each warning is logged once


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting. ``origin`` is "default", ".env" or "environment"."""

    variable: str
    value: str
    origin: str
    accepts: str
    description: str


def _load(environment: Optional[Mapping[str, str]], dotenv: str) -> _cairn.LoadedConfig:
    loaded = _cairn.load_config(dict(os.environ if environment is None else environment), dotenv)
    for warning in loaded.warnings:
        if warning not in _told:
            _told.add(warning)
            _logging.logger.warning("%s", warning)
    return loaded


def load_config(environment: Optional[Mapping[str, str]] = None, dotenv: str = ".env") -> Config:
    """Reads every variable: from ``environment`` (``os.environ``), else from the file ``dotenv``, else the default.

    Raises ConfigError naming the variable, its value and what is accepted.
    """
    return _load(environment, dotenv).config


def config_entries(environment: Optional[Mapping[str, str]] = None, dotenv: str = ".env") -> list[ConfigEntry]:
    """Returns each setting with its origin, in the documentation's order."""
    return [ConfigEntry(*entry) for entry in _load(environment, dotenv).entries]


def check_optimizations(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Checks the arguments of ``configure``; None: no change. Raises TypeError and ValueError naming the option."""
    for name, value in settings.items():
        wanted = int if name.startswith("cache_max_") else bool
        if value is None or (isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))):
            continue
        raise TypeError(f"{name} must be {'an int' if wanted is int else 'a bool'}, not {type(value).__name__}")
    for name in ("cache_max_size", "cache_max_bytes"):
        value = settings.get(name)
        if value is not None and not 0 <= value < 2**63:
            raise ValueError(f"{name} is {value}: give 0 or more, and less than 2**63")
    return settings


def changed(config: Optional[Config], settings: Mapping[str, Any]) -> Config:
    """Returns the configuration (None: that of the environment) with some settings replaced."""
    result = load_config() if config is None else copy.copy(config)
    for name, value in settings.items():
        if not isinstance(getattr(Config, name, None), property):
            known = sorted(key for key, kind in vars(Config).items() if isinstance(kind, property))
            raise TypeError(f"unknown setting {name!r}: there are {', '.join(known)}")
        try:
            setattr(result, name, value)
        except AttributeError:
            raise TypeError(f"{name} can be set by its variable only") from None
        except TypeError:
            raise TypeError(f"{name} cannot be {value!r}") from None
    return result
