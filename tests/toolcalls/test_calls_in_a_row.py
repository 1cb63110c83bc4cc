"""A malformed call in front of a good one is an error or a call, never left out without a word."""

from __future__ import annotations

import re

import pytest

from llamafactory_ext.errors import CallParseError, DataError
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, detect, render_calls

pytestmark = pytest.mark.fast

TOOLS = [Tool(name=name, description="", parameters={"x": {"type": "string"}}) for name in ("f", "g")]
FIRST, SECOND = ToolCall("f", {"x": "a"}), ToolCall("g", {"x": "b"})
_JSON_F, _JSON_G = '{"name": "f", "arguments": {"x": "a"}}', '{"name": "g", "arguments": {"x": "b"}}'
_TAGS_F, _TAGS_G = (f"<tool_call>\n{call}\n</tool_call>" for call in (_JSON_F, _JSON_G))
_KIMI = "<|tool_call_begin|>functions.{}<|tool_call_argument_begin|>"


def _read(text: str, form: str | None) -> list[ToolCall] | None:
    try:
        return [found.call for found in detect(text, TOOLS, form)]
    except CallParseError:
        return None


def _without(text: str, begin: int, end: int) -> list[str]:
    """The text without one closing brace or parenthesis, colon or end mark of those within a range."""
    found = re.compile(r"[})]|:(?!\w)|</[^<>]*>|<[^<>]*end[^<>]*>|<\|call\|>|<tool_call\|>|```").finditer(
        text, begin, end
    )
    return [text[: one.start()] + text[one.end() :] for one in found]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_what_the_first_call_lacks_behind_its_name_is_an_error(form: str, known: bool) -> None:
    """Without any one of its closing signs the first call is never left out, while the second one is read."""
    text = render_calls([FIRST, SECOND], form)
    first, second = detect(text, TOOLS, form)
    broken = _without(text, first.name_end, second.name_start)
    assert broken, "nothing was taken away"
    for one in broken:
        assert _read(one, form if known else None) != [SECOND], one


MALFORMED = {
    "an end mark that is missing": ("qwen", f"<tool_call>\n{_JSON_F}\n{_TAGS_G}"),
    "an end mark that is misspelt": ("qwen", f"<tool_call>\n{_JSON_F}\n</tool_cal>\n{_TAGS_G}"),
    "a brace too few": ("json", f"{_JSON_F[:-1]}\n{_JSON_G}"),
    "a colon too few": ("json", f"{_JSON_F.replace(':', '', 1)}; {_JSON_G}"),
    "a brace too few before an end mark": (
        "kimi_k2",
        f'{_KIMI.format("f:0")}{{"x": "a"<|tool_call_end|>{_KIMI.format("g:1")}{{"x": "b"}}<|tool_call_end|>',
    ),
    "another key, in a list": ("json", f"[{_JSON_F.replace('arguments', 'args')}, {_JSON_G}]"),
    "an input that is not closed": ("react", 'Action: f\nAction Input: {"x": 1\nAction: g\nAction Input: {"x": 2}'),
    "a parenthesis too few": ("python", "f(x=1\ng(x=2)"),
    "a closing tag too few": (
        "qwen3_coder",
        "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n<function=g>\n<parameter=x>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
    ),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_call_before_another_is_an_error(case: str, known: bool) -> None:
    form, text = MALFORMED[case]
    assert _read(text, form if known else None) is None


@pytest.mark.parametrize(
    "text",
    [
        f"{_JSON_F}}}\n{_JSON_G}",
        f"1. {_TAGS_F}\n2. {_TAGS_G}",
        f"- {_TAGS_F}\n- {_TAGS_G}",
        f"```\n{_TAGS_F}\n```\n```\n{_TAGS_G}\n```",
        'Action: f\nAction Input: {"x": "a"}}\nAction: g\nAction Input: {"x": "b"}',
        'f\n{"x": "a"}}\ng\n{"x": "b"}',
    ],
)
def test_list_marks_fences_and_brackets_too_many_part_no_group(text: str) -> None:
    assert _read(text, None) == [FIRST, SECOND]


@pytest.mark.parametrize("prose", ["Oops, once more.", "Retry:", "That call was wrong, so:", "抱歉，我再试一次。"])
@pytest.mark.parametrize("first", [_TAGS_F, _TAGS_F.replace("}}", "}"), _TAGS_F.replace("</", "<")])
def test_prose_makes_a_draft_of_a_call(first: str, prose: str) -> None:
    """A call before prose is left out, malformed or not: the model has begun anew."""
    assert _read(f"{first}\n{prose}\n{_TAGS_G}", None) == [SECOND]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("python", "glm4")])
def test_words_on_the_line_of_the_last_call_make_a_draft_too(form: str, known: bool) -> None:
    """Words before its marks make the call no mention; words behind it on its line do, where another call stands."""
    first, second = (render_calls([call], form) for call in (FIRST, SECOND))
    chosen = form if known else None
    assert _read(f"{first}\nWait, no. {second}", chosen) == [SECOND]
    assert _read(f"{first}\nWait, no. {second}\nThat is all.", chosen) == [SECOND]


@pytest.mark.parametrize("known", [True, False])
def test_python_in_a_sentence_is_a_mention(known: bool) -> None:
    text = "f(x='a')\nThis runs before g(x='b')."
    assert _read(text, "python" if known else None) == [FIRST]


@pytest.mark.parametrize("between", [", ", " ", "\nThen, rather, ", "\nI will also call "])
def test_a_call_of_glm4_that_does_not_begin_its_line_is_not_lost(between: str) -> None:
    text = render_calls([FIRST], "glm4") + between + render_calls([SECOND], "glm4")
    assert _read(text, "glm4") is None
    assert _read(f"{render_calls([FIRST], 'glm4')}\nObservation: 3\nSo{between}{_JSON_G}", "glm4") == [FIRST]


LIKE_THE_NEXT = {
    "qwen3_coder": "1\n</parameter>\n<function=g>\n<parameter=x>\n2",
    "seed_oss": "1</parameter>\n<function=g>\n<parameter=x>2",
    "minimax2": '1</parameter>\n<invoke name="g">\n<parameter name="x">2',
    "deepseek_v32": '1</｜DSML｜parameter>\n<｜DSML｜invoke name="g">\n<｜DSML｜parameter name="x" string="true">2',
    "glm4_moe": "1</arg_value>\n<tool_call>g\n<arg_key>x</arg_key>\n<arg_value>2",
}


@pytest.mark.parametrize("form", LIKE_THE_NEXT)
def test_a_value_that_looks_like_the_next_call_is_not_written(form: str) -> None:
    """A closing tag and the opening of a call within a value cannot be told from two calls."""
    with pytest.raises(DataError, match="cannot write the call of 'f'"):
        render_calls([ToolCall("f", {"x": LIKE_THE_NEXT[form]})], form)
