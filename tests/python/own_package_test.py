# Goal: a program with its own package netra_backend keeps every module of it, and has the documented ones beside them.
# Method: programs of their own with such a package before and behind ours in sys.path. The package is a regular one or a
# namespace package, and has some documented modules of its own or none.

import os
import pathlib
import subprocess
import sys

import pytest

import cairn

OURS = pathlib.Path(cairn.__file__).parents[1]

PROGRAM = """
import netra_backend, importlib, sys
import netra_backend.app.models
from netra_backend.app.agents.planner import Planner
from netra_backend.app.services import user_service
from netra_backend.app.services.state_persistence_optimized import optimized_state_persistence
from netra_backend.app.agents.supervisor.pipeline_executor import PipelineExecutor
import netra_backend.app.core.isolated_environment as environment
for module in (netra_backend, netra_backend.app, netra_backend.app.services, netra_backend.app.agents):
    print(module.__name__, getattr(module, "MINE", "-"))
print(Planner, user_service.MINE, netra_backend.app.models.MINE)
print(PipelineExecutor.__module__, environment.get_env.__module__, type(optimized_state_persistence).__module__)
assert importlib.import_module("netra_backend.app.services.user_service") is user_service
try:
    import netra_backend.app.nothing
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.fixture
def own(folder):
    def make(is_regular, *documented):
        root = folder / "own"
        for name in ("", "app", "app/agents", "app/services"):
            (root / "netra_backend" / name).mkdir(parents=True)
            if is_regular:
                (root / "netra_backend" / name / "__init__.py").write_text(f"MINE = {name!r}\n")
        (root / "netra_backend/app/models.py").write_text("MINE = 'models'\n")
        (root / "netra_backend/app/agents/planner.py").write_text("class Planner: pass\n")
        (root / "netra_backend/app/services/user_service.py").write_text("MINE = 'users'\n")
        for name in documented:
            path = root / "netra_backend/app" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                "class PipelineExecutor: pass\ndef get_env(): pass\noptimized_state_persistence = PipelineExecutor()\n"
            )
        return root

    return make


def run(program, *path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment, cwd="/"
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


CASES = pytest.mark.parametrize("is_regular", [True, False], ids=["regular", "namespace"])
ORDERS = pytest.mark.parametrize("is_first", [True, False], ids=["own_first", "ours_first"])


def in_order(own, is_first):
    # Python does not look for ours behind a regular package of the same name, until the program has imported cairn.
    return ("import cairn\n" + PROGRAM, own, OURS) if is_first else (PROGRAM, OURS, own)


@CASES
@ORDERS
def test_every_module_of_the_programs_own_is_there_and_ours_beside_it(own, is_regular, is_first):
    lines = run(*in_order(own(is_regular), is_first))
    mine = ["", "app", "app/services", "app/agents"] if is_regular else ["-"] * 4
    names = ["netra_backend", "netra_backend.app", "netra_backend.app.services", "netra_backend.app.agents"]
    assert lines[:4] == [f"{name} {value}" for name, value in zip(names, mine)]
    assert lines[4] == "<class 'netra_backend.app.agents.planner.Planner'> users models"
    assert lines[5] == "cairn.compat.executor cairn.compat.environment cairn.compat.services"
    assert lines[6] == "No module named 'netra_backend.app.nothing'"


@CASES
@ORDERS
def test_of_a_documented_module_the_first_in_the_path_is_taken(own, is_regular, is_first):
    documented = (
        "agents/supervisor/pipeline_executor",
        "core/isolated_environment",
        "services/state_persistence_optimized",
    )
    lines = run(*in_order(own(is_regular, *documented), is_first))
    theirs = [f"netra_backend.app.{name.replace('/', '.')}" for name in documented]
    ours = ["cairn.compat.executor", "cairn.compat.environment", "cairn.compat.services"]
    assert lines[5] == " ".join(theirs if is_first else ours)


def test_names_that_only_the_programs_module_has_are_there_too(own):
    root = own(True, "services/state_persistence_optimized")
    path = root / "netra_backend/app/schemas"
    path.mkdir()
    (path / "__init__.py").write_text("")
    (path / "agent_state.py").write_text(
        "from netra_backend.app.schemas import helper\n"
        "class CheckpointType: pass\n"
        "class StateSnapshot: kind = helper.kind()\n"
    )
    (path / "helper.py").write_text(
        "def kind():\n    from netra_backend.app.schemas.agent_state import CheckpointType\n    return CheckpointType\n"
    )
    program = (
        "from netra_backend.app.schemas.agent_state import CheckpointType, StateSnapshot\n"
        "import netra_backend.app.schemas.agent_state as module\n"
        "print(CheckpointType.__module__, StateSnapshot.__module__, StateSnapshot.kind is CheckpointType)\n"
        "assert module.StateSnapshot is StateSnapshot\n"
        "print(getattr(module, 'Nothing', 'nothing'), hasattr(module, '__path__'))\n"
        "try:\n    from netra_backend.app.schemas.agent_state import Nothing\n"
        "except ImportError as error:\n    print(str(error).split(' (')[0])\n"
    )
    assert run(program, OURS, root) == [
        "cairn.compat.schemas netra_backend.app.schemas.agent_state True",
        "nothing False",
        "cannot import name 'Nothing' from 'netra_backend.app.schemas.agent_state'",
    ]


def test_a_namespace_package_of_the_programs_needs_no_import_of_cairn(own):
    assert run(PROGRAM, own(False), OURS)[5].startswith("cairn.compat.executor")


def test_it_may_be_imported_before_cairn_is(own):
    program = "import netra_backend.app.models, cairn\n" + PROGRAM
    assert run(program, own(True), OURS)[5].startswith("cairn.compat.executor")


def test_without_a_package_of_its_own_a_program_has_ours(folder):
    program = (
        "import netra_backend\nimport netra_backend.app.schemas.agent_state as module\n"
        "print(netra_backend.__doc__.split('.')[0], module.CheckpointType.__module__)\n"
    )
    assert run(program, OURS) == ["The documented system's import paths cairn.compat.schemas"]
    assert run("import cairn\n" + program, folder, OURS) == run(program, OURS)


def test_an_error_in_the_programs_own_package_is_its_own(own):
    root = own(True)
    (root / "netra_backend/__init__.py").write_text("raise RuntimeError('of its own')\n")
    program = "try:\n    import netra_backend.app\nexcept RuntimeError as error:\n    print(error)\n"
    assert run(program, OURS, root) == ["of its own"]
    assert run("import cairn\n" + program, root, OURS) == ["of its own"]
