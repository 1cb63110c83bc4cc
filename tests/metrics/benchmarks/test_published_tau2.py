"""What a reward is worked out from agrees with tau2-bench's own functions, where a machine has a checkout of it.

LLAMAFACTORY_EXT_TAU2 names a clone of github.com/sierra-research/tau2-bench. Its package needs Python 3.12 and more
than is here, so that three functions of it are taken out of their files: pass^k, a call against a gold action, and
what the agent has to say.
"""

import ast
import math
import os
import random
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from llamafactory_ext.metrics.benchmarks.tau2 import score as ours
from llamafactory_ext.metrics.crossed import pass_power

ROUNDS = 2_000


@pytest.fixture(scope="module")
def source() -> Path:
    root = os.environ.get("LLAMAFACTORY_EXT_TAU2")
    if not root:
        pytest.skip("LLAMAFACTORY_EXT_TAU2 names no checkout of tau2-bench")
    return Path(root) / "src" / "tau2"


def taken(path: Path, name: str, **names: Any) -> Any:
    """A function of a file, with stand-ins for what it uses."""
    text = path.read_text(encoding="utf-8")
    node = next(one for one in ast.walk(ast.parse(text)) if isinstance(one, ast.FunctionDef) and one.name == name)
    node.decorator_list = []
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    module = ModuleType(name)
    vars(module).update(names)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "published.py").write_text(ast.unparse(node), encoding="utf-8")
        SourceFileLoader(name, str(Path(folder) / "published.py")).exec_module(module)
    return getattr(module, name)


def test_pass_k(source: Path) -> None:
    published = taken(source / "metrics/agent_metrics.py", "pass_hat_k", math=math)
    for n in range(1, 9):
        for right in range(n + 1):
            trials = [True] * right + [False] * (n - right)
            for k in range(1, n + 1):
                assert pass_power({("d", 0): trials}, k) == published(n, right, k)


def test_calls_against_gold_actions(source: Path) -> None:
    published = taken(source / "data_model/tasks.py", "compare_with_tool_call")
    dice, agreed = random.Random(0), [0, 0]
    for _ in range(ROUNDS):
        made, gold = ({key: dice.choice((1, "1", None, [1])) for key in "abc" if dice.random() < 0.6} for _ in "mg")
        if dice.random() < 0.5:
            made |= gold
        compare = dice.choice((None, [], ["a"], ["a", "c"], ["z"]))
        names = dice.choice(("f", "g")), "f"
        theirs = published(
            SimpleNamespace(name=names[1], arguments=gold, compare_args=compare),
            SimpleNamespace(name=names[0], arguments=made),
        )
        action = {"name": names[1], "arguments": gold, "compare_args": compare}
        assert ours._is_made(action, {"name": names[0], "arguments": made}) is theirs
        agreed[theirs] += 1
    assert min(agreed) > ROUNDS // 10


class Spoken(SimpleNamespace):
    def has_text_content(self) -> bool:
        return self.content is not None and bool(self.content.strip())


def test_what_the_agent_has_to_say(source: Path) -> None:
    names: dict[str, Any] = {"AssistantMessage": Spoken, "CommunicateCheck": SimpleNamespace}
    published = taken(source / "evaluator/evaluator_communicate.py", "evaluate_communicate_info", **names)
    dice, agreed = random.Random(1), [0, 0]
    pieces = ("1,200", "1200", "Yes", " ", "", "12", "00", "é", "YES", ",")
    for _ in range(ROUNDS):
        texts = ["".join(dice.choices(pieces, k=dice.randint(0, 3))) for _ in range(dice.randint(0, 3))]
        roles = [dice.choice(("assistant", "user")) for _ in texts]
        wanted = dice.choice(("1200", "yes", "12", "É", "1,200", ""))
        spoken = [
            Spoken(content=text) if role == "assistant" else SimpleNamespace(content=text)
            for text, role in zip(texts, roles, strict=True)
        ]
        (theirs,) = published(None, spoken, [wanted])
        messages = [{"role": role, "content": text} for text, role in zip(texts, roles, strict=True)]
        assert ours._is_said(wanted, messages) is theirs.met
        agreed[theirs.met] += 1
    assert min(agreed) > ROUNDS // 10
