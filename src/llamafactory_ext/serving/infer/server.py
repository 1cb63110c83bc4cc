"""Answers by an OpenAI-compatible server: many requests at a time, retried with growing pauses.

The key comes from the environment only and stands in no message, file or log.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ...benchmarks import benchmark_of
from ...errors import DataError, ExtError, OptionError
from ...foreign import Answer, Asking, ForeignError, clean_key, count_of, exchange, new_client, shown, shown_url
from ..agent.dialogue import Episode, Limits, PromptTooLongError, TextChat, ToolChat, dialogue
from ..agent.tools import HttpToolServer
from .names import SentNames
from .options import KEY_VARIABLE, InferOptions
from .prompts import Prompt, chat_messages, message_text, openai_tools, styled_messages, template_named
from .questions import Question

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_PASSING: Final = (408, 409, 425, 429, 500, 502, 503, 504)
_SHOWN = 300
# How servers say that a prompt does not fit (vLLM, SGLang, TGI, llama.cpp, OpenAI). Other limits have a maximum too.
_TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|maximum (model|input|sequence|prompt|context)|too (long|many tokens)|"
    r"must be <= ?`?\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reply:
    """What a server said.

    Attributes:
        message: the assistant's message.
        tokens: that it consists of, as the server counts; of one that does not count, a quarter of its characters.
        prompt_tokens: of what it answers, as the server counts; 0 of one that does not count.
        finish: why it ends, as the server says; "" of one that does not.
    """

    message: Mapping[str, Any]
    tokens: int
    prompt_tokens: int = 0
    finish: str = ""


class RefusedError(DataError):
    """The server does not take a request as it is."""


class ChatServer:
    """The chat endpoint of one model.

    Args:
        url: up to and with `/v1`.
        model: as the server calls it.
        retries: attempts after the first that failed for a passing reason.
        timeout: seconds of one attempt.
    """

    def __init__(self, url: str, model: str, retries: int, timeout: float) -> None:
        self.url, self.model = url.rstrip("/"), model
        self._retries = retries
        self._ending = threading.Event()
        self._timeout = timeout
        self._shown = shown_url(self.url)
        try:
            key = clean_key(os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE)
        except ValueError as error:
            raise OptionError(f"{error}.") from None
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            address = httpx.URL(self.url)
            if address.scheme not in ("http", "https") or not address.host:
                raise ValueError("it does not begin with http:// or https:// and a host")
            self._client = new_client(timeout, headers=headers)
        except (httpx.InvalidURL, ValueError) as error:
            raise OptionError(
                f"--url {self._shown} is no address ({shown(str(error))}); give one such as http://127.0.0.1:8000/v1"
            ) from None

    def check(self) -> None:
        """Make sure at the start that a server answers and knows the model.

        Raises:
            OptionError: no server there, or another model.
        """
        response = self._attempt("GET", "/models", None)
        if response.status_code != 200:
            return  # not every server lists its models
        try:
            names = [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError):
            return
        if names and self.model not in names:
            listed = shown(", ".join(names), 1000)
            raise OptionError(f'{self._shown} serves no model "{self.model}"; give --model one of {listed}')

    def reply(self, body: Mapping[str, Any]) -> Reply:
        """Return the answer to one chat request.

        Raises:
            PromptTooLongError: the server says so.
            DataError: the server refuses the request or answers with something else.
            OptionError: the server is gone or refuses the key.
        """
        response = self._attempt("POST", "/chat/completions", dict(body) | {"model": self.model})
        said = shown(response.text, _SHOWN)
        if response.status_code == 400 and _TOO_LONG.search(said):
            raise PromptTooLongError(said)
        if response.status_code in (401, 403):
            raise OptionError(f"{self._shown} refuses the key ({response.status_code}); set {KEY_VARIABLE}")
        if response.status_code != 200:
            kind = RefusedError if response.status_code in (400, 422) else DataError
            raise kind(f"{self._shown} refuses a request ({response.status_code}): {said}")
        try:
            data = response.json()
            message, finish = data["choices"][0]["message"], data["choices"][0].get("finish_reason")
            if not isinstance(message, dict):
                raise TypeError
            usage = data.get("usage") or {}
            tokens = count_of(usage.get("completion_tokens")) or len(message_text(message)) // 4 + 1
            prompt_tokens = count_of(usage.get("prompt_tokens")) or 0
        except (ValueError, LookupError, TypeError, AttributeError):
            raise DataError(f"{self._shown} gives no chat completion but: {said}") from None
        return Reply(message, tokens, prompt_tokens, finish if isinstance(finish, str) else "")

    def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        """Make one request, repeated while its failure may pass."""
        pause, why = _FIRST_PAUSE, ""
        for attempt in range(self._retries + 1):
            try:
                response = exchange(self._client, method, self.url + path, body=body, seconds=self._timeout)
                if response.status_code not in _PASSING:
                    return response
                why = f"status {response.status_code}: {shown(response.text, _SHOWN)}"
                told = _seconds(response.headers.get("retry-after"))
            except httpx.HTTPError as error:
                why, told = shown(str(error)) or type(error).__name__, None
            except ForeignError as error:
                why, told = str(error), None
            except httpx.InvalidURL as error:
                raise OptionError(f"--url {self._shown} is no address ({shown(str(error))}); correct it") from None
            if attempt < self._retries:
                self._ending.wait(min(told if told is not None else pause, _LONGEST_PAUSE))
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise OptionError(
            f"{self._shown} cannot be reached ({why}; {self._retries + 1} attempts); start the server (`vllm serve "
            "DIR`) or correct --url"
        )

    def end(self) -> None:
        """Make no more pauses: what fails from now on fails at once."""
        self._ending.set()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


class ServerBackend:
    """Questions for a server, singly or as dialogues with a tool server.

    Args:
        options: of the run.

    Raises:
        OptionError: an unknown template, or no server there.
    """

    def __init__(self, options: InferOptions) -> None:
        self._options = options
        self._template = template_named(options.template) if options.template else None
        self._server = ChatServer(options.url, options.model, options.retries, options.timeout)
        self._server.check()
        self._tools = HttpToolServer(options.tool_server, options.timeout) if options.tool_server else None
        self._ends: Counter[str] = Counter()
        self._takes_dots = True

    def identity(self) -> dict[str, Any]:
        """Return the model's name, as a server does not tell its weights."""
        tools = {"tool_server": shown_url(self._options.tool_server)} if self._tools else {}
        return {"served_model": self._options.model} | tools

    def prompt(self, question: Question) -> Prompt:
        """Return messages and tools of one question, or messages in the words of the template."""
        if self._template is not None:
            return Prompt(question, messages=styled_messages(question, self._template))
        messages = chat_messages(question, arguments_as_text=True)
        return Prompt(question, messages=messages, tools=openai_tools(question))

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, Any]]:
        """Return each prompt with its answer, in the order in which they finish."""
        with Asking(self._options.concurrency) as pool:
            running: dict[Future[Any], Prompt] = {}
            try:
                for prompt in prompts:
                    running[pool.submit(self.answer, prompt)] = prompt
                    if len(running) >= 2 * self._options.concurrency:
                        yield from self._finished(running)
                while running:
                    yield from self._finished(running)
            except ExtError:
                self._server.end()
                for future in running:
                    future.cancel()
                wait(running)  # what is under way and succeeds is kept
                for future, prompt in running.items():
                    if not future.cancelled() and future.exception() is None:
                        yield prompt, self._told(future.result())
                raise
            finally:
                self._server.end()

    def close(self) -> None:
        """Close all connections; tell how the dialogues ended."""
        if self._ends:
            counts = ", ".join(f"{end} {count}" for end, count in self._ends.most_common())
            print(f"The dialogues ended by: {counts}", file=sys.stderr)
        if not self._takes_dots:
            print("The server takes no dots in names of tools: they were sent as _ and turned back.", file=sys.stderr)
        self._server.close()
        if self._tools is not None:
            if self._tools.failures:
                print(f"The tool server: {self._tools.summary()}", file=sys.stderr)
            self._tools.close()

    def _finished(self, running: dict[Future[Any], Prompt]) -> Iterator[tuple[Prompt, Any]]:
        """Return the answers that are ready; waits for one.

        Those beside a failed one are handed over before its error is.
        """
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        failure = None
        for future in done:
            prompt = running.pop(future)
            if (error := future.exception()) is not None:
                failure = failure or error
            else:
                yield prompt, self._told(future.result())
        if failure is not None:
            raise failure

    def _told(self, answer: Any) -> Any:
        """Return an answer as `Backend.answers` hands it over."""
        if not isinstance(answer, Episode):
            return answer
        self._ends[answer.end] += 1
        return answer.answer, answer.messages

    def answer(self, prompt: Prompt) -> Any:
        """Return the answer to one prompt, as `answers` does, or the episode of a dialogue.

        Raises:
            ExtError: names the question.
        """
        try:
            if self._tools is None:
                message = self._reply(self._body(prompt.messages, prompt.tools)).message
                text = message_text(message)
                row = benchmark_of(prompt.question.benchmark)
                keeps = row is not None and row.keeps_calls and message.get("tool_calls")
                return (text, [*prompt.messages, message]) if keeps else text
            limits = Limits(self._options.turns, self._options.turn_seconds, self._options.turn_tokens)
            return dialogue(self._chat(prompt), self._tools, prompt.messages, limits)
        except PromptTooLongError:
            return None
        except ExtError as error:
            raise type(error)(f"{prompt.question.id}: {error.message}") from None

    def _reply(self, body: dict[str, Any]) -> Reply:
        """Return the answer to a request; tools with dots in their names go by other names where these are refused."""
        names = SentNames(tool["function"]["name"] for tool in body.get("tools", ()))
        refusal = None
        if self._takes_dots or not names.changed:
            try:
                return self._server.reply(body)
            except RefusedError as error:
                if not names.changed:
                    raise
                refusal = error
        try:
            other = {"messages": names.messages(body["messages"]), "tools": names.tools(body["tools"])}
            reply = self._server.reply(body | other)
        except RefusedError as error:
            raise refusal or error from None
        self._takes_dots = False
        return Reply(names.reply(reply.message), reply.tokens, reply.prompt_tokens)

    def _chat(self, prompt: Prompt) -> ToolChat | TextChat:
        def ask(messages: Sequence[Mapping[str, Any]], tokens: int) -> tuple[Mapping[str, Any], int]:
            body = self._body(messages, prompt.tools) | {"max_tokens": min(tokens, self._options.max_new_tokens)}
            reply = self._reply(body)
            return reply.message, reply.tokens

        return ToolChat(ask) if self._template is None else TextChat(ask, self._template.style)

    def _body(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        options = self._options
        body: dict[str, Any] = {
            "messages": list(messages),
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
        }
        if options.temperature:
            body |= {"top_p": options.top_p, "seed": options.seed}
        return body | ({"tools": list(tools)} if tools else {})
