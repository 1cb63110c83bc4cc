"""What is rendered is parsed back, in every format, alone and inside other text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError, NoCallError, OptionError
from llamafactory_ext.toolcalls import FORMATS, ToolCall, find_calls, parse_calls, render_calls
from llamafactory_ext.toolcalls.untyped import declare_texts, texts_of
from toolcalls.call_strategies import CALLS, TEXTS, can_write, exact, read_again

pytestmark = pytest.mark.fast

# Ordinary text: no marker of any format, no parenthesis, brace or bracket.
_PROSE = st.lists(
    st.sampled_from(("I think", "it's", '"so"', "\n", "\n\n", "1 + 1", "漢字", "...", "a; b", "x = 3")), max_size=5
).map(" ".join)


def _writable(calls: list[ToolCall], name: str) -> list[ToolCall]:
    return [call for call in calls if can_write(call, name)]


@settings(max_examples=150)
@given(CALLS)
def test_parse_undoes_render_in_every_format(calls: list[ToolCall]) -> None:
    for name in FORMATS:
        if originals := _writable(calls, name):
            parsed = read_again(originals, name)
            assert parsed == originals, name
            assert list(map(exact, parsed)) == list(map(exact, originals)), name


_UNESCAPED = ("glm4_moe", "qwen3_coder", "seed_oss", "minimax2", "deepseek_v32", "gemma4")


@settings(max_examples=40)
@given(CALLS)
def test_only_formats_without_escapes_refuse_values(calls: list[ToolCall]) -> None:
    for name in FORMATS:
        for call in calls:
            if not can_write(call, name):
                marks = set("<>") & set(repr(call))
                assert not FORMATS[name].can_name(call.name) or (name in _UNESCAPED and marks), name


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(("x", "y z", "größe")), TEXTS, max_size=3))
def test_formats_without_escapes_hold_closing_tags_that_text_follows(texts: dict[str, str]) -> None:
    call = ToolCall("f", {key: f"{text} </parameter></arg_value> more" for key, text in texts.items()})
    for name in set(_UNESCAPED) - {"gemma4"}:
        if not any(tag in "".join(texts.values()) for tag in ("<parameter", "<arg_key", "</function", "<|")):
            assert list(map(exact, read_again([call], name))) == [exact(call)], name


@settings(max_examples=50)
@given(_PROSE, CALLS, _PROSE)
def test_other_text_around_changes_nothing_and_spans_name_the_call(
    before: str, calls: list[ToolCall], after: str
) -> None:
    for name in FORMATS:
        if not (originals := _writable(calls, name)):
            continue
        rendered = render_calls(originals, name)
        text = f"{before}\n{rendered}\n{after}"
        found = find_calls(text, name, declare_texts(originals).values())
        assert [one.call for one in found] == (originals if FORMATS[name].typed else texts_of(originals)), name
        last = len(before) + 1
        for one in found:
            assert last <= one.start <= one.name_start < one.name_end <= one.end <= len(before) + 1 + len(rendered)
            if one.call.name.isidentifier():
                assert text[one.name_start : one.name_end] == one.call.name, name
            last = one.end


@pytest.mark.parametrize("name", FORMATS)
def test_refusals_are_typed_and_name_the_next_step(name: str) -> None:
    with pytest.raises(NoCallError, match="no call of the format"):
        parse_calls("The answer is 42 (I am sure).", name)
    with pytest.raises(NoCallError):
        parse_calls("", name)
    with pytest.raises(DataError, match="no calls to write"):
        render_calls([], name)


@pytest.mark.parametrize("name", ["python", "api_bank", "nexusraven", "react", "glm4"])
def test_names_that_a_format_cannot_write_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="rename the tool"):
        render_calls([ToolCall("two\nlines")], name)


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(OptionError, match="choose one of python"):
        parse_calls("f()", "yaml")
    with pytest.raises(OptionError, match="choose one of python"):
        render_calls([ToolCall("f")], "yaml")
