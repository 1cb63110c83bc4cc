"""Where a text thinks aloud, and where it goes on with tool outputs that a model has invented.

Calls in a thought are drafts. Marks of thoughts are those of the models' published chat templates (as LLaMA-Factory's
`thought_words` and vLLM's reasoning parsers list them).
"""

from __future__ import annotations

import re

from .comments import COMMENT, OPENINGS

# Opening -> what ends it; the first of several ends counts.
PAIRS: dict[str, tuple[str, ...]] = {
    "<think>": ("</think>",),
    "<thinking>": ("</thinking>",),
    "<thought>": ("</thought>",),
    "<thoughts>": ("</thoughts>",),
    "<analysis>": ("</analysis>",),
    "<scratch_pad>": ("</scratch_pad>",),
    "<scratchpad>": ("</scratchpad>",),
    "<reason>": ("</reason>",),
    "<reasoning>": ("</reasoning>",),
    "<cot>": ("</cot>",),
    "<inner_thought>": ("</inner_thought>",),
    "<inner_thoughts>": ("</inner_thoughts>",),
    "<internal_thoughts>": ("</internal_thoughts>",),
    "<thought_process>": ("</thought_process>",),
    "<self_reflection>": ("</self_reflection>",),
    "<reasoning_content>": ("</reasoning_content>",),
    "<inner_monologue>": ("</inner_monologue>",),
    "<internal_monologue>": ("</internal_monologue>",),
    "<antthinking>": ("</antthinking>",),
    "<reflection>": ("</reflection>",),
    "<seed:think>": ("</seed:think>",),
    "<longcat_think>": ("</longcat_think>",),
    "[THINK]": ("[/THINK]",),
    "◁think▷": ("◁/think▷",),
    "<|START_THINKING|>": ("<|END_THINKING|>",),
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|channel>thought": ("<channel|>",),  # Gemma 4
    "<|channel|>analysis<|message|>": ("<|end|>", "<|start|>", "<|channel|>", "<|return|>"),  # gpt-oss
}
OPENING = re.compile("|".join(map(re.escape, PAIRS)), re.IGNORECASE)
_ENDS = {opening.lower(): re.compile("|".join(map(re.escape, ends)), re.IGNORECASE) for opening, ends in PAIRS.items()}
# The marks that are plain tags stand for one another.
_TAGS = {opening.lower(): ends[0] for opening, ends in PAIRS.items() if re.fullmatch(r"<[\w:]+>", opening)}
_OTHER_ENDS = {
    opening: re.compile("|".join(re.escape(end) for end in _TAGS.values() if end != own), re.IGNORECASE)
    for opening, own in _TAGS.items()
}
_AGAIN = {opening: re.compile(re.escape(opening), re.IGNORECASE) for opening in _TAGS}
_NEAR = 200  # characters before a mark that tell whether it begins its line
# A template may have written the opening: then the end stands alone, and all before it was thought.
LONE_END = re.compile("|".join(re.escape(ends[0]) for ends in PAIRS.values() if len(ends) == 1), re.IGNORECASE)
# What introduces the output of a tool or the next turn: a model that writes it has gone on alone.
OUTPUT = re.compile(
    r"(?mi:^[ \t#*>]*+(?:observation|response|results?|output|(?:tool|function|api)[ _-]?(?:response|output|result)s?"
    r"|user|human|tool|observaci[oó]n|resultado|salida|r[eé]sultat|sortie|beobachtung|ergebnis|ausgabe"
    r"|наблюдение|результат|观察(?:结果)?|观测|结果|输出|工具(?:返回|输出|结果|响应)|用户"
    r"|観察|結果|出力|관찰|결과)[ \t]*+\d*+\**+[ \t]*+[:：])"
    r"|<(?:tool|function)_?(?:response|output|result)s?\b[^<>]*+>|<observation>|<results?>|<outputs?>"
    r"|(?i:```(?:tool_)?(?:output|result)s?\b)|(?<=[)\]])\s*+->\s*+(?=[{\[('\"\d])"
    r"|(?i:\[(?:tool|function|api)[ _-](?:result|response|output)s?\])"
    r"|\[TOOL_RESULTS\]|\[INST\]|<\|observation\|>|<\|user\|>|<\|tool\|>|<\|turn>(?:user|tool)"
    r"|<\|tool_response>|<\|tool_response\|>|<\|im_(?:user|tool)\|>"
    r"|<\|im_start\|>(?:user|tool|system|observation|environment)"
    r"|<\|im_end\|>\s*+<\|im_start\|>assistant"
    r"|<\|(?:start_header_id|header_start)\|>(?:user|ipython|tool)"
    r"|<start_of_turn>user|<\|start\|>(?!assistant)\w|<\|start_of_role\|>(?:user|tool)"
    r"|<\|START_TOOL_RESULT\|>|<\|USER_TOKEN\|>|<｜User｜>|<｜tool▁outputs?▁begin｜>|<\|tool_outputs?_begin\|>"
    r"|<seed:bos>(?:user|tool)|\]~b\](?:user|tool)|<role>(?:OBSERVATION|HUMAN)"
)


_NEEDS = {
    OPENING: ("<", "[THINK]", "[think]", "◁think▷"),
    LONE_END: ("</", "<|END_THINKING|>", "<channel|>", "<|end_of_thought|>", "[/THINK]", "◁/think▷"),
    COMMENT: OPENINGS,
    OUTPUT: (":", "：", "<", "->", "[", "```"),
}


def may_match(pattern: re.Pattern[str], text: str) -> bool:
    """Tell whether a search for one of these patterns is worth while."""
    return any(need in text for need in _NEEDS[pattern])


class Thoughts:
    """Where the thoughts of one text end; every mark is searched for once if places are asked for in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: dict[str, tuple[int, re.Match[str] | None]] = {}

    def end(self, opening: re.Match[str]) -> int:
        """Return where the thought that `opening` opens ends; the text's length if it never does.

        Models close a thought by the mark of another one at times. That one counts where the thought's own mark does
        not come, or only comes for a later thought.
        """
        mark = opening[0].lower()
        end = self._after(mark, _ENDS[mark], opening.end())
        if mark in _TAGS:
            other = self._after(f"other than {mark}", _OTHER_ENDS[mark], opening.end())
            if other is not None and (end is None or self._begins_anew(mark, other.end(), end.start())):
                end = other
        if end is None:
            return len(self._text)
        # gpt-oss: the next message's own start is not part of the thought.
        return end.start() if end[0] in ("<|start|>", "<|channel|>") else end.end()

    def opens(self, opening: re.Match[str]) -> bool:
        """Tell whether a mark opens a thought: it is closed, or begins a line and is not just named in a sentence."""
        near = max(opening.start() - _NEAR, 0)
        begins = self._text[max(self._text.rfind("\n", near, opening.start()) + 1, near) : opening.start()]
        return not begins.strip() or begins.rstrip().endswith((">", "]")) or self.end(opening) < len(self._text)

    def _begins_anew(self, mark: str, start: int, end: int) -> bool:
        again = self._after(f"again {mark}", _AGAIN[mark], start)
        return again is not None and again.start() < end

    def _after(self, key: str, pattern: re.Pattern[str], place: int) -> re.Match[str] | None:
        asked, found = self._next.get(key, (-1, None))
        if asked < 0 or asked > place or (found is not None and found.start() < place):
            found = pattern.search(self._text, place)
            self._next[key] = place, found
        return found


def closes(text: str, end: re.Match[str]) -> bool:
    """Tell whether a lone mark ends a thought and is not just named in a sentence."""
    before, after = text[max(end.start() - 1, 0) : end.start()], text[end.end() : end.end() + 1]
    return before not in tuple(" `'\"") or after not in tuple(" `'\".,;:)")


def split_thought(text: str) -> tuple[str, str]:
    """Split a text into its leading thought, marks included, and the rest; either may be empty."""
    place, thoughts = 0, Thoughts(text)
    while True:
        start = place
        while text[start : start + 1].isspace():
            start += 1
        opening = OPENING.match(text, start)
        if opening is None:
            return text[:place], text[place:]
        place = thoughts.end(opening)
