"""Where a text thinks aloud, and where it goes on with tool outputs that a model has invented.

Calls in a thought are drafts. Marks of thoughts are those of the models' published chat templates (as LLaMA-Factory's
`thought_words` and vLLM's reasoning parsers list them).
"""

from __future__ import annotations

import re

# Opening -> what ends it; the first of several ends counts.
_PAIRS: dict[str, tuple[str, ...]] = {
    "<think>": ("</think>",),
    "<thinking>": ("</thinking>",),
    "<thought>": ("</thought>",),
    "<scratch_pad>": ("</scratch_pad>",),
    "<scratchpad>": ("</scratchpad>",),
    "<reasoning>": ("</reasoning>",),
    "<reflection>": ("</reflection>",),
    "<seed:think>": ("</seed:think>",),
    "<longcat_think>": ("</longcat_think>",),
    "[THINK]": ("[/THINK]",),
    "◁think▷": ("◁/think▷",),
    "<|START_THINKING|>": ("<|END_THINKING|>",),
    "<|channel>thought": ("<channel|>",),  # Gemma 4
    "<|channel|>analysis<|message|>": ("<|end|>", "<|start|>", "<|channel|>", "<|return|>"),  # gpt-oss
}
OPENING = re.compile("|".join(map(re.escape, _PAIRS)))
_ENDS = {opening: re.compile("|".join(map(re.escape, ends))) for opening, ends in _PAIRS.items()}
# A template may have written the opening: then the end stands alone, and all before it was thought.
LONE_END = re.compile("|".join(re.escape(ends[0]) for ends in _PAIRS.values() if len(ends) == 1))
# What introduces the output of a tool or the next turn: a model that writes it has gone on alone.
OUTPUT = re.compile(
    r"(?m:^[ \t]*+(?:Observation|Response|Tool Response|Tool Output|Function Response)[ \t]*+:)"
    r"|<tool_response>|<tool_output>|<tool_result>|<function_results?>|<function_response>"
    r"|\[TOOL_RESULTS\]|<\|observation\|>|<\|user\|>|<\|tool_response>|<\|tool_response\|>"
    r"|<\|im_start\|>(?:user|tool|system)|<\|start_header_id\|>(?:user|ipython|tool)"
    r"|<start_of_turn>user|<\|start\|>(?:functions\.|user)|<\|START_TOOL_RESULT\|>"
    r"|<｜tool▁outputs?▁begin｜>|<\|tool_outputs?_begin\|>"
)


_NEEDS = {
    OPENING: ("<", "[THINK]", "◁think▷"),
    LONE_END: ("</", "<|END_THINKING|>", "<channel|>", "[/THINK]", "◁/think▷"),
    OUTPUT: ("Observation", "Response", "Output", "<", "[TOOL_RESULTS]"),
}


def may_match(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a search for one of these patterns is worth while."""
    return any(need in text for need in _NEEDS[pattern])


def end_of_thought(text: str, opening: re.Match[str]) -> int:
    """Return where the thought that `opening` opens ends; the text's length if it never does."""
    end = _ENDS[opening[0]].search(text, opening.end())
    if end is None:
        return len(text)
    # gpt-oss: the next message's own start is not part of the thought.
    return end.start() if end[0] in ("<|start|>", "<|channel|>") else end.end()


def split_thought(text: str) -> tuple[str, str]:
    """Split a text into its leading thought, marks included, and the rest; either may be empty."""
    place = 0
    while True:
        stripped = place + len(text[place:]) - len(text[place:].lstrip())
        opening = OPENING.match(text, stripped)
        if opening is None:
            return text[:place], text[place:]
        place = end_of_thought(text, opening)
