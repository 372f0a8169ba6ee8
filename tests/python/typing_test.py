# Goal: a type checker checks a program against the package's real behaviour.
# Method: mypy --strict over the built package and over a program. The module's stub is compared with the module.

import ast
import pathlib
import re
import subprocess
import sys

import cairn
from cairn import _cairn

PACKAGE = pathlib.Path(cairn.__file__).parent

PROGRAM = """
import asyncio
from dataclasses import dataclass
import cairn
from cairn import aio

@dataclass
class Mine:
    n: int

async def main() -> int:
    async with cairn.open("memory:") as store, aio.OptimizedStatePersistence(store) as persistence:
        receipt: cairn.Receipt = await persistence.save_agent_state(run_id="r", thread_id="t", user_id="u", state={})
        mine: Mine = (await persistence.load_agent_state("r", state_type=Mine)).state
        plain: dict[str, object] = (await persistence.load_agent_state("r", receipt.snapshot_id)).state
        async for info in store.history("r", limit=3):
            version: int = info.version
        async for event in store.events():
            assert event.receipt is not None
            print(event.receipt.outcome is cairn.Outcome.QUEUED)
        return mine.n + len(plain)

asyncio.run(main())
"""


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir=/dev/null", *arguments]
    environment = {"MYPYPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, env=environment).stdout


def test_the_package_is_typed_strictly():
    assert mypy("-p", "cairn", "-p", "netra_backend") == ""


def test_a_program_is_checked_against_it(folder):
    (folder / "program.py").write_text(PROGRAM)
    assert mypy("program.py") == ""
    (folder / "wrong.py").write_text(PROGRAM.replace("mine: Mine", "mine: str").replace("version: int", "version: str"))
    assert len(mypy("wrong.py").splitlines()) >= 2


def members_of(node):
    return {
        child.name: child for child in node.body if isinstance(child, (ast.ClassDef, ast.FunctionDef))
    } | {child.target.id: child for child in node.body if isinstance(child, ast.AnnAssign)}


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_the_stub_says_what_the_module_has():
    stub = members_of(ast.parse((PACKAGE / "_cairn.pyi").read_text()))
    assert public(stub) == public(vars(_cairn))
    for name, node in stub.items():
        if isinstance(node, ast.ClassDef):
            assert public(members_of(node)) == public(vars(getattr(_cairn, name))), name


def test_the_stub_names_the_keywords_that_the_module_takes():
    stub = members_of(ast.parse((PACKAGE / "_cairn.pyi").read_text()))
    for kind in ("Store", "Service"):
        for name, node in members_of(stub[kind]).items():
            signature = getattr(getattr(_cairn, kind), name).__doc__
            taken = set(re.findall(r"(\w+): ", signature)) - {"self"}
            arguments = {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]} - {"self"}
            assert arguments == taken, f"{kind}.{name}"
