"""Dialogues with tools: both ways of calling, every limit, and failures that the model gets to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.serving.agent.dialogue import Episode, Limits, PromptTooLongError, TextChat, ToolChat, dialogue
from llamafactory_ext.templates.styles import API_BANK, QWEN25, TOOLALPACA
from llamafactory_ext.toolcalls import ToolCall
from serving.asking import ask, lines
from serving.stub_server import call, completion, serving

pytestmark = pytest.mark.fast

OPENING = [{"role": "user", "content": "How is Bonn?"}]


class Weather:
    """A tool server inside the test."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    def call(self, call: ToolCall) -> str:
        self.calls.append(call)
        return json.dumps({"weather": "sun"})


class Script:
    """A model that says given messages, then repeats the last one."""

    def __init__(self, *messages: Mapping[str, Any] | str, tokens: int = 5) -> None:
        self._messages = [{"content": said} if isinstance(said, str) else said for said in messages]
        self._tokens = tokens
        self.seen: list[Sequence[Mapping[str, Any]]] = []
        self.room: list[int] = []

    def __call__(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> tuple[Mapping[str, Any], int]:
        self.seen.append(list(messages))
        self.room.append(tokens)
        return self._messages[min(len(self.seen), len(self._messages)) - 1], self._tokens


def calling(name: str = "weather", arguments: Any = None) -> dict[str, Any]:
    return {"content": "", "tool_calls": [call(name, {"city": "Bonn"} if arguments is None else arguments)]}


def play(script: Script, tools: Weather | None = None, **limits: Any) -> Episode:
    return dialogue(ToolChat(script), tools or Weather(), OPENING, Limits(**limits))


def test_calls_are_executed_until_the_model_answers() -> None:
    tools = Weather()
    two = {"content": "Both.", "tool_calls": [call("weather", {"city": "Bonn"}, "a"), call("time", {}, "b")]}
    script = Script(two, calling(), "Sunny.")
    episode = play(script, tools)
    assert (episode.answer, episode.end, episode.turns, episode.tokens) == ("Sunny.", "answer", 3, 15)
    assert [made.name for made in tools.calls] == ["weather", "time", "weather"]
    roles = [message["role"] for message in episode.messages]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [message.get("tool_call_id") for message in episode.messages[2:4]] == ["a", "b"]
    assert script.seen[-1] == list(episode.messages[:-1])


def test_nine_turns_are_the_most() -> None:
    script = Script(calling())
    episode = play(script)
    assert (episode.end, episode.answer, episode.turns) == ("turns", "", 9)
    assert len(script.seen) == 9


def test_tokens_are_counted_down() -> None:
    script = Script(calling(), tokens=40)
    assert play(script, tokens=100).end == "tokens"
    assert script.room == [100, 60, 20]


def test_time_ends_a_dialogue() -> None:
    seconds = iter(range(0, 1000, 10))
    episode = dialogue(
        ToolChat(Script(calling())), Weather(), OPENING, Limits(seconds=25), clock=lambda: next(seconds)
    )
    assert (episode.end, episode.turns) == ("seconds", 3)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"answer": "Sunny."}, "Sunny."),
        ({"text": "Sunny.", "answer": "Yes"}, "Yes"),
        ({"a": 1, "b": 2}, '{"a": 1, "b": 2}'),
    ],
)
def test_the_tool_finish_ends_a_dialogue(arguments: dict[str, Any], answer: str) -> None:
    tools = Weather()
    episode = play(Script(calling("finish", arguments)), tools)
    assert (episode.end, episode.answer) == ("finish", answer)
    assert tools.calls == []


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"'])
def test_a_call_that_cannot_be_read_is_told_the_model(arguments: str) -> None:
    tools = Weather()
    episode = play(Script(calling(arguments=arguments), "Sorry."), tools)
    assert episode.answer == "Sorry."
    assert "The call cannot be read" in episode.messages[2]["content"]
    assert tools.calls == []


def test_a_full_context_ends_a_dialogue() -> None:
    class Full(Script):
        def __call__(self, messages: Sequence[Mapping[str, Any]], tokens: int) -> tuple[Mapping[str, Any], int]:
            if len(messages) > 2 or not messages:
                raise PromptTooLongError("full")
            return super().__call__(messages, tokens)

    assert play(Full(calling())).end == "context"
    with pytest.raises(PromptTooLongError):
        dialogue(ToolChat(Full(calling())), Weather(), [], Limits())


def test_calls_in_a_template_s_text() -> None:
    tools = Weather()
    said = 'Thought: I look.\nAction: weather\nAction Input: {"city": "Bonn"}'
    script = Script(said, "Thought: done\nResponse: Sunny.")
    episode = dialogue(TextChat(script, TOOLALPACA), tools, OPENING, Limits())
    assert (episode.answer, episode.end) == ("Sunny.", "answer")
    assert tools.calls == [ToolCall("weather", {"city": "Bonn"})]
    assert script.seen[1][1:] == [
        {"role": "assistant", "content": said},
        {"role": "tool", "content": '{"weather": "sun"}'},
    ]
    (made,) = episode.messages[1]["tool_calls"]
    assert made["function"] == {"name": "weather", "arguments": '{"city": "Bonn"}'}


@pytest.mark.parametrize(
    ("style", "said", "count"),
    [
        (API_BANK, "API-Request: [weather(city='Bonn')]", 1),
        (QWEN25, '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>', 1),
        (QWEN25, "<tool_call>\n{broken\n</tool_call>", 0),
        (TOOLALPACA, "Action: weather\nAction Input: {broken", 0),
    ],
)
def test_text_formats(style: Any, said: str, count: int) -> None:
    tools = Weather()
    episode = dialogue(TextChat(Script(said, "Sunny."), style), tools, OPENING, Limits())
    assert episode.answer == "Sunny."
    assert len(tools.calls) == count
    assert ("cannot be read" in episode.messages[2]["content"]) == (count == 0)


@pytest.mark.parametrize("arguments", ["", " ", None, {}])
def test_no_arguments_are_empty_ones(arguments: Any) -> None:
    tools = Weather()
    made = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    assert play(Script({"content": None, "tool_calls": [made]}, "Sunny."), tools).answer == "Sunny."
    assert tools.calls == [ToolCall("weather")]


@pytest.mark.parametrize("style", [None, QWEN25])
def test_content_parts_are_text(style: Any) -> None:
    said = {"content": [{"type": "text", "text": "Sun"}, {"type": "text", "text": "ny."}]}
    chat = TextChat(Script(said), style) if style else ToolChat(Script(said))
    assert dialogue(chat, Weather(), OPENING, Limits()).answer == "Sun\nny."


@pytest.mark.parametrize("calls", [{"a": 1}, "f", [None, 3], [{}], [{"function": "f"}], [{"function": {"name": 3}}]])
def test_calls_of_a_wrong_type_end_no_run(calls: Any) -> None:
    assert play(Script({"content": "x", "tool_calls": calls}, "x")).answer == "x"


@pytest.mark.parametrize("template", ["", "tl_qwen25"])
def test_infer_with_a_tool_server(tmp_path: Path, template: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways from the command's side: three questions, each with one call and an answer."""

    def model(path: str, body: Any) -> Any:
        if not body:
            return 404, ""
        assert ("tools" in body) == (not template)
        if body["messages"][-1]["role"] == "tool":
            return completion(f"It is {body['messages'][-1]['content']}.")
        made = {"name": "weather", "arguments": {"city": "Bonn"}}
        if template:
            return completion(f"<tool_call>\n{json.dumps(made)}\n</tool_call>")
        return completion("", [call(**made)])

    with serving(model) as stub, serving(lambda path, body: (200, {"result": "sun"})) as tools:
        options = {"model": "stub", "backend": "openai", "url": f"{stub.url}/v1", "template": template}
        found = ask(tmp_path, 3, **options, tool_server=tools.url, retries=0)
    assert {record["prediction"] for record in found} == {"It is sun."}
    assert "The dialogues ended by: answer 3" in capsys.readouterr().err
    assert len(tools.requests) == 3
    for record in lines(tmp_path / "out.jsonl"):
        roles = [message["role"] for message in record["messages"]]
        assert roles[-4:] == ["user", "assistant", "tool", "assistant"]
        assert record["messages"][-3]["tool_calls"][0]["function"]["name"] == "weather"
    settings = json.loads((tmp_path / "out.jsonl.settings.json").read_text("utf-8"))
    assert (settings["turns"], settings["tool_server"]) == (9, tools.url)
