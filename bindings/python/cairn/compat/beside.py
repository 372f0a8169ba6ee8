"""Puts the documented modules beside a program's own package of the same name.

A program may have its own package `netra_backend`. Its other modules must be found as if ours did not exist. So the
package is always the program's own, if there is one, and each documented module is searched for separately. If both
have the module, the one whose folder comes first in `sys.path` is used, as usual in Python. If only one has it, that
one is used. If ours is used, the names that it lacks are looked up in the program's module.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import pathlib
import sys
import threading
from types import ModuleType
from typing import Any, Optional, Sequence

_PACKAGE = "netra_backend"
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _documented() -> dict[str, pathlib.Path]:
    files = (_ROOT / _PACKAGE).rglob("*.py")
    return {".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


class _Finder:
    """Comes before Python's own finders, and asks them for the program's modules."""

    def __init__(self) -> None:
        self._ours = _documented()

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        file = self._ours.get(name)
        if file is None:
            return None
        theirs = self._spec_of_theirs(name, path, target)
        is_package = file.name == "__init__.py"
        if theirs is not None and (is_package or not _is_before(_ROOT, _root_of_package())):
            return theirs
        if theirs is not None:
            return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file), theirs))
        return importlib.util.spec_from_file_location(
            name, file, submodule_search_locations=[str(file.parent)] if is_package else None
        )

    def _spec_of_theirs(
        self, name: str, path: Optional[Sequence[str]], target: Optional[ModuleType]
    ) -> Optional[importlib.machinery.ModuleSpec]:
        places = [place for place in (sys.path if path is None else path) if not _is_ours(place)]
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            is_by_path = path is not None or finder is importlib.machinery.PathFinder
            spec = finder.find_spec(name, places if is_by_path else None, target)
            if spec is not None:
                return spec
        return None


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of ours if the program has one of the same name."""

    def __init__(self, name: str, path: str, theirs: importlib.machinery.ModuleSpec) -> None:
        super().__init__(name, path)
        self._spec = theirs
        self._lock = threading.RLock()  # reentrant: the module may be needed while it is loaded, like any module
        self._module: Optional[ModuleType] = None

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__dict__["__getattr__"] = self._look_up

    def _look_up(self, name: str) -> Any:
        missing = AttributeError(f"module {self.name!r} has no attribute {name!r}")
        if name.startswith("__"):  # Python itself asks for these; the program's module may never be needed
            raise missing
        try:
            return vars(self._theirs())[name]
        except KeyError:
            raise missing from None

    def _theirs(self) -> ModuleType:
        with self._lock:
            if self._module is None and self._spec.loader is not None:
                self._module = importlib.util.module_from_spec(self._spec)
                try:
                    self._spec.loader.exec_module(self._module)
                except BaseException:
                    self._module = None
                    raise
            return self._module or ModuleType(self.name)


def _real(place: str) -> str:
    return os.path.realpath(place or os.getcwd())


def _is_ours(place: str) -> bool:
    """Returns True for our root, as a place to look for the package, and for everything inside our package."""
    real, package = _real(place), str(_ROOT / _PACKAGE)
    return real == str(_ROOT) or real == package or real.startswith(package + os.sep)


def _root_of_package() -> Optional[pathlib.Path]:
    """Returns the folder of the program's package, if that was imported."""
    places = getattr(sys.modules.get(_PACKAGE), "__path__", [])
    return next((pathlib.Path(_real(place)).parent for place in places if not _is_ours(place)), None)


def _is_before(one: pathlib.Path, other: Optional[pathlib.Path]) -> bool:
    order = [_real(place) for place in sys.path]
    return str(one) in order and (str(other) not in order or order.index(str(one)) < order.index(str(other)))


_finder = _Finder()


def stand_beside() -> None:
    """Makes documented modules found beside the program's own from now on. `import cairn` calls it."""
    if not any(type(finder).__qualname__ == _Finder.__qualname__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _finder)


def make_way(name: str) -> None:
    """Replaces our package, which has just been found first, by the program's own, if there is one."""
    stand_beside()
    spec = _finder.find_spec(name)
    if spec is None or (spec.origin is not None and _is_ours(spec.origin)):
        return
    own = sys.modules[name] = importlib.util.module_from_spec(spec)
    if spec.loader is not None:  # else it is a folder without an __init__.py
        spec.loader.exec_module(own)
