"""Fixtures that the tests of the Python package share."""

import os
import pathlib

import pytest

import cairn


@pytest.fixture
def true_memory():
    """Skips a test that measures the memory of a process where that cannot be measured."""
    if "libclang_rt" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("a sanitizer keeps what was freed, so memory says nothing")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Gives each test an empty folder and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("CAIRN_", "OPTIMIZED_PERSISTENCE_", "ENABLE_OPTIMIZED")):
            monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture(scope="session")
def program():
    """Returns the built command-line program, which scripts/run_tests.sh names."""
    path = os.environ.get("CAIRN") or pathlib.Path(__file__).parents[2] / "build/release/cairn"
    return str(path)


@pytest.fixture
def store(folder):
    with cairn.open("sqlite:states.db") as store:
        yield store
