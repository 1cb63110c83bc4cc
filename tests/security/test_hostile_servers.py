"""Every client of a server against answers that no server should give: a result or one line, no secret, in time."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext import foreign
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.errors import ExtError, OptionError
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.served import served
from llamafactory_ext.foreign import shown, shown_url
from llamafactory_ext.metrics import judge as judge_module
from llamafactory_ext.metrics.judge import Judge, JudgeOptions
from llamafactory_ext.serving.agent.tools import HttpToolServer
from llamafactory_ext.serving.infer.server import KEY_VARIABLE, ChatServer
from llamafactory_ext.skintern.collect import collect
from llamafactory_ext.skintern.records import read_skintern_records
from llamafactory_ext.tl.environments.asking import Fault, begin, run_all, step_of
from llamafactory_ext.tl.environments.protocol import Action, Step
from llamafactory_ext.tl.environments.server import KINDS, GoneError, server, tools_of
from llamafactory_ext.tl.ppo.rollout.local import Sampling
from llamafactory_ext.tl.ppo.rollout.server import ServerRollout
from llamafactory_ext.toolcalls import ToolCall
from sampling import pairs
from security.hostile_server import ANSWERS, KEY, hostile

SECONDS = 1.0


def _judge(url: str, folder: Path) -> Any:
    options = replace(JudgeOptions.from_environment(), attempts=1)
    asked = Judge(options, folder / "log.jsonl", sleep=lambda _: None)
    return asked.ask("?"), asked.summary()


def _chat(url: str, folder: Path) -> Any:
    server = ChatServer(f"{url}/v1", "m", 0, SECONDS)
    try:
        server.check()
        reply = server.reply({"messages": []})
        return reply.message, reply.tokens
    finally:
        server.close()


def _tools(url: str, folder: Path) -> Any:
    server = HttpToolServer(url, SECONDS)
    try:
        return server.call(ToolCall("f", {"a": 1}))
    finally:
        server.close()


def _rollout(url: str, folder: Path) -> Any:
    rollout = ServerRollout(f"{url}/v1", SECONDS, folder, None, False, 1, "name")
    return rollout([[1, 2]], Sampling(max_tokens=8, end_ids=frozenset({2}), pad_id=0), 1)


def _teacher(url: str, folder: Path) -> Any:
    options = replace(JudgeOptions.from_environment("teacher"), attempts=1)
    found = Judge(options, folder / "log.jsonl", sleep=lambda _: None)
    (folder / "d.json").write_text('[{"instruction": "1 + 1?", "input": "", "output": "2"}]', encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"d": {"file_name": "d.json"}}', encoding="utf-8")
    entry = DataEntry.named("d", folder)
    return collect(entry, list(read_skintern_records(entry)), found.ask), found.summary()


def _episode(url: str, folder: Path) -> Any:
    server = ChatServer(f"{url}/v1", "m", 0, SECONDS)
    source = load()
    options = RunOptions(quiet=True)
    try:
        run(source, source.cases[:1], served(server, 8, 0.0, 1), {}, options, folder / "acts.jsonl")
    finally:
        server.close()
    return (folder / "acts.jsonl").read_text("utf-8")


def _environment(kind: str) -> Callable[[str, Path], Any]:
    record = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "Paris."}], "id": 1}
    turns = {**record, "turns": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Paris."}]}
    calls = (ToolCall("f", {"a": 1}), ToolCall("show", {"id": "../x"}))

    def ask(url: str, folder: Path) -> Any:
        place = f"{url}/openapi.json" if kind == "openapi" else url
        made = run_all([lambda: begin(lambda: server(place, kind, "judge", SECONDS), turns)], 8 * SECONDS)[0]
        said = [made]
        if not isinstance(made, Fault):
            for action in (Action("", calls), Action("Paris", end="answer")):
                said += run_all([lambda action=action: step_of(made.step(action))], 8 * SECONDS)  # type: ignore[misc]
        return [one if isinstance(one, Fault | Step) else None for one in said]

    return ask


def _listed(kind: str) -> Callable[[str, Path], Any]:
    def ask(url: str, folder: Path) -> Any:
        try:
            return tools_of(f"{url}/{kind}.json", kind=kind, seconds=SECONDS)
        except GoneError as error:
            raise OptionError(str(error)) from None

    return ask


CLIENTS: dict[str, Callable[[str, Path], Any]] = {
    "judge": _judge,
    "teacher": _teacher,
    "etapp run": _episode,
    **{f"environment {kind}": _environment(kind) for kind in KINDS},
    **{f"tools of {kind}": _listed(kind) for kind in ("openapi", "mcp")},
    "inference": _chat,
    "tool server": _tools,
    "rollout": _rollout,
}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "_SECONDS", SECONDS)
    monkeypatch.setattr(foreign, "MOST_BYTES", 4 << 20)
    monkeypatch.setattr(foreign.exchange, "__kwdefaults__", {**foreign.exchange.__kwdefaults__, "most_bytes": 4 << 20})
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.mark.parametrize(("name", "client"), pairs(list(ANSWERS), list(CLIENTS), 4))
def test_no_answer_harms(name: str, client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hostile(ANSWERS[name]) as url:
        for variable, value in (("URL", f"{url}/v1"), ("MODEL", "m"), ("KEY", KEY)):
            for who in ("JUDGE", "TEACHER"):
                monkeypatch.setenv(f"LLAMAFACTORY_EXT_{who}_{variable}", value)
        begun = time.monotonic()
        try:
            said = repr(CLIENTS[client](url, tmp_path))
            is_error = False
        except ExtError as error:
            said, is_error = error.message, True
    assert KEY not in said or not is_error
    assert "\x1b" not in said
    assert "\ud800" not in said
    assert not is_error or len(said) < 1500
    assert time.monotonic() - begun < 30 * SECONDS  # without a cap these never end
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 600_000  # kilobytes; the bomb's own are 400 MB
    for file in tmp_path.rglob("*"):
        assert KEY.encode() not in file.read_bytes() or not is_error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"bad key {KEY}", "bad key ***"),
        ("http://me:pass-word@host/v1?api_key=abcdef&x=1", "http://***@host/v1?api_key=***&x=1"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("a\x1b[31mb\r\nc\u202ed\x9be", "a [31mb c d e"),
        ("token=abc secret=def", "token=*** secret=***"),
    ],
)
def test_secrets_and_escapes_are_not_shown(text: str, expected: str) -> None:
    foreign.clean_key(KEY, "KEY")
    assert shown(text) == expected


def test_a_password_is_hidden_wherever_it_comes_up_again() -> None:
    assert shown_url("http://me:hidden-word@host/x") == "http://***@host/x"
    assert shown("the server says hidden-word") == "the server says ***"


@pytest.mark.parametrize("key", ["abc\ndef", "abc\rdef", "a b", "schlüssel", "a\x00b"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" not in key:
        monkeypatch.setenv(KEY_VARIABLE, key)
        with pytest.raises(OptionError, match="holds characters that cannot be sent") as error:
            ChatServer("http://127.0.0.1:1/v1", "m", 0, 1)
        assert key not in error.value.message
    with pytest.raises(ValueError, match="set it anew"):
        foreign.clean_key(key, "KEY")
    assert foreign.clean_key("  abc-def \n", "KEY") == "abc-def"
