"""What surrounds a tool's output on its way into a dialogue: fences, tags, words in front, an MCP result's repr."""

from __future__ import annotations

import re
from collections.abc import Iterator

# Fences of these languages hold output; those of others hold code.
_FENCE = re.compile(
    r"(?P<marks>`{3,}|~{3,})[ \t]*(?:json[c5l]?|text|txt|plaintext|output|console|log|result|error|xml|yaml)?"
    r"[ \t]*\r?\n",
    re.IGNORECASE,
)
_OPEN = re.compile(r"\s*<(?P<name>[A-Za-z_][\w:.-]{0,60})(?P<marks>\s[^<>]{0,500})?>")
_FAILED = re.compile(
    r"\b(?:(?:status|type)=[\"']?(?:error|failed|failure)\b|is_?error=[\"']?true\b|success=[\"']?false\b)",
    re.IGNORECASE,
)
_PASSED_OVER = re.compile(
    r"\s*(?:<[A-Za-z_][\w:.-]{0,60}(?:\s[^<>]{0,500})?/>|<\?[^<>]{0,200}\?>|<!--.{0,500}?-->)", re.DOTALL
)
_RESULT = r"(?:tool_response|tool_result|tool_output|function_response|function_result|observation|result|output)"
_LEFT_OPEN = re.compile(rf"<{_RESULT}>", re.IGNORECASE)
_LEFT_CLOSED = re.compile(rf"</{_RESULT}>\Z", re.IGNORECASE)
_INTRODUCTION = re.compile(
    r"(?:the )?(?:tool |function |api |mcp )?(?:response|result|output|observation|return value|tool)"
    r"(?: (?:of|from) [\w.-]{1,60})?"
    r"\s*:\s*(?=\S)|[^\n:]{1,80}:\s*\n\s*(?=```|\{|<(?:tool|function|result|error|output))",
    re.IGNORECASE,
)
_MCP_REPR = re.compile(r"(?:CallToolResult\()?(?:_?meta=|content=\[)")
_MCP_FLAG = re.compile(r"\bis_?error=True\b", re.IGNORECASE)
_MCP_TEXT = re.compile(r"\btext=(?:'(?P<single>(?:[^'\\]|\\.)*+)'|\"(?P<double>(?:[^\"\\]|\\.)*+)\")", re.DOTALL)

# fmt: off
WRAPPERS = frozenset((
    "toolresponse", "toolresponses", "toolresult", "toolresults", "tooloutput", "functionresponse", "functionresult",
    "functionresults", "result", "results", "response", "output", "content", "observation", "stdout", "text", "body",
    "envelope", "soapenvelope", "soapbody",
))
# fmt: on


def unfenced(text: str) -> str | None:
    """Return what a fence around the whole text holds; None if there is none, or one around code."""
    found = _FENCE.match(text)
    if found is None or not text.endswith(found["marks"]) or found.end() > len(text) - len(found["marks"]):
        return None
    return text[found.end() : -len(found["marks"])]


def introduced(text: str) -> str | None:
    """Return what follows words such as "Tool output:" at the beginning; None without them."""
    found = _INTRODUCTION.match(text)
    return text[found.end() :] if found else None


def untagged(text: str) -> str | None:
    """Return a text without a tag of results that is open at its beginning or its end only; None if there is none.

    LLaMA-Factory joins the results of one turn by such tags, and dialogues are split there.
    """
    opens, closes = _LEFT_OPEN.match(text), _LEFT_CLOSED.search(text[-40:])
    if opens:
        return text[opens.end() :]
    return text[: len(text) - len(closes[0])] if closes else None


def elements(text: str) -> list[tuple[str, str]]:
    """Return names and contents of the elements that a text consists of; none if it begins with anything else.

    An element ends at the first end tag of its name. Text between and after elements is passed over. An element whose
    attributes say that it failed is given as "error".
    """
    return list(_elements(text)) if text[:1] == "<" else []


def _elements(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while True:
        if passed := _PASSED_OVER.match(text, place):
            place = passed.end()
            continue
        opens = _OPEN.match(text, place)
        if opens is None:
            return
        close = f"</{opens['name']}>"
        end = text.find(close, opens.end())
        if end < 0:
            return
        failed = opens["marks"] is not None and _FAILED.search(opens["marks"]) is not None
        yield "error" if failed else opens["name"], text[opens.end() : end]
        place = end + len(close)


def mcp_result(text: str) -> tuple[bool, str] | None:
    """Return the flag and the first text of an MCP result that Python's repr wrote; None if it is none."""
    if not _MCP_REPR.match(text):
        return None
    flag = _MCP_FLAG.search(text[-60:])
    said = _MCP_TEXT.search(text)
    words = next(filter(None, said.group("single", "double")), "") if said else ""
    return flag is not None, words.replace("\\n", "\n").replace("\\'", "'")
