# Goal: endless saving and loading takes no more memory.
# Method: 100,000 saves and loads in a process of its own. Its memory after a fifth of them is compared with that at the
# end. A sanitizer keeps freed memory, so there 2,000 of them only show that no freed memory is used.

import json
import os
import pathlib
import subprocess
import sys

import pytest

import cairn

PROGRAM = """
import asyncio, gc, json
import cairn
from cairn import aio

OWNER = {"thread_id": "t", "user_id": "u"}

def memory():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

def state(n):
    return {"step": n, "text": "some text " * 20, "list": [n, 1.5, None, {"a": "é" * 20}], "set": {n}}

def threads(store):
    service = cairn.OptimizedStatePersistence(store, durability="async", cache_max_size=10)
    for n in range(COUNT):
        service.save_agent_state(run_id=f"run-{n % 50}", **OWNER, state=state(n))
        if n % 5 == 0:
            service.load_agent_state(f"run-{n % 50}")
        if n % 100 == 0:
            try:
                service.save_agent_state(run_id="bad", **OWNER, state={"x": [object()]})
            except TypeError:
                pass
        if n == COUNT // 5:
            yield memory()
    yield memory()

async def tasks(store):
    figures = []
    async with aio.OptimizedStatePersistence(store, durability="async", cache_max_size=10) as service:
        for n in range(0, COUNT, 50):
            await asyncio.gather(*(
                service.save_agent_state(run_id=f"run-{i}", **OWNER, state=state(n)) for i in range(50)
            ))
            await service.load_agent_state("run-1")
            if n == COUNT // 5:
                figures.append(memory())
    return [*figures, memory()]

with cairn.open("sqlite:leak.db") as store:
    print(json.dumps(list(threads(store)) if KIND == "threads" else asyncio.run(tasks(store))))
"""


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_hundred_thousand_saves_take_no_more_memory(kind, folder):
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(cairn.__file__).parents[1])}
    is_sanitized = "LD_PRELOAD" in os.environ
    settings = f"KIND = {kind!r}\nCOUNT = {2_000 if is_sanitized else 100_000}\n"
    result = subprocess.run([sys.executable, "-c", settings + PROGRAM], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    early, late = json.loads(result.stdout)
    if is_sanitized:
        pytest.skip("a sanitizer keeps what was freed")
    assert late - early < 8_000, f"{early} kB after a fifth, {late} kB at the end"
