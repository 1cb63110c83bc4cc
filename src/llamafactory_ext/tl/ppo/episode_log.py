"""What a run keeps of its episodes: figures of each batch, and the transcripts of the best and the worst one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...checkpoint.atomic import write_text
from ..environments.protocol import ANSWER, TOKENS, TURNS
from .rollout.episodes import DONE, Episode, fault_counts

FILE: Final = "episodes.jsonl"
_LONGEST = 4000  # characters of one turn in a transcript


def sums_of(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return sums over episodes, to be divided by their number.

    They are turns, tokens with those of observations, how episodes ended, what went wrong, and each check as
    "part_<name>"; "success" is there if any check was stated.
    """
    ends = [episode.end for episode in episodes]
    sums: dict[str, float] = {
        "turns": sum(episode.turns for episode in episodes),
        "episode_tokens": sum(len(episode.response.ids) for episode in episodes),
        "ended": sum(end in (ANSWER, DONE) for end in ends),
        "turn_limit": ends.count(TURNS),
        "token_limit": ends.count(TOKENS),
        "observations_cut": sum(episode.cut for episode in episodes),
        "unreadable": sum(episode.unreadable for episode in episodes),
    }
    sums |= {f"fault_{kind}": count for kind, count in fault_counts(episodes).items()}
    if any(episode.success is not None for episode in episodes):
        sums["success"] = sum(bool(episode.success) for episode in episodes)
    for episode in episodes:
        for name, value in episode.checks.items():
            sums[f"part_{name}"] = sums.get(f"part_{name}", 0.0) + value
    return {name: float(value) for name, value in sums.items()}


def fault_lines(episodes: Sequence[Episode], step: int) -> list[str]:
    """Return one line for each kind of fault, with its number and the first place."""
    lines = []
    for kind, count in fault_counts(episodes).items():
        if count:
            first = next(one for one in episodes if one.fault is not None and one.fault.kind == kind)
            what = first.fault.what if first.fault is not None else ""
            lines.append(
                f"Step {step}: the environment failed in {count:g} of {len(episodes)} episodes ({kind}), which have "
                f"the reward {first.reward:g}; {first.query.place}: {what}."
            )
    return lines


@dataclass
class EpisodeLog:
    """The file of transcripts beside a run; what this process has seen.

    Attributes:
        path: of JSON lines.
        begun: whether this run has written to it; before, what an interrupted one wrote further on is taken out.
    """

    path: Path
    begun: bool = False

    def keep(self, step: int, episodes: Sequence[Episode]) -> None:
        """Add the best and the worst of a batch."""
        if not self.begun and self.path.is_file():
            lines = self.path.read_text("utf-8").splitlines()
            write_text(self.path, "".join(f"{line}\n" for line in lines if _step_of(line) < step))
        self.begun = True
        best = max(range(len(episodes)), key=lambda place: episodes[place].reward)
        worst = min(range(len(episodes)), key=lambda place: episodes[place].reward)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for which, place in (("best", best), ("worst", worst)):
                file.write(json.dumps({"step": step, "which": which, **shown(episodes[place])}) + "\n")


def shown(episode: Episode) -> dict[str, Any]:
    """Return an episode for people."""
    record = getattr(episode.query, "record", None) or {}
    asked = next((str(turn["content"]) for turn in reversed(record.get("turns", [])) if turn["role"] == "user"), "")
    return {
        "place": episode.query.place,
        "id": str(record.get("id", "")),
        "reward": episode.reward,
        "end": episode.end,
        "turns": episode.turns,
        "checks": dict(episode.checks),
        "fault": None if episode.fault is None else f"{episode.fault.kind}: {episode.fault.what}",
        "asked": asked[:_LONGEST],
        "transcript": [[role, text[:_LONGEST]] for role, text in episode.transcript],
    }


def _step_of(line: str) -> float:
    """Return the step that a line is of; one that cannot be read goes."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
