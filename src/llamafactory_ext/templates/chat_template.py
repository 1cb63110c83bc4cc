"""A template as the Jinja text that tokenizers carry, for exported models and for servers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..toolcalls import ToolCall, read_tool
from .derived import STATE, call_source, tool_source
from .formats import ChatFormat, Frame
from .jinja import joined, literal
from .jinja_results import AS_JSON
from .messages import RESULT_SEPARATOR, CallTurn
from .styles import ToolStyle


@dataclass(frozen=True)
class Source:
    """Jinja source of the places where templates differ, for `whole_template`.

    Statements read and set the members of `state`; expressions give text.

    Attributes:
        head: statements that fill `state.tool_text` from `tools`, with the macros that they call.
        opening: statements that write what stands before the first turn. They read `state.system` and
            `state.tool_text`, and set `state.before`, which opens the first user turn.
        user: expression of a user turn, over `before` and `content`.
        results: statements that write the results of calls, which stand in `state.results`.
        calls: statements that fill `state.calls` from `message['tool_calls']`.
        reply: statements that write a reply, over `content` and `state.calls`; `final` says that it ends the dialogue.
        user_prompt: generation prompt behind a user turn.
        results_prompt: generation prompt behind results.
        ending: expression that follows the last generation prompt.
    """

    head: str
    opening: str
    user: str
    results: str
    calls: str
    reply: str
    user_prompt: str
    results_prompt: str
    ending: str = '""'


_TEXT = """\
{%- macro text(given) -%}
{%- if given is string -%}{{- given -}}
{%- elif given is mapping -%}{{- given | tojson -}}
{%- elif given -%}
{%- for part in given -%}{{- part if part is string else part['text'] if 'text' in part else part | tojson -}}\
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
"""
_WHOLE = """\
{state}{text}{head}\
{{%- if messages and messages[0]['role'] in ['system', 'developer'] -%}}
{{%- set state.system = text(messages[0]['content']) -%}}{{%- set state.turns = messages[1:] -%}}
{{%- endif -%}}
{opening}\
{{%- set state.prompt = {user_prompt} -%}}
{{%- set roles = ['tool', 'observation', 'ipython'] -%}}
{{%- for message in state.turns -%}}
{{%- set content = text(message['content']) -%}}
{{%- if message['role'] == 'user' -%}}
{{%- set before = state.before if loop.first else '' -%}}
{{{{- {user} -}}}}{{%- set state.prompt = {user_prompt} -%}}
{{%- elif message['role'] in roles -%}}
{{%- set state.results = state.results + [content] -%}}
{{%- if loop.last or loop.nextitem['role'] not in roles -%}}
{results}{{%- set state.prompt = {results_prompt} -%}}{{%- set state.results = [] -%}}
{{%- endif -%}}
{{%- elif message['role'] == 'assistant' -%}}
{{{{- state.prompt -}}}}
{{%- set final = loop.last and not add_generation_prompt -%}}
{calls}{reply}\
{{%- else -%}}{{{{- raise_exception('Unknown role: ' ~ message['role']) -}}}}{{%- endif -%}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}{{{{- state.prompt ~ {ending} -}}}}{{%- endif -%}}
"""


def whole_template(source: Source) -> str:
    """Return the chat template: roles system, user, assistant and tool (or observation, ipython), tools, calls."""
    parts = {**vars(source), "user_prompt": literal(source.user_prompt)}
    parts["results_prompt"] = literal(source.results_prompt)
    return _WHOLE.format(state=STATE, text=_TEXT, **parts)


def chat_template(chat: ChatFormat, style: ToolStyle) -> str:
    """Return the Jinja text that renders a dialogue as `Template.render` does.

    Tools and calls may be given as OpenAI's `tools` and `tool_calls`, or as text in system message and replies.

    Args:
        chat: with the tokenizer's tokens put in.
        style: how tools, calls and thoughts are written.
    """
    tools, calls = _tools(style), _calls(style)
    content = "content | trim" if chat.trim else "content"
    return whole_template(
        Source(
            head=tools + (AS_JSON if chat.json_observations else ""),
            opening=_opening(chat, style),
            user=_around(chat.user, f"before ~ ({content})"),
            results=_results(chat, style),
            calls=calls,
            reply=_reply(chat, style),
            user_prompt=chat.reply.before,
            results_prompt=chat.reply.before,
        )
    )


@cache
def _tools(style: ToolStyle) -> str:
    source = tool_source(
        lambda tools: style.tool_prompt([read_tool(tool, "rotbench") for tool in tools]), ordered=True
    )
    assert source is not None, f"the tools of {style.about} have no Jinja"
    return source


@cache
def _calls(style: ToolStyle) -> str:
    def write(calls: list[tuple[str, dict[str, object]]]) -> str:
        return style.write_calls(CallTurn("", tuple(ToolCall(name, given) for name, given in calls)))  # type: ignore[arg-type]

    source = call_source(write)
    assert source is not None, f"the calls of {style.about} have no Jinja"
    return source


def _opening(chat: ChatFormat, style: ToolStyle) -> str:
    system = "state.system | trim" if chat.trim else "state.system"
    default = literal(chat.default_system)
    if style.default_system:
        default = f"({literal(style.default_system)} if state.tools else {default})"
    lines = [
        f"{{{{- {literal(chat.start)} -}}}}",
        f"{{%- set state.system = ({system}) if state.system else {default} -%}}",
    ]
    if style.tools_in_user:
        lines.append("{%- set state.before = state.tool_text -%}")
    else:
        gap = f"({literal(chr(10) * 2)} if state.system and state.tool_text else '')"
        lines.append(f"{{%- set state.system = state.system ~ {gap} ~ state.tool_text -%}}")
    if chat.system is None:
        lines += [
            "{%- if state.system -%}",
            f"{{%- set state.before = state.system ~ {literal(chr(10) * 2)} ~ state.before -%}}",
            "{%- endif -%}",
        ]
        return "\n".join(lines) + "\n"
    preamble = literal(chat.preamble)
    if chat.tool_preamble and style.tools_in_user:
        preamble = f"({literal(chat.tool_preamble)} if state.tools else '') ~ {preamble}"
    turn = f"{{{{- {_around(chat.system, joined(preamble, 'state.system'))} -}}}}"
    lines.append(turn if chat.preamble else f"{{%- if state.system -%}}{turn}{{%- endif -%}}")
    return "\n".join(lines) + "\n"


def _results(chat: ChatFormat, style: ToolStyle) -> str:
    """Return the results, each by itself even where one message holds several."""
    results = f"(state.results | join({literal(RESULT_SEPARATOR)})).split({literal(RESULT_SEPARATOR)})"
    shown = f"{results} | map('trim')" if chat.trim else results
    if chat.observation is None:
        label = literal("\n" + style.observation_label)
        written = f"{literal(style.observation_label)} ~ ({shown} | join({label}))"
        return f"{{{{- {_around(chat.user, written)} -}}}}\n"
    if chat.observation_joint:
        return f"{{{{- {_around(chat.observation, f'({shown} | join({literal(chat.observation_joint)}))')} -}}}}\n"
    one = "as_json(result)" if chat.json_observations else "result"
    turn = f"{{{{- {_around(chat.observation, one)} -}}}}"
    return f"{{%- for result in {results if chat.json_observations else shown} -%}}{turn}{{%- endfor -%}}\n"


def _reply(chat: ChatFormat, style: ToolStyle) -> str:
    """Return a reply; before calls its content is a thought, on lines of its own, with the style's label."""
    label = literal(style.thought)
    if style.thought:
        label = f"({label} if not thought.startswith({literal(style.thought.strip())}) else '')"
    lines = [
        "{%- if state.calls -%}",
        "{%- set thought = content | trim -%}",
        f"{{%- set content = ({label} ~ thought ~ {literal(chr(10))} if thought else '') ~ state.calls -%}}",
    ]
    if chat.end:
        cut = f"content[:-{len(chat.end)}] if content.endswith({literal(chat.end)}) else content"
        lines.append(f"{{%- set content = {cut} -%}}")
    lines.append("{%- endif -%}")
    content = "(content | trim)" if chat.trim else "content"
    written = joined(literal(chat.lead), content, literal(chat.end + chat.reply.after))
    return "\n".join([*lines, f"{{{{- {written} -}}}}"]) + "\n"


def _around(frame: Frame, expression: str) -> str:
    """Return a Jinja expression: the frame's texts around another expression."""
    return joined(literal(frame.before), expression, literal(frame.after))
