"""Counts the lines of each language: an agent in Python, with the standard library alone."""

import json
import os
import sys
import time

state = json.load(sys.stdin)
settings = json.loads(os.environ.get("CAIRN_WITH") or "{}")
step, attempt = os.environ.get("CAIRN_STEP", "count_lines"), os.environ.get("CAIRN_ATTEMPT", "1")

journal = os.environ.get("REPO_ANALYST_JOURNAL")
if journal:
    with open(journal, "a", encoding="utf-8") as file:
        file.write(f"{step} attempt {attempt}\n")

lines_by_language = {}
for number, file in enumerate(state["files"]):
    with open(os.path.join(state["folder"], file["path"]), "rb") as text:
        lines = sum(1 for _ in text)
    language = file["language"]
    lines_by_language[language] = lines_by_language.get(language, 0) + lines
    if number % 100 == 0:
        print(f"{number} of {len(state['files'])} files", file=sys.stderr)
time.sleep(float(settings.get("pause", 0)))

json.dump({"languages": dict(sorted(lines_by_language.items()))}, sys.stdout)
