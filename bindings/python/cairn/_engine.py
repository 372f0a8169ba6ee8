"""Finds the engine, or says why this Python has none. Every Python 3 must understand this file."""

import pathlib
import sys

try:
    import cairn._cairn
except ImportError:
    _found = sorted(path.name for path in pathlib.Path(__file__).parent.glob("_cairn.*.so"))
    _mine = "%s-%d%d-" % (sys.implementation.name, sys.version_info[0], sys.version_info[1])
    if not _found or any(_mine in name for name in _found):
        raise
    raise ImportError(
        "cairn was built for another Python (%s), and this is %s %d.%d: build it with this one "
        "(cmake -D Python_EXECUTABLE=%s), or run that one"
        % (
            ", ".join(_name.split(".")[1].replace("cpython-3", "CPython 3.", 1).split("-")[0] for _name in _found),
            sys.implementation.name.replace("cpython", "CPython"),
            sys.version_info[0],
            sys.version_info[1],
            sys.executable,
        )
    ) from None
