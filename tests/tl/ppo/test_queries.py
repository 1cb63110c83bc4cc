"""Queries out of dialogues: which turns, which tools, and what cannot be used; and rewards of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.ppo.queries import declared_tools, make_queries
from llamafactory_ext.tl.ppo.rewards import shares, tool_reward, user_reward
from llamafactory_ext.tl.reward import Reward

FUNCTION = {"name": "Add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {}}}}
TOOLS = json.dumps([FUNCTION])


def call(value: int) -> dict[str, str]:
    return {"role": "function", "content": json.dumps({"name": "Add", "arguments": {"a": value}})}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def encode(messages: Sequence[Mapping[str, str]], system: str, tools: str) -> tuple[list[int], str]:
    return list(range(10 * (len(messages) - 1))), messages[-1]["content"]


def queries_of(*examples: dict[str, Any], **changes: Any) -> tuple[list[Any], Any]:
    options: dict[str, Any] = {"longest": 100, "last_only": False, "skip_bad": False} | changes
    return make_queries(examples, encode, tool_reward("paper", None), **options)


TRAJECTORY = {
    "_prompt": [
        turn("user", "Add."),
        call(1),
        turn("observation", '{"error": "missing required parameter b"}'),
        call(2),
        turn("observation", "3"),
        call(3),
        turn("observation", "6"),
    ],
    "_response": [turn("assistant", "It is 6.")],
    "_system": "",
    "_tools": TOOLS,
}


@pytest.mark.parametrize("given", [float("nan"), 10**400, 1e39, (1.0, {"part": 10**400})])
def test_rewards_that_are_no_numbers_of_float32_are_refused(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppo_rewards.length", lambda *_: given)
    with pytest.raises(OptionError, match="tl_reward_function=ppo_rewards:length returned"):
        user_reward("ppo_rewards:length")("text", "", [])


def test_every_call_that_was_no_error_is_a_query() -> None:
    queries, faults = queries_of(TRAJECTORY)
    assert [json.loads(query.reference)["arguments"]["a"] for query in queries] == [2, 3]
    assert [query.place for query in queries] == ["example 1, turn 4", "example 1, turn 6"]
    assert [tool.name for tool in queries[0].tools] == ["Add"]
    assert faults.lines() == []
    (last,), _ = queries_of(TRAJECTORY, last_only=True)
    assert last.place == "example 1, turn 6"


CALL = '{"name": "Add", "arguments": {"a": 2}}'


@pytest.mark.parametrize("tools", [TOOLS, ""])
@pytest.mark.parametrize("text", [CALL, f"<tool_call>{CALL}</tool_call>", f"<think>so</think>{CALL}", "Add(a=2)"])
def test_calls_of_an_assistants_turn_are_queries_too(text: str, tools: str) -> None:
    system = "" if tools else f"Tools:\n{TOOLS}"
    prompt = [turn("user", "Add."), turn("assistant", text), turn("observation", "3")]
    example = {"_prompt": prompt, "_response": [turn("assistant", "It is 3.")], "_system": system, "_tools": tools}
    queries, faults = queries_of(example)
    assert [(query.reference, query.place) for query in queries] == [(text, "example 1, turn 2")]
    assert faults.lines() == []
    prompt[1] = turn("assistant", text.replace("2", "").replace("(a=", "(2"))  # malformed
    _, faults = queries_of(example, TRAJECTORY, skip_bad=True)
    assert [line.rpartition(": ")[2] for line in faults.lines()] == ["1 of 3 (example 1, turn 2)"]


def test_tools_are_found_in_the_column_or_as_json_in_the_prompt() -> None:
    api_bank = {"apiCode": "Get", "description": "Gets.", "parameters": {"x": {"type": "str", "description": "X."}}}
    text = f"API descriptions:\n{json.dumps(api_bank)}\n{json.dumps(FUNCTION)}\nUser: {{'no': tool}} {{\"a\": 1}}"
    assert [tool.name for tool in declared_tools("", [text])] == ["Get", "Add"]
    assert [tool.name for tool in declared_tools(None, [json.dumps([FUNCTION, {"no": 1}])])] == ["Add"]
    wrapped = json.dumps([{"type": "function", "function": FUNCTION}])
    assert [tool.name for tool in declared_tools(wrapped, [text])] == ["Add"]
    with pytest.raises(DataError, match="no JSON"):
        declared_tools("[{", [])


def test_everything_that_cannot_be_used_is_counted_and_shown() -> None:
    examples = [
        TRAJECTORY | {"_prompt": [turn("user", "Add.")], "_response": [call(1)], "_tools": '[{"x": 1}]'},
        {
            "_prompt": [turn("user", "Hello.")],
            "_response": [turn("assistant", "API-Request: [Add(a=1)]")],
            "_tools": "",
        },
        TRAJECTORY | {"_prompt": [], "_response": [call(1)]},
        TRAJECTORY | {"_prompt": [turn("user", "Add.")] * 20, "_response": [call(1)]},
        TRAJECTORY | {"_prompt": [turn("user", "Add.")], "_response": [turn("function", "no call")]},
        TRAJECTORY,
    ]
    with pytest.raises(DataError) as error:
        queries_of(*examples)
    for part in (
        "a tool cannot be read: a tool needs a name: 1 of 7 (example 1, turn 2)",
        "no tool is declared, in the tools column or as JSON in the prompt: 1 of 7 (example 2, turn 2)",
        "the prompt is empty: 1 of 7 (example 3, turn 1)",
        "The reference answer holds no call; a reward needs one.: 1 of 7 (example 5, turn 2)",
        "tl_skip_bad: true",
    ):
        assert part in error.value.message
    queries, faults = queries_of(*examples, skip_bad=True)
    assert len(queries) == 2
    assert len(faults.lines()) == 4
    assert faults.long == ["example 4, turn 21"]  # of the cutoff, not of the data


@pytest.mark.parametrize(
    ("action", "places", "left_out"),
    [
        ("keep", ["example 1, turn 4", "example 2, turn 4", "example 2, turn 6"], {}),
        ("drop", ["example 2, turn 4", "example 2, turn 6"], {"cutoff_len cuts it (cutoff_action: drop)": 1}),
    ],
)
def test_what_cutoff_len_leaves_of_a_dialogue_are_the_calls_that_fit(
    action: str, places: list[str], left_out: dict[str, int]
) -> None:
    """As in supervised training, where the first tokens of a dialogue are left: with "drop" it goes as a whole."""
    long = TRAJECTORY | {"_system": "long", "_kind": "tool"}

    def longer(messages: Sequence[Mapping[str, str]], system: str, tools: str) -> tuple[list[int], str]:
        ids, text = encode(messages, system, tools)
        return ids * (2 if system else 1), text

    def made(*examples: Any, **changes: Any) -> tuple[list[Any], Any]:
        return make_queries(
            examples, longer, tool_reward("paper", None), longest=70, last_only=False, skip_bad=False, **changes
        )

    queries, faults = made(long, TRAJECTORY | {"_kind": "tool"}, action=action)
    assert [query.place for query in queries] == places
    assert faults.lines() == []
    intake = faults.intake
    assert (intake.read, intake.trained, dict(intake.left_out.counts)) == (2, 2 - len(left_out), left_out)
    cut = intake.cut["tool"]
    assert (cut.examples, cut.cut, cut.calls, cut.untrained) == (2, 1, 1, int(action == "drop"))
    with pytest.raises(DataError, match=r"cutoff_len: 70 is exceeded by 1 prompts \(example 1, turn 6\)"):
        made(long, TRAJECTORY, action="error")
    with pytest.raises(DataError, match=r"leaves nothing to train \(cutoff_action: drop\)"):
        made(long, action="drop")


def test_no_query_at_all_is_an_error_even_if_bad_ones_are_skipped() -> None:
    with pytest.raises(DataError, match="no query to train on"):
        queries_of({"_prompt": [turn("user", "Hi.")], "_response": [turn("assistant", "Hi.")]}, skip_bad=True)


def test_a_users_reward_is_found_and_its_result_checked() -> None:
    reward = user_reward("ppo_rewards:length")
    tools = declared_tools("", ['{"name": "AddReminder"}', '{"name": "GetWeather"}'])
    found = reward("aeiou", "API-Request: [x]", tools)
    assert (found.total, found.parts) == (1.25 - 0.125, {"vowels": 1.25})
    for name in ("ppo_rewards", "ppo_rewards:absent", "json:__doc__", ":x"):
        with pytest.raises(OptionError, match="module:function"):
            user_reward(name)
    with pytest.raises(OptionError, match="return a number"):
        user_reward("ppo_rewards:words")("text", "", [])


def test_shares_name_every_category_that_can_occur() -> None:
    found = shares([Reward(1.0, {"correct": 1.0}), Reward(-1.3, {"own": -1.3}), Reward(-2.0, {"unparsable": -2.0})])
    assert found["correct"] == found["own"] == found["unparsable"] == pytest.approx(1 / 3)
    assert found["wrong_tool"] == 0
