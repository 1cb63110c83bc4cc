"""Comments, mixed marks of thoughts, fences, gpt-oss's headers, and arguments that are called like a call's keys."""

from __future__ import annotations

import pytest

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import Tool, ToolCall, detect, find_calls, render_calls
from llamafactory_ext.toolcalls.thoughts import PAIRS, split_thought

pytestmark = pytest.mark.fast

TOOLS = (Tool("f", "", {"x": {"type": "string"}}), Tool("who", "", {"name": {"type": "string"}}))
A, B = ToolCall("f", {"x": "a"}), ToolCall("f", {"x": "b"})
_JSON = '{"name": "f", "arguments": {"x": "a"}}'


def read(text: str, form: str | None = None, declared: tuple[Tool, ...] = TOOLS) -> list[ToolCall] | None:
    try:
        return [found.call for found in detect(text, declared, form)]
    except CallParseError:
        return None


COMMENTS = {
    "before a call": ("# f(x='q')\nf(x='a')", [A]),
    "behind a call": ("f(x='a')  # f(x='q')", [A]),
    "between calls": ("f(x='a')\n# now the other one, f(x='q')\nf(x='b')", [A, B]),
    "behind each call": ("f(x='a')  # first\nf(x='b')  # second", [A, B]),
    "alone": ("# use f(x='q') here", []),
    "behind code": ("n = 1  # f(x='q')", []),
    "in a fence": ("```python\n# first f(x='q')\nprint(1)\n```", []),
    "in a list": ("[f(x='a'), # and not f(x='q')\n f(x='b')]", [A, B]),
    "at the end of a list": ("[f(x='a')  # done\n]", [A]),
    "in a call": ("f(x='a', # the letter\n)", [A]),
    "before a value": ("f(x=# the letter\n'a')", [A]),
    "in a text of a call": ("f(x='# f(x=1)')", [ToolCall("f", {"x": "# f(x=1)"})]),
    "in another language": ("// f(x='q');\nf(x='a')", [A]),
    "left out of a page": ("<!-- f(x='q') -->\nf(x='a')", [A]),
    "a heading": ("## How f(x='q') works\nIt does.", []),
    "a number, no comment": ("Call #1 f(x='a')", [A]),
    "a value without quotes": ("[f(x=#ff0000)]", [ToolCall("f", {"x": "#ff0000"})]),
    "in a fence of Gemma's": ("```tool_code\n# first\nf(x='a')  # so\nf(x='b')\n```", [A, B]),
    "between Llama's marks": ("<|python_start|>[f(x='a'), # so\nf(x='b')]<|python_end|>", [A, B]),
    "between LFM's marks": ("<|tool_call_start|>[f(x='a'), # so\nf(x='b')]<|tool_call_end|>", [A, B]),
}


@pytest.mark.parametrize("case", COMMENTS)
def test_comments_hold_no_calls(case: str) -> None:
    text, calls = COMMENTS[case]
    assert read(text) == calls


def test_a_known_format_passes_comments_over_too() -> None:
    assert read("# f(x='q')\nf(x='a')  # f(x='q')\nf(x='b')", "python") == [A, B]


_TAGS = [(opening, ends[0]) for opening, ends in PAIRS.items() if opening.startswith("<") and opening[1:-1].isalpha()]


@pytest.mark.parametrize("opening", [opening for opening, _ in _TAGS])
@pytest.mark.parametrize("ending", [ending for _, ending in _TAGS])
def test_a_thought_may_be_closed_by_another_mark(opening: str, ending: str) -> None:
    draft = f"{opening}hm {_JSON.replace('a', 'q')}{ending}\n"
    assert read(draft + _JSON) == [A]
    assert read(f"{draft}The answer.") == []
    assert split_thought(draft + _JSON) == (draft.rstrip("\n"), "\n" + _JSON)
    assert read(f"{draft}{_JSON}\n{opening}done{ending}") == [A]


def test_a_thought_that_names_another_mark_goes_on() -> None:
    assert read(f"<think>the tag </thinking> is f(x='q') another one</think>{_JSON}") == [A]
    assert read(f"<think><thinking>f(x='q')</thinking> f(x='q')</think>{_JSON}") == [A]


FENCES = {
    "two in a row": ("```tool_code\nf(x='a')\n```\n```tool_code\nf(x='b')\n```", [A, B]),
    "two without a line break": ("```tool_code\nf(x='a')\n``````tool_code\nf(x='b')\n```", [A, B]),
    "the first is not closed": ("```tool_code\nf(x='a')\n```tool_code\nf(x='b')\n```", None),
    "in another fence": ("```\n```tool_code\nf(x='a')\n```\n```", [A]),
    "opened twice": ("```tool_code\n```tool_code\nf(x='a')\n```\n```", None),
}


@pytest.mark.parametrize("case", FENCES)
def test_fences_in_a_row(case: str) -> None:
    text, calls = FENCES[case]
    assert read(text) == read(text, "tool_code") == calls


_BODY = '<|constrain|>json<|message|>{"x": "a"}<|call|>'
HARMONY = {
    "as generated": (f"<|channel|>commentary to=functions.f {_BODY}", [A]),
    "the role's header": (f"<|start|>assistant<|channel|>commentary to=functions.f {_BODY}", [A]),
    "the recipient behind the role": (f"<|start|>assistant to=functions.f<|channel|>commentary {_BODY}", [A]),
    "the recipient behind a role in the prompt": (f" to=functions.f<|channel|>commentary {_BODY}", [A]),
    "the channel's mark in the prompt": (f"commentary to=functions.f {_BODY}", [A]),
    "a thought first": (
        f"<|channel|>analysis<|message|>f(x='q')<|end|><|start|>assistant<|channel|>commentary to=functions.f {_BODY}",
        [A],
    ),
    "a thought whose mark stood in the prompt": (
        f"analysis<|message|>f(x='q')<|end|><|start|>assistant<|channel|>commentary to=functions.f {_BODY}",
        [A],
    ),
    "without its namespace": (f"<|channel|>commentary to=f {_BODY}", [A]),
    "a tool of the model's own": (
        f"<|channel|>analysis to=browser.search {_BODY}",
        [ToolCall("browser.search", {"x": "a"})],
    ),
    "code for a tool of the model's own": ("<|channel|>analysis to=python code<|message|>print(1)<|call|>", None),
    "without any mark": ('assistantcommentary to=functions.f json{"x": "a"}', None),
    "without any mark, a thought first": ('analysisI look.assistantcommentary to=functions.f json{"x": "a"}', None),
    "a result": (
        f"<|channel|>commentary to=functions.f {_BODY}"
        '<|start|>functions.f to=assistant<|channel|>commentary<|message|>{"x": 1}<|end|>',
        [A],
    ),
    "prose": ("<|channel|>final<|message|>Write commentary to=functions.f into the header.<|return|>", []),
}


@pytest.mark.parametrize("case", HARMONY)
def test_headers_of_gpt_oss(case: str) -> None:
    text, calls = HARMONY[case]
    assert read(text) == read(text, "harmony") == read(text, "harmony", ()) == calls


def test_a_role_may_be_the_name_of_a_tool() -> None:
    call = ToolCall("user", {"x": "a"})
    assert read(render_calls([call], "harmony"), "harmony", ()) == [call]


@pytest.mark.parametrize("key", ["name", "function", "arguments", "parameters", "tool_calls", "function_call"])
@pytest.mark.parametrize("form", ["glm4", "react", "qwen", "json", "qwen3_coder", "harmony", "python"])
def test_an_argument_may_be_called_like_a_key_of_calls(form: str, key: str) -> None:
    call = ToolCall("who", {key: "Ann"})
    text = render_calls([call], form)
    assert [one.call for one in find_calls(text, form)] == read(text, form, ()) == read(text) == [call]


def test_a_word_before_a_call_is_no_tool() -> None:
    assert read(f"Answer\n{_JSON}") == read(f"Answer\n{_JSON}", None, ()) == [A]
