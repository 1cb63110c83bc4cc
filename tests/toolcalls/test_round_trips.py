"""What is rendered is parsed back, in every format, alone and inside other text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError, NoCallError, OptionError
from llamafactory_ext.toolcalls import FORMATS, ToolCall, find_calls, parse_calls, render_calls
from toolcalls.call_strategies import CALLS, exact

pytestmark = pytest.mark.fast

# Ordinary text: no marker of any format, no parenthesis, brace or bracket.
_PROSE = st.lists(
    st.sampled_from(("I think", "it's", '"so"', "\n", "\n\n", "1 + 1", "漢字", "...", "a; b", "x = 3")), max_size=5
).map(" ".join)


def _writable(calls: list[ToolCall], name: str) -> list[ToolCall]:
    return [call for call in calls if FORMATS[name].can_name(call.name)]


@settings(max_examples=400)
@given(CALLS)
def test_parse_undoes_render_in_every_format(calls: list[ToolCall]) -> None:
    for name in FORMATS:
        if originals := _writable(calls, name):
            parsed = parse_calls(render_calls(originals, name), name)
            assert parsed == originals, name
            assert list(map(exact, parsed)) == list(map(exact, originals)), name


@settings(max_examples=150)
@given(_PROSE, CALLS, _PROSE)
def test_other_text_around_changes_nothing_and_spans_name_the_call(
    before: str, calls: list[ToolCall], after: str
) -> None:
    for name in FORMATS:
        if not (originals := _writable(calls, name)):
            continue
        rendered = render_calls(originals, name)
        text = f"{before}\n{rendered}\n{after}"
        found = find_calls(text, name)
        assert [one.call for one in found] == originals, name
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
