"""A text that stops within its calls is refused, or states whole calls: never one with fewer arguments."""

from __future__ import annotations

import pytest

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import FORMATS, ToolCall, detect, render_calls
from toolcalls.model_texts import TOOLS

pytestmark = pytest.mark.fast

FIRST = ToolCall("get_weather", {"city": "Paris", "days": 3})
SECOND = ToolCall("get_time", {"city": "Rome"})
# There a call without arguments looks like the beginning of any other.
_BARE = ("react",)


def _reads(text: str, *, tools: bool, form: str | None) -> list[ToolCall] | None:
    try:
        return [found.call for found in detect(text, TOOLS if tools else (), form)]
    except CallParseError:
        return None


@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_every_cut(form: str, known: bool, tools: bool) -> None:
    """Every beginning of two calls, with and without knowledge of the format and the tools."""
    text = render_calls([FIRST, SECOND], form)
    name = form if known else None
    whole = [_reads(text[:end], tools=tools, form=name) for end in range(len(text) + 1)]
    allowed: list[list[ToolCall] | None] = [None, [], [FIRST], [FIRST, SECOND]]
    if not tools and not FORMATS[form].typed:
        allowed = [None, [], _reads(render_calls([FIRST], form), tools=False, form=name), whole[-1]]
    for end, read in enumerate(whole):
        bare = bool(read) and not read[-1].arguments and form in _BARE
        # LLaMA-Factory ends a call of GLM's here, so this cannot be told from a whole one.
        same = form == "glm4_moe" and (text[:end].endswith("</arg_value>") or not tools)
        assert read in allowed or bare or same, text[:end]


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_call_that_has_begun_is_not_left_out(form: str) -> None:
    """With declared tools a call that is cut within its arguments is no text behind the first one."""
    text = render_calls([FIRST, SECOND], form)
    end = text.rindex("Rome") + 2
    assert _reads(text[:end], tools=True, form=None) is None, text[:end]
    assert _reads(text[:end], tools=True, form=form) is None, text[:end]
