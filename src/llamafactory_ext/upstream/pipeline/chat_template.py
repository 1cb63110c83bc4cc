"""The chat template that renders what a template of LLaMA-Factory trains, derived from the template itself.

Upstream's own covers plain turns: no tools, calls, results or thoughts. Here the template's slots become the literals
around each turn, its tool and call writers are probed (`templates/derived.py`), and the outcome is compared with the
template over a few dialogues: what differs is not written.
"""

from __future__ import annotations

import copy
import datetime as calendar
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory.data.template import Llama2Template, ReasoningTemplate, Template
from llamafactory.data.tool_utils import FunctionCall

from ...templates.chat_template import Source, whole_template
from ...templates.derived import call_source, tool_source
from ...templates.jinja import joined, literal, render
from ...templates.messages import RESULT_SEPARATOR
from ...templates.openai import openai_messages, openai_tools
from .dates import day_of, on_day, today, writes_day
from .templates import PromptTemplate

_CONTENT = "\x01"
_PROBE_DAY = calendar.date(2001, 2, 3)
_DAY_FORMAT = "%d %b %Y"  # as upstream's `llama3` tools write it


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template, or why there is none.

    Attributes:
        text: the Jinja text; empty where the template cannot be written so.
        reason: why not; empty where it can.
    """

    text: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Frame:
    before: str
    after: str

    def around(self, expression: str) -> str:
        return joined(literal(self.before), expression, literal(self.after))


def exported_chat_template(
    template: Any, tokenizer: Any, *, day: calendar.date | None = None, drops_thoughts: bool = False
) -> ChatTemplate:
    """Return the chat template that renders what the template trains.

    Args:
        template: one of ours or of upstream's, as `get_template_and_fix_tokenizer` gives it.
        tokenizer: with the tokens of the template.
        day: what tools say the day is where they say one; the template's own day, or today, if None. A request may
            set it by the variable `date_string`.
        drops_thoughts: whether thoughts of earlier replies are left out (as `mask_history` and PPO do).
    """
    if isinstance(template, PromptTemplate):
        return ChatTemplate(template._get_jinja_template(tokenizer))
    said = day or day_of(template) or today()
    differing = []
    for tools in _TOOLS_AFTER_SYSTEM:
        try:
            text = _derived(template, tokenizer, said, drops_thoughts, tools)
        except _CannotWriteError as error:
            return ChatTemplate(reason=str(error))
        found = _first_difference(template, tokenizer, text, drops_thoughts)
        if found is None:
            return ChatTemplate(text)
        differing.append(found)
    return ChatTemplate(reason=f"what was derived from it renders {differing[0]} in another way")


# How the text of the tools follows the system text; a class of upstream's trims it where there is none.
_TOOLS_AFTER_SYSTEM = (
    "state.system ~ state.tool_text",
    r"state.system ~ (state.tool_text if state.system else state.tool_text.lstrip('\n'))",
)


class _CannotWriteError(Exception):
    """Why a template has no chat template, in words that follow its name."""


def _derived(template: Any, tokenizer: Any, day: calendar.date, drops_thoughts: bool, tools: str) -> str:
    user, observation = _frame(template.format_user, tokenizer), _frame(template.format_observation, tokenizer)
    reply, function = _frame(template.format_assistant, tokenizer), _frame(template.format_function, tokenizer)
    system = _frame(template.format_system, tokenizer)
    user, user_prompt = _split(user, reply, system)
    observation, results_prompt = _split(observation, reply, system)
    calls = call_source(lambda probe: _written_calls(template, probe))
    if calls is None:
        raise _CannotWriteError(f"its calls ({template.format_function.tool_format}) are written in no way known here")
    content = "before ~ content"
    results = f"(state.results | join({literal(RESULT_SEPARATOR)}))"
    return whole_template(
        Source(
            head=_head(template, day),
            opening=_opening(template, tokenizer, system, tools),
            user=user.around(content),
            results=f"{{{{- {observation.around(results)} -}}}}\n",
            calls=calls,
            reply=_reply(template, reply, function, drops_thoughts),
            user_prompt=user_prompt,
            results_prompt=results_prompt,
            ending=f"('' if thinking else {literal(template.add_thought())})" if _reasons(template) else '""',
        )
    )


def _head(template: Any, day: calendar.date) -> str:
    """Return what fills `state.tool_text`, with the variables that requests may set."""
    dated = writes_day(template) or day_of(template) is not None
    inner = getattr(template.format_tools, "inner", template.format_tools)
    date = _PROBE_DAY.strftime(_DAY_FORMAT) if dated else ""

    def write(tools: list[dict[str, Any]]) -> str:
        with on_day(_PROBE_DAY):
            return str(inner.apply(content=json.dumps(tools, ensure_ascii=False))[0])

    source = tool_source(write, ordered=False, date=date)
    if source is None:
        raise _CannotWriteError(f"its tools ({inner.tool_format}) are presented in no way known here")
    variables = ""
    if dated:
        variables += (
            f"{{%- set date = date_string if date_string is defined else {literal(day.strftime(_DAY_FORMAT))} -%}}\n"
        )
    if _reasons(template):
        trained = {True: "true", False: "false", None: "none"}[template.enable_thinking]
        variables += f"{{%- set thinking = enable_thinking if enable_thinking is defined else {trained} -%}}\n"
    return variables + source


def _written_calls(template: Any, calls: Sequence[tuple[str, dict[str, Any]]]) -> str:
    functions = [FunctionCall(name, json.dumps(given, ensure_ascii=False)) for name, given in calls]
    return str(template.format_function.tool_utils.function_formatter(functions))


def _opening(template: Any, tokenizer: Any, system: _Frame, tools: str) -> str:
    prefix = _text(template.format_prefix.apply(), tokenizer)
    default = literal(template.default_system)
    turn = system.around(tools)
    place = f"{{{{- {turn} -}}}}"
    if isinstance(template, Llama2Template):
        place = f"{{%- set state.before = {turn} -%}}"
    return (
        f"{{{{- {literal(prefix)} -}}}}\n"
        f"{{%- set state.system = state.system if state.system else {default} -%}}\n"
        f"{{%- if state.system or state.tools -%}}{place}{{%- endif -%}}\n"
    )


def _reply(template: Any, reply: _Frame, function: _Frame, drops_thoughts: bool) -> str:
    """Render a reply: reasoning that a server keeps apart goes between the thought words, before the calls."""
    first, last = template.thought_words
    tail = last[len(last.rstrip()) :]
    reasoning = "message['reasoning_content'] or message['reasoning']"
    lines = [
        f"{{%- set reasoning = {reasoning} -%}}",
        f"{{%- if reasoning is string -%}}{{%- set content = {literal(first)} ~ reasoning ~ {literal(last)} ~ content "
        "-%}{%- endif -%}",
    ]
    if tail:  # what separates a thought from its calls may have been trimmed on its way
        ends = f"state.calls and content and (content | trim).endswith({literal(last.strip())})"
        lines.append(f"{{%- if {ends} -%}}{{%- set content = content.rstrip() ~ {literal(tail)} -%}}{{%- endif -%}}")
    if not _reasons(template):
        lines.append(_written(reply, function))
        return "\n".join(lines) + "\n"
    keeps = "final" if drops_thoughts else "true"
    lines += [
        f"{{%- set keeps = {keeps} -%}}",
        "{%- if thinking is false or not keeps -%}",
        _WITHOUT_THOUGHTS.format(first=literal(first), last=literal(last)),
        "{%- endif -%}",
        f"{{%- if keeps and {literal(first.strip())} not in content ~ state.calls and {literal(last.strip())} not in "
        f"content ~ state.calls -%}}{{{{- {literal(template.add_thought())} -}}}}{{%- endif -%}}",
        _written(reply, function),
    ]
    return "\n".join(lines) + "\n"


# What upstream's `remove_thought` does, without regular expressions.
_WITHOUT_THOUGHTS = """\
{{%- set parts = content.split({first}) -%}}
{{%- set state.kept = [parts[0]] -%}}{{%- set state.open = '' -%}}
{{%- for part in parts[1:] -%}}
{{%- if {last} in part -%}}
{{%- set state.kept = state.kept + [part.split({last}, 1)[1]] -%}}{{%- set state.open = '' -%}}
{{%- else -%}}{{%- set state.open = state.open ~ {first} ~ part -%}}{{%- endif -%}}
{{%- endfor -%}}
{{%- set content = (state.kept | join ~ state.open).lstrip('\\n') -%}}"""


def _written(reply: _Frame, function: _Frame) -> str:
    return (
        f"{{%- if state.calls -%}}{{{{- {function.around('content ~ state.calls')} -}}}}"
        f"{{%- else -%}}{{{{- {reply.around('content')} -}}}}{{%- endif -%}}"
    )


def _reasons(template: Any) -> bool:
    return isinstance(template, ReasoningTemplate)


def _frame(formatter: Any, tokenizer: Any) -> _Frame:
    """Return the text around a content."""
    slots = [slot.replace("{{content}}", _CONTENT) if isinstance(slot, str) else slot for slot in formatter.slots]
    text = _text(slots, tokenizer)
    if text.count(_CONTENT) != 1:
        raise _CannotWriteError("one of its turns has no place for a content, or several")
    return _Frame(*text.split(_CONTENT))


def _text(slots: Sequence[Any], tokenizer: Any) -> str:
    """Return slots as one text, special tokens written out."""
    return "".join(_Letters(tokenizer).ids(Template, slots))


def _split(turn: _Frame, reply: _Frame, system: _Frame) -> tuple[_Frame, str]:
    """Return the turn and the generation prompt behind it, which begins where the other turns end."""
    for ending in (reply.after, system.after):
        if ending and turn.after.startswith(ending):
            return _Frame(turn.before, ending), turn.after[len(ending) :]
    return _Frame(turn.before, ""), turn.after


class _Letters:
    """A tokenizer whose tokens are letters, and special tokens in whole: a template then encodes to its text."""

    def __init__(self, tokenizer: Any) -> None:
        self.bos_token_id = None if tokenizer.bos_token_id is None else tokenizer.bos_token
        self.eos_token_id = None if tokenizer.eos_token_id is None else tokenizer.eos_token

    def encode(self, text: str, **_: Any) -> list[str]:
        """Split a text."""
        return list(text)

    def convert_tokens_to_ids(self, token: str) -> str:
        """Return the token."""
        return token

    def ids(self, kind: Any, slots: Sequence[Any]) -> list[str]:
        """Return the letters of slots."""
        letters: list[str] = kind._convert_elements_to_ids(None, self, slots)
        return letters


_TOOL = {
    "name": "get_weather",
    "description": 'The "weather" of a city.',
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where, é."},
            "days": {"type": "integer", "enum": ["1", "2"]},
        },
        "required": ["city"],
    },
}
_CALL = {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}
_CALLS = [_CALL, {"name": "get_weather", "arguments": {}}]
_ASKED, _ANSWER = {"role": "user", "content": "Hi\nthere"}, {"role": "assistant", "content": "It's\n\nfine."}


def _dialogues(template: Any) -> list[tuple[str, list[dict[str, str]], str, str]]:
    """Return dialogues to compare, by what they hold: messages, system and tools."""
    first, last = template.thought_words
    thought, call = f"{first}Well.{last}", json.dumps(_CALL, ensure_ascii=False)
    result = {"role": "observation", "content": '{"sun": true}'}
    both = {"role": "observation", "content": f"a{RESULT_SEPARATOR}b"}
    called = {"role": "function", "content": call}
    twice = {"role": "function", "content": json.dumps(_CALLS)}
    think = {"role": "function", "content": thought + call}
    told = {"role": "assistant", "content": thought + "Fine."}
    tools = json.dumps([_TOOL], ensure_ascii=False)
    return [
        ("an answer", [_ASKED, _ANSWER, _ASKED, _ANSWER], "", ""),
        ("a system text", [_ASKED, _ANSWER], "Be\nkind.", ""),
        ("a thought", [_ASKED, told, _ASKED, told], "", ""),
        ("tools", [_ASKED, _ANSWER], "", tools),
        ("a call", [_ASKED, called, result, _ANSWER, _ASKED, called], "Be kind.", tools),
        ("a thought before a call", [_ASKED, think, result, told, _ASKED, think], "", tools),
        ("several calls", [_ASKED, twice, both, _ANSWER], "", tools),
    ]


def _first_difference(template: Any, tokenizer: Any, text: str, drops_thoughts: bool) -> str | None:
    """Name the first dialogue that the chat template renders otherwise than the template, as text."""
    undated = copy.copy(template)
    undated.format_tools = getattr(template.format_tools, "inner", template.format_tools)
    date = _PROBE_DAY.strftime(_DAY_FORMAT)
    for name, messages, system, tools in _dialogues(template):
        trained = _trained(undated, tokenizer, messages, system, tools, drops_thoughts)
        given = {"messages": openai_messages(messages, system), "tools": openai_tools(tools), "date_string": date}
        if trained is not None and render(text, add_generation_prompt=False, **given) != trained:
            return name
    return None


def _trained(
    template: Any, tokenizer: Any, messages: list[dict[str, str]], system: str, tools: str, drops_thoughts: bool
) -> str | None:
    """Return the text that is trained.

    None where the template cannot write it, so that nothing of the kind is trained.
    """
    more = {"discarding_history_cot": True} if drops_thoughts else {}
    copies = [dict(message) for message in messages]  # upstream changes what it drops thoughts from
    try:
        with on_day(_PROBE_DAY):
            pairs = template.encode_multiturn(_Letters(tokenizer), copies, system, tools, **more)
    except Exception:  # formatters raise whatever they stumble on
        return None
    return "".join(letter for pair in pairs for part in pair for letter in part)
