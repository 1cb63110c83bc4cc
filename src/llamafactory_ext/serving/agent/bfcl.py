"""BFCL's multi_turn tasks, acted by a model: the user's wishes one after the other, its calls executed in the sandbox.

As the published inference (gorilla.cs.berkeley.edu) has it: a wish ends with the first reply without a call; after 21
replies with calls the dialogue ends; functions that were held back come with a turn of their own. The prompt is the
chat template's, with the tools where it writes tools; published prompts for models without one are not repeated here.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ...errors import CallParseError, DataError, ExtError, OptionError
from ...foreign import Asking
from ...metrics.answers import message_calls
from ...metrics.benchmarks.bfcl_multi_turn.checkout import WORKER, Checkout, find_checkout
from ...metrics.benchmarks.bfcl_multi_turn.reading import as_stated
from ...metrics.benchmarks.bfcl_multi_turn.score import is_long
from ...metrics.references import Item, read_references
from ...metrics.sandbox import SECONDS_TO_START
from ...metrics.sandbox import Limits as SandboxLimits
from ...metrics.sandbox.served import EndedError, Served
from ...templates.messages import RESULT_SEPARATOR, Message
from ...toolcalls import Tool, ToolCall, described_tool, detect_turn
from ...toolcalls.feedback.parts import content_text
from ...toolcalls.thoughts import split_thought
from ..infer.answers import AnswerFile
from ..infer.identity import settings_hash
from ..infer.options import InferOptions
from ..infer.prompts import Prompt
from ..infer.questions import Question
from ..infer.run import ask, backend_of, settings_of
from .dialogue import Limits, PromptTooLongError, Turn, dialogue

BENCHMARK: Final = "bfcl_multi_turn"
MOST_STEPS: Final = 21  # of a turn: the published loop leaves behind the twentieth repetition
CALL_SECONDS: Final = 30
_SANDBOX: Final = SandboxLimits(seconds=3600, memory_mb=2048, disk_mb=64)
_TURN: Final = Limits(turns=MOST_STEPS, seconds=float("inf"), tokens=1 << 62)
_UNREAD: Final = ("tool_server", "turns", "turn_seconds", "turn_tokens", "dataset")

Reply = Callable[[Prompt], Any]
"""An answer as backends give it: a text, (text, messages), or None where the prompt leaves no room for one."""


class ModelChat:
    """A model in one task; see `dialogue.Chat`. The template writes each prompt anew from the whole dialogue.

    Args:
        write: writes the prompt of a question.
        reply: answers it.
        key: names the task.
        tools: that may be called now.
    """

    def __init__(self, write: Callable[[Question], Prompt], reply: Reply, key: str, tools: Sequence[Tool]) -> None:
        self._write, self._reply, self._key, self._tools = write, reply, key, tuple(tools)

    def turn(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> Turn:
        """Return the next reply; calls that cannot be read are none, as published.

        Raises:
            PromptTooLongError: the dialogue leaves no room for a reply.
        """
        system = "\n\n".join(str(one["content"]) for one in messages if one["role"] == "system")
        question = Question(self._key, BENCHMARK, tuple(spoken(messages)), system, self._tools)
        answer = self._reply(self._write(question))
        if answer is None:
            raise PromptTooLongError("the dialogue leaves no room for a reply")
        text, whole = answer if isinstance(answer, tuple) else (answer, None)
        try:
            if whole is not None and whole[-1].get("tool_calls"):
                calls, said = message_calls(whole[-1]), content_text(whole[-1].get("content"))
            else:
                found = detect_turn(text, self._tools)
                calls, said = [one.call for one in found.calls], text[: found.start] if found.calls else text
        except CallParseError:
            calls, said = [], text
        said = split_thought(said)[1].strip()
        made = [_written(call, f"call_{len(messages)}_{place}") for place, call in enumerate(calls)]
        message = {"role": "assistant", "content": said} | ({"tool_calls": made} if made else {})
        stated = tuple((one["id"], call) for one, call in zip(made, calls, strict=True))
        return Turn(message, message, text, stated, 0)

    def feedback(self, answered: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
        """Return one message for each call."""
        return [{"role": "tool", "tool_call_id": key, "content": text} for key, text in answered]


def spoken(messages: Sequence[Mapping[str, Any]]) -> Iterator[Message]:
    """Return OpenAI's messages, the system's aside, as our templates take them; results in a row become one turn."""
    results: list[str] = []
    for message in [*messages, {"role": "end"}]:
        if message["role"] == "tool":
            results.append(str(message["content"]))
            continue
        if results:
            yield Message("observation", RESULT_SEPARATOR.join(results))
            results = []
        if message["role"] == "user":
            yield Message("user", str(message["content"]))
        elif message["role"] == "assistant":
            stated = [one["function"] for one in message.get("tool_calls", ())]
            calls = [{"name": one["name"], "arguments": json.loads(one["arguments"])} for one in stated]
            before = f"{message['content']}\n" if message["content"] and calls else message["content"]
            text = f"{before}{json.dumps(calls, ensure_ascii=False)}" if calls else before
            yield Message("function" if calls else "assistant", text)


def _written(call: ToolCall, key: str) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": key, "type": "function", "function": {"name": call.name, "arguments": arguments}}


class Apis:
    """The API classes of a task, in the sandbox; see `tools.ToolServer`."""

    def __init__(self, item: Item, checkout: Checkout) -> None:
        classes = item.record["involved_classes"]
        state = {"config": item.record["initial_config"], "long_context": is_long(item)}
        self._job = checkout.job(classes) | state
        self._program = Served(WORKER.read_text(encoding="utf-8"), "step", _SANDBOX, checkout.readable)
        try:
            self._program.call(self._job, [], seconds=SECONDS_TO_START)  # loads the classes
        except EndedError as error:
            self.close()
            raise DataError(f"{checkout.root}: the checkout's API classes could not be run ({error}).") from None
        except BaseException:
            self.close()
            raise

    def call(self, call: ToolCall) -> str:
        """Return what a call returns; where it ends the sandbox, so do all behind it."""
        try:
            (told,) = self._program.call(self._job, [as_stated(call)], seconds=CALL_SECONDS)
        except EndedError as error:
            return json.dumps({"error": f"the tools have ended: {error}"})
        return str(told)

    def close(self) -> None:
        """End the sandbox."""
        self._program.__exit__(None, None, None)


@dataclass(frozen=True)
class Task:
    """A task with what its turns say and offer.

    Attributes:
        item: as published.
        messages: of the user, by turn.
        tools: that may be called, by turn.
    """

    item: Item
    messages: tuple[tuple[Mapping[str, Any], ...], ...]
    tools: tuple[tuple[Tool, ...], ...]

    @property
    def prompt(self) -> Prompt:
        """All that the user says and all tools: what the answer rests on."""
        said = [message for turn in self.messages for message in turn]
        question = Question(self.item.id, BENCHMARK, tuple(spoken(said)), tools=self.tools[-1])
        return Prompt(question, messages=[dict(message) for message in said], tools=[_offered(self.tools)])


def _offered(tools: Sequence[Sequence[Tool]]) -> dict[str, Any]:
    """Return the names of the tools by turn, for the hash of a task's prompt."""
    return {"tools": [[tool.name for tool in turn] for turn in tools]}


def task_of(item: Item, checkout: Checkout) -> Task:
    """Return a task; functions that it holds back come with the turn that names them."""
    record = item.record
    held: Mapping[str, Sequence[str]] = record.get("missed_function") or {}
    functions = {one["name"]: described_tool(one) for one in checkout.functions(record["involved_classes"])}
    messages, tools = [], []
    for number, said in enumerate(record["question"]):
        later = {name for turn, names in held.items() if int(turn) > number for name in names}
        tools.append(tuple(tool for name, tool in functions.items() if name not in later))
        messages.append(tuple(said) or ({"role": "user", "content": checkout.updated},))
    return Task(item, tuple(messages), tuple(tools))


class Acting:
    """Tasks acted side by side.

    Args:
        tasks: by id.
        checkout: with the API classes.
        write: writes a prompt.
        reply: answers it, in many threads.
        most: dialogues at a time.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        checkout: Checkout,
        write: Callable[[Question], Prompt],
        reply: Reply,
        most: int,
    ) -> None:
        self._tasks, self._checkout, self._write, self._reply, self._most = tasks, checkout, write, reply, most

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, Any]]:
        """Return each task's prompt with (trajectory, messages) in the order in which they finish."""
        failure: ExtError | None = None
        with Asking(self._most) as pool:
            running = {pool.submit(self.act, self._tasks[prompt.question.id]): prompt for prompt in prompts}
            while running:
                done: set[Future[Any]]
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    prompt = running.pop(future)
                    if future.cancelled():
                        continue
                    error = future.exception()
                    if isinstance(error, ExtError):
                        failure = failure or error  # what is under way and succeeds is kept
                        for other in running:
                            other.cancel()
                    elif error is not None:
                        raise error
                    else:
                        yield prompt, future.result()
        if failure is not None:
            raise failure

    def act(self, task: Task) -> tuple[str, list[Mapping[str, Any]]]:
        """Return a trajectory, in BFCL's own form as JSON, and all messages."""
        messages: list[Mapping[str, Any]] = []
        turns: list[list[Any]] = []
        apis = Apis(task.item, self._checkout)
        try:
            for said, tools in zip(task.messages, task.tools, strict=True):
                messages += said
                before = len(messages)
                chat = ModelChat(self._write, self._reply, task.item.id, tools)
                try:
                    episode = dialogue(chat, apis, messages, _TURN)
                except PromptTooLongError:
                    break
                messages = list(episode.messages)
                turns.append([_step(one) for one in messages[before:] if one["role"] == "assistant"])
                if episode.end not in ("answer", "finish"):
                    break
        finally:
            apis.close()
        return json.dumps(turns, ensure_ascii=False), messages


def _step(message: Mapping[str, Any]) -> Any:
    calls = message.get("tool_calls")
    if not calls:
        return message["content"]
    return [{call["function"]["name"]: call["function"]["arguments"]} for call in calls]


class Batches:
    """Join prompts of dialogues that run side by side: whoever asks first asks for all that wait.

    Args:
        answers: of a backend, for several prompts with ids of their own.
        most: prompts at a time.
    """

    def __init__(self, answers: Callable[[Sequence[Prompt]], Iterator[tuple[Prompt, Any]]], most: int) -> None:
        self._answers, self._most = answers, most
        self._waiting: deque[tuple[Prompt, Future[Any]]] = deque()
        self._lock = threading.Lock()

    def __call__(self, prompt: Prompt) -> Any:
        """Return the answer to a prompt."""
        own: Future[Any] = Future()
        self._waiting.append((prompt, own))
        with self._lock:
            while not own.done():
                self._ask([self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))])
        return own.result()

    def _ask(self, batch: Sequence[tuple[Prompt, Future[Any]]]) -> None:
        left = {prompt.question.id: future for prompt, future in batch}
        try:
            for prompt, answer in self._answers([prompt for prompt, _ in batch]):
                left.pop(prompt.question.id).set_result(answer)
        except BaseException as error:
            for future in left.values():
                future.set_exception(error)


def act(options: InferOptions) -> Path:
    """Let a model act in all tasks of a checkout of BFCL, `--source`; the same command goes on with a file.

    Raises:
        OptionError: options that have no meaning here, no checkout, or no isolation.
    """
    problems = [
        f"--{part.name} has no effect with {BENCHMARK}; leave it out"
        for part in fields(options)
        if part.name in _UNREAD and getattr(options, part.name) != part.default
    ]
    if options.backend == "vllm":
        problems.append(
            "an agent acts turn after turn; give --backend hf, or serve the model and give --backend openai"
        )
    if problems:
        raise OptionError.listing(f"infer --benchmark {BENCHMARK}:", problems)
    references = read_references(BENCHMARK, Path(options.source))
    checkout = find_checkout(None, references.files[0].parent)
    items = references.items[: options.limit] if options.limit else references.items
    tasks = {item.id: task_of(item, checkout) for item in items}
    backend: Any = backend_of(options)
    try:
        local = options.backend == "hf"
        most = options.batch_size if local else options.concurrency
        reply = Batches(backend.answers, most) if local else backend.answer
        prompts = [task.prompt for task in tasks.values()]
        settings = backend.identity() | settings_of(options, BENCHMARK) | {"references": references.sha256}
        with AnswerFile(Path(options.out), settings, settings_hash(settings), prompts) as file:
            ask(Acting(tasks, checkout, backend.prompt, reply, most), prompts, file, file.notes)
    finally:
        backend.close()
    return Path(options.out)
