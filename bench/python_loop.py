#!/usr/bin/python3
"""Measures the lateness of an asyncio loop while 500 of its tasks save: that of a ticker that is due every millisecond.

    PYTHONPATH=build/python bench/python_loop.py [--tasks 500] [--seconds 5] [--kilobytes 4] [--json]

Limit: the 99th percentile of the ticker's lateness stays below 10 ms. Each task saves `sync`, one state after the other, and
waits for each; the loop does nothing else.
"""

import argparse
import asyncio
import json
import math
import tempfile
import time

import cairn
from cairn.aio import OptimizedStatePersistence

LIMIT_MS = 10


async def tick(lateness):
    """A long wait counts for every tick that it has held up, each as late as that one is."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        late = time.perf_counter() - due
        lateness.extend(late - 0.001 * held_up for held_up in range(max(1, math.ceil(late / 0.001))))


def figures_of(lateness):
    lateness.sort()
    return {
        "ticks": len(lateness),
        **{f"late_p{p}_ms": round(lateness[len(lateness) * p // 100] * 1e3, 2) for p in (50, 99)},
        "late_max_ms": round(lateness[-1] * 1e3, 2),
    }


async def agent(persistence, run_id, text, until):
    saves = 0
    while time.perf_counter() < until:
        saves += 1
        await persistence.save_agent_state(
            run_id=run_id, thread_id="thread", user_id="user", state={"step": saves, "history": text}
        )
    return saves


async def measure(options):
    lateness = []
    text = ["a line of an agent's history " * 3] * (options.kilobytes * 1000 // 90)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        async with cairn.open(f"sqlite:{folder}/loop.db") as store, OptimizedStatePersistence(store) as persistence:
            ticker = asyncio.create_task(tick(lateness))
            begin = time.perf_counter()
            agents = [agent(persistence, f"run-{i}", text, begin + options.seconds) for i in range(options.tasks)]
            saves = sum(await asyncio.gather(*agents))
            duration = time.perf_counter() - begin
            ticker.cancel()
            stats = persistence.get_cache_stats()
    return {
        "tasks": options.tasks,
        "saves_per_s": round(saves / duration),
        "saves_per_batch": round(stats["batched"] / max(stats["batches"], 1), 1),
        **figures_of(lateness),
        "limit_p99_ms": LIMIT_MS,
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tasks", type=int, default=500)
    arguments.add_argument("--seconds", type=float, default=5)
    arguments.add_argument("--kilobytes", type=int, default=4)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    figures = asyncio.run(measure(options))
    print(json.dumps(figures) if options.json else "\n".join(f"{name:18}{value:>12}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
