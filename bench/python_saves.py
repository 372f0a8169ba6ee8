#!/usr/bin/python3
"""Measures the cost of the Python package on real states, each figure and its yardstick in turn, in the same run.

    PYTHONPATH=build/python bench/python_saves.py TRAJECTORIES [--json]

TRAJECTORIES is the folder with the recorded agent runs and their expand.py. Of each file, states spread over its runs are
taken, some 40 MB at the most.

- text: a dict becomes the normal text that is saved, against json.dumps (limit: 3 times as fast)
- skip: an unchanged dict of some 240 kB is saved again, against json.dumps of it (limit: less time)
- save: a changed one is saved `sync`, against INSERT + COMMIT of its json.dumps in SQLite (limit: 2 times its time)
"""

import argparse
import json
import pathlib
import sqlite3
import statistics
import sys
import tempfile
import time

import cairn
from cairn import _cairn

ROUNDS = 5
BYTES_PER_FILE = 40_000_000
STATE_BYTES = 240_000


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def in_turn(rounds, *works):
    """The medians of several works' times, each round one after the other."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times)]


def states_of(path, expand):
    """States as a program has them: dicts of their own, not parts of one another."""
    size = 0
    for run in expand.iter_runs([str(path)]):
        for number, record in enumerate(expand.iter_states(run)):
            if number % 5:
                continue
            text = json.dumps(record["state"])
            size += len(text)
            yield json.loads(text)
        if size > BYTES_PER_FILE:
            return


def each(work, states):
    for state in states:
        work(state)


def measure_texts(files):
    totals = [0.0, 0.0]
    for name, states in files.items():
        times = in_turn(ROUNDS, lambda: each(json.dumps, states), lambda: each(_cairn.dumps, states))
        totals = [total + own for total, own in zip(totals, times)]
        yield name, times
    yield "all", totals


def save(persistence, state):
    return persistence.save_agent_state(run_id="run", thread_id="thread", user_id="user", state=state)


def measure_skip(folder, state):
    with cairn.open(f"sqlite:{folder}/skip.db") as store:
        persistence = cairn.OptimizedStatePersistence(store)
        save(persistence, state)
        times = in_turn(200, lambda: json.dumps(state), lambda: save(persistence, state))
        assert save(persistence, state).outcome == cairn.Outcome.DEDUPLICATED
    return times


def measure_save(folder, states):
    """Each round saves the next state of the run: what an agent does."""
    database = sqlite3.connect(f"{folder}/plain.db", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE states (id INTEGER PRIMARY KEY, run TEXT, state TEXT)")

    def insert(state):
        database.execute("BEGIN")
        database.execute("INSERT INTO states (run, state) VALUES ('run', ?)", (json.dumps(state),))
        database.execute("COMMIT")

    with cairn.open(f"sqlite:{folder}/save.db") as store:
        persistence = cairn.OptimizedStatePersistence(store)
        rounds = []
        for state in states:
            rounds.append((seconds(lambda: insert(state)), seconds(lambda: save(persistence, state))))
    return [statistics.median(column) for column in zip(*rounds)]


def row(what, yardstick, ours, ratio, limit):
    return {"what": what, "yardstick_ms": yardstick * 1e3, "ours_ms": ours * 1e3, "ratio": ratio, "limit": limit}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("trajectories", type=pathlib.Path)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    sys.path.insert(0, str(options.trajectories))
    import expand

    files = {path.stem: list(states_of(path, expand)) for path in sorted(options.trajectories.glob("*.jsonl"))}
    rows = []
    for name, (dumps, ours) in measure_texts(files):
        rows.append(row(f"text {name}", dumps, ours, dumps / ours, ">= 3"))
    every = [state for states in files.values() for state in states]
    typical = min(every, key=lambda state: abs(len(json.dumps(state)) - STATE_BYTES))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        dumps, ours = measure_skip(folder, typical)
        rows.append(row(f"skip {len(json.dumps(typical)) // 1000} kB", dumps, ours, ours / dumps, "< 1"))
        for name in ("pi_coding_agent", "swe_agent", "tot_crosswords_noprune"):
            insert, ours = measure_save(folder, files[name][:300])
            rows.append(row(f"save {name}", insert, ours, ours / insert, "<= 2"))
            for file in pathlib.Path(folder).iterdir():
                file.unlink()
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'':32}{'yardstick ms':>14}{'cairn ms':>12}{'ratio':>8}  limit")
    for each_row in rows:
        print("{what:32}{yardstick_ms:14.3f}{ours_ms:12.3f}{ratio:8.2f}  {limit}".format(**each_row))


if __name__ == "__main__":
    main()
