r"""`<seed:tool_call>\n<function=f>\n<parameter=x>v</parameter>\n</function>\n</seed:tool_call>`: Seed-OSS.

As in its chat template and vLLM's parser `seed_oss`. Values are bare text. LLaMA-Factory's `SeedToolUtils` writes
`<function=f` without its closing bracket; that is read too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import write_value
from .form import Format
from .parts import BREAK, separators
from .qwen3_coder import TAGS as CODER_TAGS
from .qwen3_coder import can_name, read_functions
from .tagged import write_tagged

_OPENING, _CLOSING = "<seed:tool_call>", "</seed:tool_call>"
_FUNCTION_END = rf"(?:\s*+</function>|(?=\s*+(?:{_CLOSING}|{BREAK})))"
_TAGS = replace(
    CODER_TAGS,
    call=re.compile(r"<function=\s*+([^\s<>]++)(?:\s*+>)?+"),
    value_end=re.compile(rf"</parameter>(?=\s*+(?:<parameter=|<function=|{_OPENING})|{_FUNCTION_END}|\s*+\Z)"),
    call_end=re.compile(_FUNCTION_END),
    lines=False,
)


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_functions(cursor, _TAGS, _CLOSING)


def _render(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        arguments = "".join(
            f"<parameter={key}>{write_value(value)}</parameter>\n" for key, value in call.arguments.items()
        )
        blocks.append(f"{_OPENING}\n<function={call.name}>\n{arguments}</function>\n{_CLOSING}")
    return write_tagged("\n".join(blocks), calls, FORMAT)


FORMAT = Format(
    name="seed_oss",
    example=f"{_OPENING}\n<function=get_weather>\n<parameter=city>Paris</parameter>\n</function>\n{_CLOSING}",
    mark=re.compile(rf"{_OPENING}(?=\s*+<function=)"),
    needs=("<seed:tool_call>",),
    read=_read,
    render=_render,
    can_name=can_name,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
    typed=False,
)
