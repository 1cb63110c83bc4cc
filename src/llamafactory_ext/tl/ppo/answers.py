"""Queries answered and scored: the part of PPO that is the same in training and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...training.processes import sum_named
from ..reward import Reward
from .episode_log import sums_of
from .rewards import Query, RewardFunction, shares
from .rollout.episodes import Episode
from .rollout.local import Response, Sampling


@dataclass(frozen=True)
class Answers:
    """One response per query with its reward.

    Attributes:
        queries: what was asked.
        responses: what came back.
        texts: what is scored: responses without the tokens that end them.
        rewards: what they are worth.
        episodes: that the responses are of; empty without an environment.
    """

    queries: Sequence[Query]
    responses: Sequence[Response]
    texts: Sequence[str]
    rewards: Sequence[Reward]
    episodes: Sequence[Episode] = ()

    @classmethod
    def of(
        cls,
        queries: Sequence[Query],
        responses: Sequence[Response],
        reward: RewardFunction,
        sampling: Sampling,
        tokenizer: Any,
    ) -> Answers:
        """Read and score responses."""
        texts = [text_of(response, sampling, tokenizer) for response in responses]
        pairs = zip(queries, texts, strict=True)
        return cls(
            queries,
            responses,
            texts,
            [reward(text, query.reference, query.tools, query.call_format) for query, text in pairs],
        )

    @classmethod
    def of_episodes(cls, episodes: Sequence[Episode]) -> Answers:
        """Return finished episodes, whose texts are all turns of the policy."""
        return cls(
            [episode.query for episode in episodes],
            [episode.response for episode in episodes],
            ["\n".join(text for role, text in episode.transcript if role == "policy") for episode in episodes],
            [Reward(episode.reward, episode.checks) for episode in episodes],
            episodes,
        )

    def first(self, count: int) -> Answers:
        """Return the first of them."""
        return Answers(
            self.queries[:count],
            self.responses[:count],
            self.texts[:count],
            self.rewards[:count],
            self.episodes[:count],
        )

    def means(self) -> dict[str, float]:
        """Return means over the answers of all processes, and "count", how many there are.

        They are "reward", its standard deviation "reward_spread", tokens per response, the shares of responses that
        were cut at the length limit and of empty ones, and those of each category as "part_<category>"; of episodes
        also what `episode_log.sums_of` has.
        """
        count = float(len(self.rewards))
        own = {
            "reward": sum(reward.total for reward in self.rewards),
            "squares": sum(reward.total**2 for reward in self.rewards),
            "response_tokens": float(sum(response.own_tokens for response in self.responses)),
            "cut": float(sum(not response.ended for response in self.responses)),
            "empty": float(sum(not text.strip() for text in self.texts)),
            "count": count,
        }
        if self.episodes:
            own |= sums_of(self.episodes)
        else:
            own |= {f"part_{name}": share * count for name, share in shares(self.rewards).items()}
        sums = sum_named(own)
        total = sums.pop("count")
        found = {name: value / total for name, value in sums.items()}
        found["reward_spread"] = max(found.pop("squares") - found["reward"] ** 2, 0.0) ** 0.5
        return found | {"count": total}

    def shown(self, count: int) -> list[str]:
        """Return the first answers in words."""
        if self.episodes:
            return [
                f"{episode.query.place}: {episode.reward:g} ({episode.end}, {episode.turns} turns): "
                + " | ".join(f"{role}: {text!r}" for role, text in episode.transcript)
                for episode in self.episodes[:count]
            ]
        rows = list(zip(self.queries, self.texts, self.rewards, strict=True))[:count]
        return [
            f"{query.place}: {text!r}, right is {query.reference!r}: {reward.total:g} ({', '.join(reward.parts)})"
            for query, text, reward in rows
        ]


def text_of(response: Response, sampling: Sampling, tokenizer: Any) -> str:
    """Return the text of a response, special tokens included, without the tokens that end it."""
    ids = list(response.ids)
    while ids and ids[-1] in sampling.end_ids:
        ids.pop()
    return str(tokenizer.decode(ids, skip_special_tokens=False))


def own_share(queries: Sequence[Query], process: int, processes: int) -> tuple[list[Query], int]:
    """Return the queries that this process answers, equally many on each, and how many of them count."""
    mine = list(queries[process::processes])
    extra = -(-len(queries) // processes) - len(mine)
    return [*mine, *queries[:extra]], len(mine)


Drawer = Callable[[Sequence[Sequence[int]], Sampling, int], list[Response]]
