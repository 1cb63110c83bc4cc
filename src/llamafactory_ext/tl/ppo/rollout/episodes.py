"""Episodes: the policy acts and an environment answers, turn by turn, until an answer or a limit.

What it does: draws one turn of all open episodes together, asks their environments side by side, and appends what they
say as tokens that carry no loss. Drawn tokens are kept as they are and never encoded again. What it does not do: draw
tokens, which `local.py` and `server.py` do alike, or learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

from ....errors import CallParseError, DataError
from ....toolcalls import detect
from ...environments.asking import KINDS, Fault, begin, run_all, step_of, text_of
from ...environments.protocol import ANSWER, TOKENS, TURNS, Action, Step
from ..rewards import Query
from .local import Response, Sampling

DONE, FAULT = "done", "fault"
_CHARACTERS = 16  # of a token, at most, in an observation that is not cut before it is encoded
HOW: Final = (ANSWER, DONE, TURNS, TOKENS, FAULT)
Draw = Callable[[Sequence[Sequence[int]], Sampling], list[Response]]
"""(prompts, sampling) -> one response each."""


class Continue(Protocol):
    """Writes what stands between two turns."""

    end_ids: frozenset[int]

    def ids(self, turn: Sequence[int], observation: str) -> list[int]:
        """Return the tokens between a turn, its end included, and the next one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When an episode ends at the latest, and what an environment may take.

    Attributes:
        turns: of the policy.
        tokens: behind the prompt, observations included.
        observation: tokens of one observation; of a longer one the rest is cut.
        seconds: of one step of the environment.
        fault_reward: of an episode whose environment failed.
        skip_bad: count steps that break the protocol, too; else they end the run.
    """

    turns: int
    tokens: int
    observation: int
    seconds: float
    fault_reward: float
    skip_bad: bool


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        query: what it began with.
        response: all tokens behind the prompt; its `drawn` tells the policy's from the environment's.
        reward: of all steps together, or that of a fault.
        end: one of HOW.
        turns: of the policy.
        checks: as the environment last stated them.
        transcript: role and text of each turn behind the prompt.
        fault: of the environment; None without one.
        cut: observations that were cut.
        unreadable: turns whose calls could not be read.
    """

    query: Query
    response: Response
    reward: float
    end: str
    turns: int
    checks: Mapping[str, float]
    transcript: tuple[tuple[str, str], ...]
    fault: Fault | None = None
    cut: int = 0
    unreadable: int = 0

    @property
    def success(self) -> bool | None:
        """Tell whether all checks hold; None where none was stated."""
        return all(value >= 1 for value in self.checks.values()) if self.checks else None


@dataclass
class _Open:
    """An episode under way."""

    query: Query
    world: Any = None
    parts: list[Response] = field(default_factory=list)
    reward: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)
    transcript: list[tuple[str, str]] = field(default_factory=list)
    turns: int = 0
    cut: int = 0
    unreadable: int = 0
    end: str = ""
    fault: Fault | None = None

    @property
    def length(self) -> int:
        """Tokens behind the prompt."""
        return sum(len(part.ids) for part in self.parts)

    def ids(self) -> list[int]:
        """Return all tokens."""
        return [*self.query.ids, *chain.from_iterable(part.ids for part in self.parts)]

    def closed(self, limits: Limits) -> Episode:
        """Return it finished."""
        reward = self.reward if self.fault is None else limits.fault_reward
        return Episode(
            *(self.query, joined(self.parts, ended=self.end != TOKENS), reward, self.end, self.turns, self.checks),
            *(tuple(self.transcript), self.fault, self.cut, self.unreadable),
        )


def run_episodes(
    draw: Draw,
    queries: Sequence[Query],
    factory: Callable[[], Any],
    sampling: Sampling,
    limits: Limits,
    between: Continue,
    decode: Callable[[Sequence[int]], str],
) -> list[Episode]:
    """Return one episode for each query, in their order.

    Args:
        draw: draws a turn of the policy for each prompt.
        queries: with the records that environments begin with.
        factory: returns a new environment.
        sampling: of one turn.
        limits: of each episode.
        between: writes observations.
        decode: text of token ids.

    Raises:
        DataError: an environment breaks its protocol, and `limits` does not skip that.
    """
    episodes = [_Open(query) for query in queries]
    tasks = [partial(begin, factory, getattr(query, "record", None) or {}) for query in queries]
    for episode, world in zip(episodes, run_all(tasks, limits.seconds), strict=True):
        episode.world, episode.fault = (None, world) if isinstance(world, Fault) else (world, None)
    going = episodes
    while going:
        left = [limits.tokens - episode.length for episode in going]
        turn = replace(sampling, max_tokens=min(sampling.max_tokens, max(left)))
        drawn = draw([episode.ids() for episode in going], turn)
        actions = [
            _take(episode, response, room, limits, between, decode)
            for episode, response, room in zip(going, drawn, left, strict=True)
        ]
        _answer(going, actions, limits, between)
        going = [episode for episode in going if not episode.end]
    found = [episode.closed(limits) for episode in episodes]
    _require_honest(found, limits)
    return found


def _take(
    episode: _Open,
    response: Response,
    room: int,
    limits: Limits,
    between: Continue,
    decode: Callable[[Sequence[int]], str],
) -> Action:
    """Add a turn of the policy to its episode, and read it."""
    if len(response.ids) > room:
        response = response.first(room)
    episode.parts.append(response)
    episode.turns += 1
    ids = list(response.ids)
    while ids and ids[-1] in between.end_ids:
        ids.pop()
    text = decode(ids)
    episode.transcript.append(("policy", text))
    if not response.ended:
        return Action(text, end=TOKENS)
    try:
        found = detect(text, episode.query.tools, episode.query.call_format)
    except CallParseError as error:
        episode.unreadable += 1
        return Action(text, (), error.message, TURNS if episode.turns >= limits.turns else "")
    if not found:
        return Action(text, end=ANSWER)
    return Action(text, tuple(one.call for one in found), "", TURNS if episode.turns >= limits.turns else "")


def _answer(
    going: Sequence[_Open],
    actions: Sequence[Action],
    limits: Limits,
    between: Continue,
) -> None:
    """Ask the environments, side by side; end episodes, or add what the policy reads next."""
    full = []
    for episode, step in _asked(going, actions, limits):
        if not episode.end and not _observe(episode, text_of(step.observation), limits, between):
            full.append(episode)
    _asked(full, [Action("", end=TOKENS)] * len(full), limits)  # a last word of environments that were not told
    for episode in going:
        if episode.fault is not None:
            episode.end, episode.world = FAULT, None


def _asked(episodes: Sequence[_Open], actions: Sequence[Action], limits: Limits) -> list[tuple[_Open, Step]]:
    """Take one step in each environment that has not failed; return those that gave one."""
    asked = [pair for pair in zip(episodes, actions, strict=True) if pair[0].fault is None]
    stepped = []
    tasks = [partial(_step, episode.world, action) for episode, action in asked]
    for (episode, action), step in zip(asked, run_all(tasks, limits.seconds), strict=True):
        if isinstance(step, Fault):
            episode.fault = step
            continue
        episode.reward += step.reward
        episode.checks = step.checks or episode.checks
        episode.end = action.end or (DONE if step.done else "")
        stepped.append((episode, step))
    return stepped


def _step(world: Any, action: Action) -> Step:
    return step_of(world.step(action))


def _observe(episode: _Open, observation: str, limits: Limits, between: Continue) -> bool:
    """Append an observation; return whether a token of another turn fits behind it."""
    turn = episode.parts[-1].ids
    bare = len(between.ids(turn, ""))
    text = observation[: _CHARACTERS * limits.observation]
    ids = between.ids(turn, text)
    while len(ids) - bare > limits.observation and text:
        text = text[: min(len(text) - 1, len(text) * limits.observation // (len(ids) - bare))]
        ids = between.ids(turn, text)
    episode.cut += len(text) < len(observation)
    episode.transcript.append(("environment", text))
    if episode.length + len(ids) >= limits.tokens:
        episode.end = TOKENS
        return False
    episode.parts.append(Response(tuple(ids), True, drawn=(False,) * len(ids)))
    return True


def joined(parts: Sequence[Response], *, ended: bool) -> Response:
    """Return turns and observations as one response; numbers of observations are 0.

    Args:
        parts: at least one turn of the policy.
        ended: whether the episode ended by itself.
    """

    def numbers(name: str) -> tuple[float, ...]:
        if not all(getattr(part, name) for part in parts if not part.drawn):
            return ()
        return tuple(chain.from_iterable(getattr(part, name) or (0.0,) * len(part.ids) for part in parts))

    drawn = tuple(chain.from_iterable(part.drawn or (True,) * len(part.ids) for part in parts))
    ids = tuple(chain.from_iterable(part.ids for part in parts))
    logp, values, engine_logp = numbers("logp"), numbers("values"), numbers("engine_logp")
    return Response(ids, ended, logp, values, engine_logp, () if all(drawn) else drawn)


def _require_honest(episodes: Sequence[Episode], limits: Limits) -> None:
    lies = [episode for episode in episodes if episode.fault is not None and episode.fault.lies]
    if lies and not limits.skip_bad:
        first = lies[0]
        assert first.fault is not None
        raise DataError(
            f"tl_environment breaks its protocol in {len(lies)} of {len(episodes)} episodes; {first.query.place}: "
            f"{first.fault.what}. Correct it (docs/rl.md), or set tl_skip_bad: true to count such episodes."
        )


def fault_counts(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return how many episodes ended by each kind of fault."""
    kinds = [episode.fault.kind for episode in episodes if episode.fault is not None]
    return {kind: float(kinds.count(kind)) for kind in KINDS}
