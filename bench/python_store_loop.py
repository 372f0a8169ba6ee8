#!/usr/bin/python3
"""Measures the lateness of an asyncio loop during administrative calls of a store: that of a ticker that is due every
millisecond, while `stats`, `check`, `prune` and `recovery_log` are each called again and again.

    PYTHONPATH=build/python bench/python_store_loop.py [--runs 200] [--steps 50] [--seconds 2] [--json]

Limit: the 99th percentile of the ticker's lateness stays below 10 ms.
"""

import argparse
import asyncio
import json
import tempfile
import time

import cairn
from cairn import aio
from python_loop import LIMIT_MS, figures_of, tick


async def fill(store, runs, steps):
    async with aio.OptimizedStatePersistence(store) as persistence:
        for step in range(steps):
            text = ["a line of an agent's history"] * (step + 1)
            states = (
                persistence.save_agent_state(
                    run_id=f"run-{run}", thread_id="thread", user_id="user", state={"step": step, "history": text}
                )
                for run in range(runs)
            )
            await asyncio.gather(*states)
        await persistence.recover_agent_state(run_id="run-0", recovery_type="restart")


async def measure_one(call, seconds):
    lateness = []
    ticker = asyncio.create_task(tick(lateness))
    until = time.perf_counter() + seconds
    calls = 0
    while calls == 0 or time.perf_counter() < until:
        await call()
        calls += 1
    ticker.cancel()
    return {"calls": calls, **figures_of(lateness)}


async def measure(options):
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with cairn.open(f"sqlite:{folder}/loop.db") as store:
            await fill(store, options.runs, options.steps)
            calls = {
                "nothing": lambda: asyncio.sleep(0.01),
                "stats": lambda: aio.stats(store),
                "check": lambda: aio.check(store),
                "check deep": lambda: aio.check(store, deep=True),
                "prune (dry run)": lambda: aio.prune(store, keep_last=1, dry_run=True),
                "recovery_log": lambda: aio.recovery_log(store, "run-0"),
            }
            figures = {name: await measure_one(call, options.seconds) for name, call in calls.items()}
            figures["prune"] = await measure_one(lambda: aio.prune(store, keep_last=1), 0)
            return figures


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--steps", type=int, default=50)
    arguments.add_argument("--seconds", type=float, default=2)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    figures = asyncio.run(measure(options))
    if options.json:
        print(json.dumps({"limit_p99_ms": LIMIT_MS, "calls": figures}))
        return
    print(f"{'call':18}{'calls':>8}{'ticks':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'limit p99':>11}")
    for name, of in figures.items():
        late = "".join(f"{of[each]:>9}" for each in ("late_p50_ms", "late_p99_ms", "late_max_ms"))
        print(f"{name:18}{of['calls']:>8}{of['ticks']:>8}{late}{LIMIT_MS:>11}")


if __name__ == "__main__":
    main()
