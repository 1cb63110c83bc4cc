"""A model behind an OpenAI-compatible server, as an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..serving.infer.server import ChatServer, RefusedError
from ..templates.messages import RESULT_SEPARATOR
from .agents import MakeAsk
from .cases import Case
from .prompts import FEEDBACK, Strategy
from .sandbox import Setting
from .strategies import Ask, Messages, Said

_SEEDS = 1 << 63
_ALTERNATES = "u/a/u/a"  # by which LLaMA-Factory's server says that it takes one message a side


def served(server: ChatServer, max_new_tokens: int, temperature: float, seed: int, *, stops: bool = True) -> MakeAsk:
    """Return the agent that a server's model is.

    LLaMA-Factory's server refuses two results in a row. It then gets them joined, as its training data has them.

    Args:
        server: of the model.
        max_new_tokens: of one reply.
        temperature: 0 for the likeliest words.
        seed: of the sampling in a case's first trial; each further one has the next, or all would be the same.
        stops: let a reply of ReAct end where it would invent a result; the published loop does not (L10).
    """

    def make(case: Case, setting: Setting, strategy: Strategy) -> Ask:
        def ask(messages: Messages, tools: Sequence[Mapping[str, Any]], tokens: int) -> Said:
            body: dict[str, Any] = {
                "messages": list(messages),
                "max_tokens": max(1, min(tokens, max_new_tokens)),
                "temperature": temperature,
                "seed": (seed + case.trial) % _SEEDS,
            }
            if strategy != "fc":
                body |= {"stop": [f"\n{FEEDBACK}"]} if stops else {}
            elif tools:
                body["tools"] = list(tools)
            try:
                reply = server.reply(body)
            except RefusedError as error:
                if _ALTERNATES not in error.message:
                    raise
                reply = server.reply(body | {"messages": joined(messages)})
            return Said(reply.message, reply.tokens, reply.prompt_tokens, reply.finish)

        return ask

    return make


def joined(messages: Messages) -> list[dict[str, Any]]:
    """Return the messages with results that follow each other as one."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if found and message["role"] == "tool" == found[-1]["role"]:
            found[-1]["content"] += RESULT_SEPARATOR + str(message["content"])
        else:
            found.append(dict(message))
    return found
