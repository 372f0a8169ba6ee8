"""Makes the recordings beside this file: runs of three kinds of agents, invented, always the same ones.

    python3 examples/recordings/make_recordings.py

A line is a run, as `cairn replay` reads it: the state that it begins with, then of each step what it changed.
"""

import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
WORDS = """order refund invoice carrier parcel address customer delay voucher account window balcony recipe garden river
lantern copper saddle harbour meadow ticket platform timetable luggage receipt warranty battery keyboard monitor cable
update restart backup folder password printer scanner network router signal antenna""".split()
VERBS = "check find open close compare send read write move count sort merge split build test explain".split()


class Agent:
    """The state of an agent, and what each step changes in it."""

    def __init__(self, kind, number, state):
        self.random = random.Random(f"{kind} {number}")
        self.run = {
            "run_id": f"{kind}-{number:02}",
            "thread_id": f"{kind}-thread-{number // 2:02}",
            "user_id": ("ada", "grace", "alan")[number % 3],
            "base_state": state,
            "steps": [],
        }

    def step(self, phase, *operations, critical=False):
        kind = "phase_transition" if critical else "auto"
        self.run["steps"].append({"agent_phase": phase, "checkpoint_type": kind, "patch": list(operations)})

    def sentence(self, words):
        return " ".join(self.random.choice(WORDS) for _ in range(words)).capitalize() + "."

    def paragraph(self, sentences):
        return " ".join(self.sentence(self.random.randint(6, 14)) for _ in range(sentences))


def add(path, value):
    return {"op": "add", "path": path, "value": value}


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def support_chat(number):
    """A tool-calling assistant: messages only grow; now and then it asks again and nothing has changed."""
    agent = Agent("support-chat", number, {"turn": 0, "tokens": 0, "messages": []})
    agent.run["base_state"]["messages"].append({"role": "system", "content": agent.paragraph(12)})
    tokens = 0
    for turn in range(1, agent.random.randint(18, 30)):
        phase = "triage" if turn < 6 else "action_planning"
        counters = [replace("/turn", turn), replace("/tokens", tokens)]
        tokens += agent.random.randint(90, 700)
        kind = agent.random.random()
        if kind < 0.25:
            message = {"role": "user", "content": agent.paragraph(agent.random.randint(1, 3))}
        elif kind < 0.6:
            arguments = {"query": agent.sentence(3), "limit": agent.random.randint(1, 20)}
            call = {"id": f"call_{number}_{turn}", "name": agent.random.choice(VERBS), "arguments": json.dumps(arguments)}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        elif kind < 0.9:
            rows = [{"id": agent.random.randint(1000, 9999), "text": agent.sentence(8)} for _ in range(agent.random.randint(1, 6))]
            message = {"role": "tool", "tool_call_id": f"call_{number}_{turn - 1}", "content": json.dumps(rows)}
        else:
            agent.step(phase)  # it asked again: nothing has changed
            continue
        agent.step(phase, *counters, add("/messages/-", message), critical=turn == 6)
    agent.step("completion", add("/resolved", agent.random.random() < 0.8))
    return agent.run


def coding_agent(number):
    """A coding assistant: long observations, and files that are edited in the middle."""
    files = {f"src/{word}.py": "" for word in WORDS[number : number + 4]}
    agent = Agent("coding-agent", number, {"task": "", "files": files, "plan": [], "history": [], "cost_usd": 0.0})
    agent.run["base_state"]["task"] = agent.paragraph(4)
    cost = 0.0
    for _ in range(agent.random.randint(16, 24)):
        cost = round(cost + agent.random.uniform(0.002, 0.05), 6)
        name = agent.random.choice(list(files))
        kind = agent.random.random()
        if kind < 0.3:
            files[name] += "".join(f"def {agent.random.choice(VERBS)}_{agent.random.choice(WORDS)}(value):\n"
                                   f"    return value  # {agent.sentence(5)}\n\n" for _ in range(agent.random.randint(1, 5)))
            action = {"action": "edit", "file": name}
            agent.step("optimization", replace("/files/" + name.replace("/", "~1"), files[name]),
                       add("/history/-", action), replace("/cost_usd", cost))
        elif kind < 0.85:
            action = {"action": agent.random.choice(["run", "search", "open"]), "argument": agent.sentence(4),
                      "observation": "\n".join(agent.sentence(9) for _ in range(agent.random.randint(5, 30)))}
            agent.step("data_analysis", add("/history/-", action), replace("/cost_usd", cost))
        else:
            agent.step("action_planning", add("/plan/-", {"goal": agent.sentence(7), "done": False}), replace("/cost_usd", cost))
    agent.step("reporting", add("/summary", agent.paragraph(5)), critical=True)
    return agent.run


def tree_search(number):
    """A planner: the front of its state, the best candidates, is another one after each step."""
    agent = Agent("tree-search", number, {"best": [], "visited": 0, "nodes": {}})
    scores = {}
    for step in range(1, agent.random.randint(20, 28)):
        added = []
        for child in range(agent.random.randint(2, 4)):
            name = f"n{step}_{child}"
            scores[name] = round(agent.random.random(), 9)
            added.append(add(f"/nodes/{name}", {"score": scores[name], "thought": agent.sentence(12)}))
        best = sorted(scores, key=scores.get, reverse=True)[:5]
        agent.step("optimization", replace("/best", best), replace("/visited", len(scores)), *added)
    agent.step("completion", add("/answer", {"node": best[0], "text": agent.paragraph(2)}))
    return agent.run


for make, count in ((support_chat, 8), (coding_agent, 4), (tree_search, 4)):
    lines = [json.dumps(make(number), separators=(",", ":")) for number in range(count)]
    (HERE / f"{make.__name__}.jsonl").write_text("\n".join(lines) + "\n")
