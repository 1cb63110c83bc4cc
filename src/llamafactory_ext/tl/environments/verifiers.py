"""Environments of the package `verifiers` (before 0.4), where it is installed.

`tl_environment: llamafactory_ext.tl.environments.verifiers:verifiers`, with
`tl_environment_args: '{"name": "my-env", "arguments": {}}'`. The environment runs its own rollout, and asks for each
turn as it would ask a model's server. Its rubric gives the reward; what counts in it, from 0 to 1, are the checks.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ...errors import OptionError
from .protocol import ANSWER, TOKENS, Action, Step
from .records import final_text, turns_of

_LOADED: dict[str, Any] = {}
_LOCK = threading.Lock()
_LOOPS: list[asyncio.AbstractEventLoop] = []
MODEL, NAME = "policy", "verifiers"
_INSTALL = "pip install 'verifiers<0.4'"


class VerifiersWorld:
    """One rollout of an environment, which waits where it wants a turn of the policy.

    Args:
        package: verifiers.
        environment: what `load_environment` returned.
    """

    def __init__(self, package: Any, environment: Any) -> None:
        self._package, self._environment = package, environment
        self._told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._client = _client(package, self._told)
        self._seen = 0

    def reset(self, record: Mapping[str, Any]) -> None:
        """See `Environment`."""
        messages = [{"role": "system", "content": record["system"]}] if record.get("system") else []
        for role, text in turns_of(record):
            if role in ("assistant", "function"):
                break
            messages.append({"role": "user", "content": text})
        asked: dict[str, Any] = {
            "prompt": messages,
            "example_id": record.get("id", 0),
            **({"task": record["task"]} if record.get("task") else {}),
            "answer": record["answer"] if "answer" in record else final_text(record),
            "info": record.get("info") or {},
        }
        asyncio.run_coroutine_threadsafe(self._play(asked), _loop())
        kind, value = self._told.get()
        if kind != "asks":
            raise _failure(value)
        self._seen = len(value)

    def step(self, action: Action) -> Step:
        """See `Environment`."""
        self._client.give(self._response(action))
        kind, value = self._told.get()
        if kind == "asks" and action.end:  # the environment would go on, but a limit ends the episode
            self._client.give(self._package.OverlongPromptError("a limit ended the episode"))
            kind, value = self._told.get()
        if kind == "asks":
            new, self._seen = value[self._seen + 1 :], len(value)
            return Step([_text(message) for message in new])
        if kind == "failed":
            raise _failure(value)
        if value.get("error") is not None:
            raise _failure(value["error"])
        return Step("", True, value["reward"], _checks(self._environment.rubric, value.get("metrics") or {}))

    async def _play(self, asked: dict[str, Any]) -> None:
        try:
            state = await self._environment.rollout(asked, self._client, MODEL, {})
            await self._environment.rubric.score_rollout(state)
        except BaseException as error:
            self._told.put(("failed", error))
        else:
            self._told.put(("ended", state))

    def _response(self, action: Action) -> Any:
        types = self._package.types
        made = [
            types.ToolCall(id=f"call_{place}", name=call.name, arguments=json.dumps(dict(call.arguments)))
            for place, call in enumerate(action.calls)
        ]
        cut = action.end == TOKENS
        reason = "length" if cut else "stop" if action.end == ANSWER or not made else "tool_calls"
        message = types.ResponseMessage(
            content=action.text, tool_calls=made or None, finish_reason=reason, is_truncated=cut
        )
        return types.Response(id="turn", created=0, model=MODEL, usage=None, message=message)


def verifiers(name: str, arguments: Mapping[str, Any] | None = None) -> VerifiersWorld:
    """Return one rollout of an environment; what `tl_environment` names.

    Args:
        name: of the environment, as `verifiers.load_environment` takes it.
        arguments: of its `load_environment`.

    Raises:
        OptionError: the package is not installed, or is one of another interface.
    """
    return VerifiersWorld(*_loaded(name, dict(arguments or {})))


def records_of(name: str, arguments: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the data set of an environment as records of a sharegpt file, to be written as JSON.

    Raises:
        OptionError: as `verifiers`.
    """
    _, environment = _loaded(name, dict(arguments or {}))
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in environment.tool_defs or ()
    ]
    found = []
    for place, row in enumerate(environment.get_dataset()):
        prompt = [message for message in row["prompt"] if message["role"] in ("system", "user")]
        said = "\n\n".join(_text(message) for message in prompt if message["role"] == "user")
        system = "\n\n".join(_text(message) for message in prompt if message["role"] == "system")
        turns = [{"from": "human", "value": said}, {"from": "gpt", "value": str(row.get("answer", ""))}]
        more = {name: row[name] for name in ("answer", "info", "task") if name in row}
        found.append(
            {"id": row.get("example_id", place), "conversations": turns, "system": system, "tools": json.dumps(tools)}
            | more
        )
    return found


def _loaded(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Return the package and an environment, loaded once in a process."""
    key = json.dumps([name, arguments], sort_keys=True, default=str)
    with _LOCK:
        package = _package()
        if key not in _LOADED:
            _LOADED[key] = package.load_environment(name, **arguments)
        return package, _LOADED[key]


def _package() -> Any:
    """Return what has `load_environment`: the package, or its part `legacy` in 0.3.

    Raises:
        OptionError: nothing has, or it lacks a package that it needs.
    """
    failures: list[Exception] = []
    for name in (NAME, f"{NAME}.legacy"):
        try:
            package = importlib.import_module(name)
            if callable(package.load_environment) and package.Client:
                return package
        except (ImportError, AttributeError) as error:
            failures.append(error)
    first = failures[0]
    if isinstance(first, ImportError):
        raise OptionError(f"the package verifiers cannot be imported ({first}); install it: {_INSTALL}")
    lacks = next((one.__cause__ for one in failures if isinstance(one.__cause__, ImportError)), None)
    if lacks is not None:
        raise OptionError(f"verifiers cannot load environments ({lacks}); install what it needs: {_INSTALL}")
    version = getattr(sys.modules[NAME], "__version__", "")
    raise OptionError(
        f"verifiers {version} has no load_environment: its environments drive a model's server by themselves; install "
        f"an earlier one: {_INSTALL}"
    )


def _checks(rubric: Any, metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics from 0 to 1 that are part of the reward; the package adds counters of turns and calls."""
    weights = dict(zip(rubric._get_reward_func_names(), rubric._get_reward_weights(), strict=True))
    counted = {str(name): one for name, one in metrics.items() if weights.get(name)}
    return {name: float(one) for name, one in counted.items() if isinstance(one, int | float) and 0 <= one <= 1}


def _client(package: Any, told: queue.SimpleQueue[tuple[str, Any]]) -> Any:
    """Return a client of verifiers whose answers are the policy's turns."""

    class Waiting(package.Client):  # type: ignore[misc]
        __abstractmethods__: frozenset[str] = frozenset()

        async def get_response(self, prompt: Any, *_: Any, **__: Any) -> Any:
            self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            told.put(("asks", list(prompt)))
            response = await self.answer
            if isinstance(response, BaseException):
                raise response
            return response

        def give(self, response: Any) -> None:
            answer = self.answer
            answer.get_loop().call_soon_threadsafe(answer.set_result, response)

        def setup_client(self, config: Any) -> Any:
            return None

        async def close(self) -> None:
            return None

    Waiting.__abstractmethods__ = frozenset()
    return Waiting(None)


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all rollouts, in a thread of its own."""
    with _LOCK:
        if not _LOOPS:
            made = asyncio.new_event_loop()
            threading.Thread(target=made.run_forever, daemon=True).start()
            _LOOPS.append(made)
        return _LOOPS[0]


def _failure(error: Any) -> Exception:
    """Return what ended a rollout as an exception, which is counted as one."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"the rollout ended early ({error!r})"[:300])


def _text(message: Any) -> str:
    content = message["content"] if isinstance(message, Mapping) else message.content
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, Mapping) else vars(part) for part in content or ()]
    return "\n".join(str(part["text"]) for part in parts if "text" in part)
