r"""`<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`: Ling 2 and Ring 2, the same text as Qwen 2.5's.

As in LLaMA-Factory's `LingToolUtils`; only the prompt that presents the tools differs.
"""

from __future__ import annotations

from dataclasses import replace

from . import qwen

FORMAT = replace(qwen.FORMAT, name="ling", alone=False)
