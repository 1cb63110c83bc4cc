"""Episodes: their tokens, masks and numbers, their ends, and what a failing environment makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import environments_made_here as made
import tiny
from llamafactory_ext.errors import DataError
from llamafactory_ext.tl.environments import Action, Step
from llamafactory_ext.tl.ppo.critic import chosen_logp
from llamafactory_ext.tl.ppo.rewards import Query
from llamafactory_ext.tl.ppo.rollout.episodes import Episode, Limits, run_episodes
from llamafactory_ext.tl.ppo.rollout.local import Response, Sampling, draw_responses

pytestmark = pytest.mark.fast

END = 4
WORDS = tiny.tiny_tokenizer()
LIMITS = Limits(turns=4, tokens=400, observation=40, seconds=20, fault_reward=-7, skip_bad=False)
SAMPLING = Sampling(max_tokens=200, end_ids=frozenset({END}), pad_id=1, temperature=1.0)
CALL = "API-Request: [GetWeather(city='{}')]"


class Between:
    """Observations between marks of their own."""

    end_ids = frozenset({END})

    def ids(self, turn: Sequence[int], observation: str) -> list[int]:
        closing = [] if turn[-1] == END else [END]
        return [*closing, 2, *ids_of(observation), 3]


def ids_of(text: str) -> list[int]:
    return list(WORDS.encode(text, add_special_tokens=False))


def decode(ids: Sequence[int]) -> str:
    return str(WORDS.decode(ids, skip_special_tokens=False))


class Script:
    """A policy that says given turns; each token's log-probability is its place in what it was asked."""

    def __init__(self, *turns: list[str], cut: bool = False) -> None:
        self.turns, self.cut, self.asked = turns, cut, []
        self.prompts: dict[tuple[int, ...], int] = {}

    def __call__(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Response]:
        self.asked.append(len(prompts))
        return [self._one(list(prompt), sampling) for prompt in prompts]

    def _one(self, prompt: list[int], sampling: Sampling) -> Response:
        said = prompt.count(3)
        ids = [*ids_of(self.turns[prompt[0] - 10][said]), END][: sampling.max_tokens]
        numbers = tuple(-float(len(prompt) + place) for place in range(len(ids)))
        return Response(tuple(ids), ids[-1] == END, numbers, tuple(-one for one in numbers))


def play(
    draw: Any, factory: Callable[[], Any], count: int = 1, sampling: Sampling = SAMPLING, **changes: Any
) -> list[Episode]:
    queries = [Query((10 + place, 50, 60), "", (), f"record {place}") for place in range(count)]
    return run_episodes(draw, queries, factory, sampling, replace(LIMITS, **changes), Between(), decode)


class Told:
    """Keeps what it is told, and gives what was given to it."""

    def __init__(self, *steps: Any) -> None:
        self.steps, self.told = list(steps), list[Action]()

    def reset(self, record: Any) -> None:
        pass

    def step(self, action: Action) -> Any:
        self.told.append(action)
        return self.steps.pop(0)


def test_tokens_are_those_drawn_and_those_of_the_observations_between_them() -> None:
    turns = [CALL.format("Paris"), CALL.format("Rome"), "Done."]
    world = Told(Step("sunny", reward=0.5), Step("rainy", checks={"a": 0}), Step(reward=1, checks={"a": 1}))
    (episode,) = play(Script(turns), lambda: world)
    first, second, last = ([*ids_of(turn), END] for turn in turns)
    between = [[2, *ids_of(text), 3] for text in ("sunny", "rainy")]
    assert list(episode.response.ids) == [*first, *between[0], *second, *between[1], *last]
    expected = [True] * len(first) + [False] * len(between[0]) + [True] * len(second)
    expected += [False] * len(between[1]) + [True] * len(last)
    assert list(episode.response.drawn) == expected
    places = [-(3.0 + place) if own else 0.0 for place, own in enumerate(expected)]
    assert list(episode.response.logp) == places
    assert list(episode.response.values) == [-place for place in places]
    assert (episode.reward, episode.end, episode.turns, episode.success) == (1.5, "answer", 3, True)
    assert [role for role, _ in episode.transcript] == ["policy", "environment", "policy", "environment", "policy"]
    assert [[call.arguments for call in action.calls] for action in world.told] == [
        [{"city": "Paris"}],
        [{"city": "Rome"}],
        [],
    ]
    assert [action.end for action in world.told] == ["", "", "answer"]


def test_drawn_tokens_are_never_encoded_again() -> None:
    """The policy writes every character as a token of its own, which encoding its text would join."""
    text = CALL.format("Paris")
    letters = [token for letter in text for token in ids_of(letter)]
    assert decode(letters) == text
    assert letters != ids_of(text)
    prompts = []

    def draw(asked: Sequence[Sequence[int]], sampling: Sampling) -> list[Response]:
        prompts.append(list(asked[0]))
        return [Response((*letters, END), True)]

    (episode,) = play(draw, lambda: Told(Step("a"), Step("b", True)))
    assert list(episode.response.ids) == [*letters, END, 2, *ids_of("a"), 3, *letters, END]
    assert prompts[1] == [10, 50, 60, *episode.response.ids[: len(prompts[1]) - 3]]


@pytest.mark.parametrize(
    ("turns", "steps", "changes", "end", "ended"),
    [
        (["Hello."], [Step(reward=1)], {}, "answer", True),
        ([CALL], [Step(done=True)], {}, "done", True),
        ([CALL] * 9, [Step("x")] * 9, {}, "turns", True),
        ([CALL] * 9, [Step("x")] * 9, {"turns": 1}, "turns", True),
        ([CALL], [Step("x")] * 9, {"tokens": 5}, "tokens", False),
        ([CALL] * 9, [Step("x")] * 9, {"tokens": 60}, "tokens", False),
        ([CALL] * 9, [Step("x" * 60)] * 9, {"tokens": 60}, "tokens", False),
    ],
)
def test_how_episodes_end(turns: list[str], steps: list[Step], changes: dict[str, Any], end: str, ended: bool) -> None:
    world = Told(*steps)
    (episode,) = play(Script(turns), lambda: world, **changes)
    assert (episode.end, episode.response.ended) == (end, ended)
    assert len(episode.response.ids) <= (changes.get("tokens") or LIMITS.tokens)
    assert episode.turns <= (changes.get("turns") or LIMITS.turns)
    # An environment is always told of the end that is not its own, and then asked no more.
    assert world.told[-1].end == ("" if end == "done" else end)
    assert all(action.end == "" for action in world.told[:-1])


def test_a_text_that_a_limit_cuts_calls_nothing() -> None:
    world = Told(Step(reward=0.25))
    (episode,) = play(Script([CALL]), lambda: world, sampling=replace(SAMPLING, max_tokens=12))
    assert (episode.end, episode.reward) == ("tokens", 0.25)
    assert world.told[0].calls == ()


def test_calls_that_cannot_be_read_are_told_and_counted() -> None:
    world = Told(Step("what?"), Step())
    (episode,) = play(Script(["API-Request: [GetWeather(city='Paris'", "Sorry."]), lambda: world)
    assert world.told[0].problem
    assert world.told[0].calls == ()
    assert (episode.unreadable, episode.end, episode.turns) == (1, "answer", 2)


def test_long_observations_are_cut_and_counted() -> None:
    (episode,) = play(Script([CALL, "Done."]), lambda: Told(Step("word " * 500), Step()), observation=20)
    observed = [own for own in episode.response.drawn if not own]
    assert 10 < len(observed) - 2 <= 20
    assert episode.cut == 1


def test_ended_episodes_leave_the_batch() -> None:
    script = Script(["A."], [CALL, "B."], [CALL, CALL, "C."])
    play(script, lambda: Told(Step("x"), Step("x"), Step("x")), 3)
    assert script.asked == [3, 2, 1]


FAULTS = {made.hang: "timeout", made.crash: "raised", made.leave: "raised"}


@pytest.mark.parametrize("factory", FAULTS)
def test_failing_environments_end_their_episodes_alone(factory: Any) -> None:
    worlds = [Told(Step("x"), Step(reward=1)), factory(), Told(Step("x"), Step(reward=2))]
    script = Script(*[[CALL, "Done."]] * 3)
    found = play(script, lambda: worlds.pop(0), 3, seconds=0.5)
    by_place = sorted(found, key=lambda episode: episode.reward)
    assert [episode.reward for episode in by_place] == [-7, 1, 2]
    assert by_place[0].end == "fault"
    assert by_place[0].fault is not None
    assert by_place[0].fault.kind == FAULTS[factory]
    assert all(by_place[0].response.drawn or [True])


@pytest.mark.parametrize("factory", [made.no_number, made.no_step, made.long_text, made.picky])
def test_lies_end_the_run_unless_they_are_skipped(factory: Any) -> None:
    script = Script(*[[CALL, "Done."]] * 2)
    with pytest.raises(DataError) as error:
        play(script, factory, 2)
    assert "record 0" in error.value.message
    assert "tl_skip_bad" in error.value.message
    found = play(Script(*[[CALL, "Done."]] * 2), factory, 2, skip_bad=True)
    assert [(episode.reward, episode.end) for episode in found] == [(-7, "fault")] * 2


# A model


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny.tiny_model()


def drawer(model: Any) -> Any:
    def draw(prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Response]:
        return draw_responses(model, prompts, sampling, decode, device=torch.device("cpu"))

    return draw


STOPS = replace(SAMPLING, max_tokens=12, stop=("e", "a", "i", "o", " "))


def test_log_probabilities_are_those_of_one_pass_over_the_whole_episode(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.calls_by_length(monkeypatch)
    torch.manual_seed(3)
    found = play(drawer(model), made.counting, 8, STOPS, tokens=80)
    assert max(episode.turns for episode in found) > 2
    for episode in found:
        ids = torch.tensor([[*episode.query.ids, *episode.response.ids]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[:, 2:-1]
        whole = chosen_logp(logits, ids[:, 3:], 1.0)[0]
        own = torch.tensor(episode.response.drawn or [True] * len(episode.response.ids))
        drawn = torch.tensor(episode.response.logp)
        assert torch.allclose(drawn[own], whole[own], atol=1e-5)
        assert torch.equal(drawn[~own], torch.zeros(int((~own).sum())))


def test_a_batch_of_episodes_is_what_each_is_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made.calls_by_length(monkeypatch)
    greedy = replace(STOPS, temperature=0.0)
    together = play(drawer(model), made.counting, 6, greedy, tokens=80)
    assert len({episode.turns for episode in together}) > 1
    for episode in together:
        limits = replace(LIMITS, tokens=80)
        args = ([episode.query], made.counting, greedy, limits, Between(), decode)
        (alone,) = run_episodes(drawer(model), *args)
        assert (alone.response.ids, alone.reward, alone.end) == (episode.response.ids, episode.reward, episode.end)
