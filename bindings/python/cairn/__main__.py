"""The command-line program: ``python3 -m cairn``, and ``cairn`` where the package is installed."""

from __future__ import annotations

import os
import pathlib
import sys


def main() -> None:
    """Replaces this process with the program."""
    program = pathlib.Path(__file__).with_name("bin") / "cairn"
    os.execv(program, ["cairn", *sys.argv[1:]])


if __name__ == "__main__":
    main()
