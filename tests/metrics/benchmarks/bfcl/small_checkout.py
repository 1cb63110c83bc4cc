"""A checkout of BFCL's published layout with API classes of our own, small and partly hostile, and tasks for them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILES = """
import copy
class GorillaFileSystem:
    def __init__(self):
        self.root, self._here = {}, []
    def _load_scenario(self, scenario, long_context=False):
        self.root = scenario.get("root", {})
        if long_context:
            self.root["filler"] = "x" * 1000
    def mkdir(self, name):
        self.root[name] = {}
    def write(self, name, content=""):
        self.root[name] = content
        return {"written": len(content)}
    def ls(self):
        return {"names": sorted(self.root)}
    def cat(self, name, lines=1):
        return {"content": self.root[name]} if name in self.root else {"error": "no such file"}
    def hang(self):
        while True:
            pass
    def leave(self):
        import os
        os._exit(3)
    def flood(self):
        while True:
            print("x" * 1000000)
    def fill(self):
        self._much = [bytearray(1 << 28) for _ in range(100)]
    def spoil(self):
        del self.root
"""
MATHS = """
import mpmath
class MathAPI:
    def add(self, a, b):
        return {"result": a + b}
    def third(self):
        return {"result": mpmath.mpf(1) / 3}
"""
MODULES = {"gorilla_file_system": FILES, "math_api": MATHS}
SENTENCE = "Now there are more functions. Try again."


def function(name: str, /, **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": f"The {key}."} for key, kind in types.items()}
    parameters = {"type": "dict", "properties": properties, "required": list(types)[:1]}
    return {"name": name, "description": f"Does {name}.", "parameters": parameters}


DOCS = {
    "gorilla_file_system": [
        function("mkdir", name="string"),
        function("write", name="string", content="string"),
        function("ls"),
        function("cat", name="string", lines="integer"),
    ],
    "math_api": [function("add", a="float", b="float"), function("third")],
}
Task = tuple[Sequence[str], Sequence[Sequence[str]], Mapping[str, Any]]
"""(what the user says by turn, gold calls by turn, more of the record)."""
TASKS: Mapping[str, Sequence[Task]] = {
    "base": [
        (["Make a.", "What is there, and what is 1 + 2?"], [["mkdir('a')"], ["ls()", "add(a=1, b=2)"]], {}),
        (["Write b.", "Show it."], [["write(name='b', content='ls is nice')"], ["cat(name='b')"]], {}),
    ],
    "miss_func": [(["Make a.", ""], [[], ["mkdir(name='a')"]], {"missed_function": {"1": ["mkdir"]}})],
    "miss_param": [(["Show a.", "Write it."], [["cat(name='a')"], []], {})],
    "long_context": [(["What is there?"], [["ls()"]], {})],
}


def write_checkout(folder: Path, tasks: Mapping[str, Sequence[Task]] = TASKS) -> Path:
    """Write the checkout and return its folder."""
    package = folder / "berkeley-function-call-leaderboard" / "bfcl_eval"
    sources = package / "eval_checker" / "multi_turn_eval" / "func_source_code"
    docs, answers, constants = (
        package / "data/multi_turn_func_doc",
        package / "data/possible_answer",
        package / "constants",
    )
    for place in (sources, docs, answers, constants):
        place.mkdir(parents=True)
    for name, source in MODULES.items():
        (sources / f"{name}.py").write_text(source, encoding="utf-8")
        write_lines(docs / f"{name}.json", DOCS[name])
    name = "DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC"
    (constants / "default_prompts.py").write_text(f'LIMIT = 20\n{name} = """{SENTENCE}"""\n', encoding="utf-8")
    for category, listed in tasks.items():
        records = [record(f"multi_turn_{category}_{number}", *task) for number, task in enumerate(listed)]
        gold = [
            {"id": f"multi_turn_{category}_{number}", "ground_truth": calls}
            for number, (_, calls, _) in enumerate(listed)
        ]
        write_lines(package / f"data/BFCL_v4_multi_turn_{category}.json", records)
        write_lines(answers / f"BFCL_v4_multi_turn_{category}.json", gold)
    return folder


def record(key: str, said: Sequence[str], _: Sequence[Sequence[str]], more: Mapping[str, Any]) -> dict[str, Any]:
    turns = [[{"role": "user", "content": text}] if text else [] for text in said]
    state = {"GorillaFileSystem": {"root": {}}}
    classes = ["GorillaFileSystem", "MathAPI"]
    return {"id": key, "question": turns, "initial_config": state, "involved_classes": classes, **more}


def write_lines(path: Path, records: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
