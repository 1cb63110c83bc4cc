"""A template as the Jinja text that tokenizers carry, for exported models and for servers."""

from __future__ import annotations

import json

from .formats import ChatFormat, Frame
from .messages import RESULT_SEPARATOR
from .styles import ToolStyle


def chat_template(chat: ChatFormat, style: ToolStyle) -> str:
    """The Jinja text that renders a dialogue as `Template.render` does.

    It takes the roles system, user, assistant and tool (or observation, ipython). Tools and calls it takes only as
    text, in the system message and in replies: it refuses `tools` and `tool_calls` where it would lose them.

    Args:
        chat: with the tokenizer's tokens put in.
        style: labels feedback where the format has no turn for it.
    """
    content = "message['content'] | trim" if chat.trim else "message['content']"
    lines = [
        "{%- if tools %}{{ raise_exception('Write the tools into the system message: this chat template takes them as "
        "text only.') }}{% endif %}",
        f"{{%- set system = {_text(chat.default_system)} %}}{{%- set turns = messages %}}",
        "{%- if messages[0]['role'] == 'system' %}"
        f"{{%- set system = {content.replace('message', 'messages[0]', 1)} %}}{{%- set turns = messages[1:] %}}"
        "{%- endif %}",
        f"{{{{- {_text(chat.start)} }}}}",
        _system(chat),
        "{%- for message in turns %}",
        f"{{%- set content = {content} %}}",
        "{%- if message['role'] == 'user' %}",
        _user(chat),
        "{%- elif message['role'] == 'assistant' %}",
        "{%- if message['tool_calls'] %}{{ raise_exception('Write calls as the text of a reply: this chat template "
        "has no tool_calls.') }}{% endif %}",
        f"{{{{- {_text(chat.reply.before + chat.lead)} + content + {_text(chat.end + chat.reply.after)} }}}}",
        "{%- elif message['role'] in ['tool', 'observation', 'ipython'] %}",
        _observation(chat, style),
        "{%- else %}{{ raise_exception('Unknown role: ' + message['role']) }}{% endif %}",
        "{%- endfor %}",
        f"{{%- if add_generation_prompt %}}{{{{- {_text(chat.reply.before)} }}}}{{%- endif %}}",
    ]
    return "\n".join(line for line in lines if line)


def _system(chat: ChatFormat) -> str:
    if chat.system is None:
        return ""
    turn = f"{{{{- {_around(Frame(chat.system.before + chat.preamble, chat.system.after), 'system')} }}}}"
    return turn if chat.preamble else f"{{%- if system %}}{turn}{{%- endif %}}"


def _user(chat: ChatFormat) -> str:
    turn = f"{{{{- {_around(chat.user, 'content')} }}}}"
    if chat.system is not None:
        return turn
    merged = f"{{{{- {_around(chat.user, 'system + ' + _text(chr(10) * 2) + ' + content')} }}}}"
    return f"{{%- if loop.first and system %}}{merged}{{%- else %}}{turn}{{%- endif %}}"


def _observation(chat: ChatFormat, style: ToolStyle) -> str:
    results = f"content.split({_text(RESULT_SEPARATOR)})"
    if chat.observation is None:
        label = _text("\n" + style.observation_label)
        joined = f"{_text(style.observation_label)} + {results} | join({label})"
        return f"{{{{- {_around(chat.user, joined)} }}}}"
    if chat.observation_joint:
        return f"{{{{- {_around(chat.observation, f'{results} | join({_text(chat.observation_joint)})')} }}}}"
    shown = "result"
    if chat.json_observations:  # an object or a list stands as it is
        shown = "(result if result[:1] in ['{', '['] else result | tojson)"
    elif chat.trim:
        shown = "result | trim"
    return f"{{%- for result in {results} %}}{{{{- {_around(chat.observation, shown)} }}}}{{%- endfor %}}"


def _around(frame: Frame, expression: str) -> str:
    """A Jinja expression: the frame's texts around another expression."""
    parts = [_text(frame.before) if frame.before else "", expression, _text(frame.after) if frame.after else ""]
    return " + ".join(part for part in parts if part)


def _text(text: str) -> str:
    """A Jinja string literal."""
    return json.dumps(text)
