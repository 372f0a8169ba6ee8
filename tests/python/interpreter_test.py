# Goal: importing the package where it cannot work fails at once and says why.
# Method: programs of their own: in both kinds of subinterpreters, beside an engine built for another Python, and with
# the package imported anew.

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import cairn

PACKAGES = pathlib.Path(cairn.__file__).parents[1]


def run(program, packages=PACKAGES, executable=sys.executable):
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)


IN_A_SUBINTERPRETER = """
import sys
import _xxsubinterpreters as interpreters
{before}
which = interpreters.create(isolated={isolated})
try:
    interpreters.run_string(which, "import {module}")
except Exception as error:
    print(error)
interpreters.destroy(which)
print("ended")
"""


@pytest.mark.parametrize("module", ["cairn", "netra_backend.app.services.state_persistence_optimized"])
@pytest.mark.parametrize("before", ["", "import cairn"], ids=["alone", "after_the_main_one"])
@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "legacy"])
def test_a_subinterpreter_is_refused(isolated, before, module):
    pytest.importorskip("_xxsubinterpreters", reason="this Python has no subinterpreters to try")
    result = run(IN_A_SUBINTERPRETER.format(before=before, isolated=isolated, module=module))
    assert result.returncode == 0, result.stderr
    assert "ImportError" in result.stdout and "cairn works in the main interpreter only" in result.stdout
    assert "mod_wsgi" in result.stdout and result.stdout.endswith("ended\n")


def test_the_main_interpreter_works_on_after_a_subinterpreter_was_refused():
    pytest.importorskip("_xxsubinterpreters", reason="this Python has no subinterpreters to try")
    program = IN_A_SUBINTERPRETER.format(before="", isolated=False, module="cairn") + (
        "import cairn\n"
        "with cairn.open('memory:') as store, cairn.OptimizedStatePersistence(store) as service:\n"
        "    print(service.save_agent_state(run_id='r', thread_id='t', user_id='u', state={}).outcome)\n"
    )
    assert run(program).stdout.endswith("ended\npersisted\n")


def test_an_engine_for_another_python_names_both(folder):
    shutil.copytree(PACKAGES / "cairn", folder / "cairn")
    (engine,) = (folder / "cairn").glob("_cairn.*.so")
    tag = f"-{sys.version_info[0]}{sys.version_info[1]}-"
    engine.rename(engine.with_name(engine.name.replace(tag, "-399-")))
    result = run("import cairn", folder)
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    last = result.stderr.splitlines()[-1]
    assert last.startswith(
        f"ImportError: cairn was built for another Python (CPython 3.99), and this is CPython {mine}: "
    )
    assert f"cmake -D Python_EXECUTABLE={sys.executable}" in last


def test_an_engine_that_cannot_be_loaded_tells_its_own_reason(folder):
    shutil.copytree(PACKAGES / "cairn", folder / "cairn")
    (engine,) = (folder / "cairn").glob("_cairn.*.so")
    engine.write_bytes(b"no engine at all")
    assert "_cairn" in run("import cairn", folder).stderr.splitlines()[-1]
    engine.unlink()
    assert "_cairn" in run("import cairn", folder).stderr.splitlines()[-1]


def test_files_that_every_python_reads_first_are_plain():
    import ast

    for name in ("__init__.py", "_engine.py"):
        ast.parse((PACKAGES / "cairn" / name).read_text(), feature_version=(3, 6))


def test_the_package_may_be_imported_anew():
    program = (
        "import sys, cairn\n"
        "first = cairn._cairn\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'cairn']:\n"
        "    del sys.modules[name]\n"
        "import cairn\n"
        "with cairn.open('memory:') as store:\n"
        "    print(cairn._cairn is first, store.stats()['runs'])\n"
    )
    result = run(program)
    assert result.stdout == "True 0\n", result.stderr
