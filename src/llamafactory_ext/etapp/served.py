"""A model behind an OpenAI-compatible server, as an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..serving.infer.server import ChatServer
from .agents import MakeAsk
from .cases import Case
from .prompts import FEEDBACK, Strategy
from .sandbox import Setting
from .strategies import Ask, Messages, Said


def served(server: ChatServer, max_new_tokens: int, temperature: float, seed: int) -> MakeAsk:
    """Return the agent that a server's model is.

    Args:
        server: of the model.
        max_new_tokens: of one reply.
        temperature: 0 for the likeliest words.
        seed: of the sampling.
    """

    def make(case: Case, setting: Setting, strategy: Strategy) -> Ask:
        def ask(messages: Messages, tools: Sequence[Mapping[str, Any]], tokens: int) -> Said:
            body: dict[str, Any] = {
                "messages": list(messages),
                "max_tokens": max(1, min(tokens, max_new_tokens)),
                "temperature": temperature,
                "seed": seed,
            }
            if strategy != "fc":
                body["stop"] = [f"\n{FEEDBACK}"]
            elif tools:
                body["tools"] = list(tools)
            reply = server.reply(body)
            return Said(reply.message, reply.tokens, reply.prompt_tokens)

        return ask

    return make
