"""`<function=f>{...}</function>`: Llama 3.1's own tools in a prompt, as in its model card.

Qwen3-Coder's tags begin alike, but hold `<parameter=...>` (see `qwen3_coder`).
"""

from __future__ import annotations

import re

from ..cursor import Cursor
from ..json_text import dump
from .form import Format, speaks_of
from .parts import read_arguments, separators, take_end
from .qwen3_coder import can_name

_CLOSING = "</function>"


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    arguments = read_arguments(cursor, _CLOSING)
    take_end(cursor, _CLOSING)
    cursor.add(mark[1], arguments, mark.start(), mark.span(1))


FORMAT = Format(
    name="llama31_function",
    example='<function=get_weather>{"city": "Paris"}</function>',
    mark=re.compile(r"<function=([^\s<>]++)>(?!\s*+<parameter=)"),
    needs=("<function=",),
    meant=speaks_of("{", r"<function=[^\s<>]++>\s*+\{"),
    read=_read,
    render=lambda calls: "".join(f"<function={call.name}>{dump(call.arguments)}</function>" for call in calls),
    can_name=can_name,
    between=separators(),
    closing=_CLOSING,
)
