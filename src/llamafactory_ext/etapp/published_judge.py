"""The published judge's prompt, put together from the texts of a user's checkout; nothing of it is imported or run."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import DataError
from .cases import Case
from .checkout import Checkout
from .clone_form import check_template
from .judge_prompt import Prompter, preferences
from .prompts import FEEDBACK
from .world import World

_TEMPLATE, _CODE = "evaluation/evaluate_prompt.py", "evaluation/evaluate.py"
_CONSTANT = "EVALUATE_PERSONALIZATION_AND_PROACTIVITY"
_LISTS = ("personal", "proactive")
_PLACES = ("profile", "query", "output_format", "output", "keypoint_for_personal", "keypoint_for_proactive", *_LISTS)


def published_prompter(checkout: Checkout) -> Prompter:
    """Return what makes the published prompts.

    Raises:
        DataError: the checkout lacks the texts.
    """
    template = next(_texts(checkout, _TEMPLATE, _CONSTANT), None)
    code = _tree(checkout, _CODE)
    rows = {name: _assigned(code, lambda target, name=name: _is_item(target, name)) for name in _LISTS}  # type: ignore[misc]
    form = _assigned(code, lambda target: isinstance(target, ast.Name) and target.id == "output_format", kind=ast.Dict)
    if template is None or form is None or None in rows.values():
        raise DataError(f"--prompts checkout: {checkout.folder} lacks the judge's texts; complete the checkout.")
    check_template(template, _PLACES, f"{_TEMPLATE}, {_CONSTANT}")
    for part in (form, *rows.values()):
        _value(part, {key: {} for key in _LISTS})

    def make(world: World, case: Case, episode: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
        points = {"personal": case.personal, "proactive": case.proactive}
        filled = {name: {point: _value(rows[name], {}) for point in points[name]} for name in _LISTS}
        called = [str(call["name"]) for call in episode["calls"]]
        liked = [next(iter(one.values())) for one in preferences(world, case, called)]
        shown = episode.get("history") or [_shown(message) for message in messages[2:]]
        skipped = 2 if episode["strategy"] == "e-react" else 0  # the plan and the words that asked for it
        return template.format(
            profile=f"{json.dumps(world.profile)}\n{liked}",
            query=case.query,
            output_format=json.dumps(_value(form, filled), indent=4),
            output="\n".join(map(str, shown[skipped:])),
            keypoint_for_personal=list(case.personal),
            keypoint_for_proactive=list(case.proactive),
            **filled,
        )

    return make


def _shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the published runs keep it: calls by name and arguments; the last words have none."""
    text = str(message.get("content") or "")
    if message["role"] == "user" and text.startswith(f"{FEEDBACK} "):
        return {"role": "tool", "content": text.removeprefix(f"{FEEDBACK} ")}
    if message["role"] != "assistant":
        return {"role": message["role"], "content": text}
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    kept = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return {"role": "assistant", "content": text, "tool_calls": kept or None}


def _tree(checkout: Checkout, name: str) -> ast.Module:
    path = checkout.file(name)
    try:
        return ast.parse(path.read_text("utf-8")[: 1 << 20])
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"--prompts checkout: {path} cannot be read ({error}); complete the checkout.") from None


def _texts(checkout: Checkout, module: str, constant: str) -> Any:
    for node in _tree(checkout, module).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if constant in names:
                yield node.value.value


def _assigned(tree: ast.Module, wanted: Callable[[ast.expr], bool], kind: type[ast.expr] = ast.Dict) -> Any:
    """Return the first dictionary that is assigned to such a target."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, kind) and any(map(wanted, node.targets)):
            return node.value
    return None


def _is_item(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == name


def _value(node: Any, names: Mapping[str, Any]) -> Any:
    """Return the value of dictionaries, texts and these names; anything else is no text of a form."""
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key, names) for key in node.keys]
        if all(isinstance(key, str) for key in keys):
            return {key: _value(value, names) for key, value in zip(keys, node.values, strict=True)}
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    raise DataError("--prompts checkout: the judge's form holds something that is no text; complete the checkout.")
