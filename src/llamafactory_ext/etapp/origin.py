"""Whether a file of episodes is one run's, and each episode of its own case: by models, settings and prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics.predictions import Prediction
from ..serving.infer.identity import settings_hash
from ..serving.infer.prompts import Prompt
from ..serving.infer.questions import Question
from .cases import Case, Source
from .checkout import Checkout
from .prompts import Strategy
from .sandbox import Sandbox, Setting
from .whole import settings_of
from .wording import OURS, Wording, published

MODES = ("sandbox", "setting", "strategy")
_SHOWN = 12  # letters of a hash
_BESIDE = ("model_hash", "questions")  # in the file of settings, and no settings


def one_run(path: Path, predictions: Sequence[Prediction]) -> None:
    """Make sure that all episodes of a file are of one run, the one whose settings lie beside it.

    Raises:
        DataError: they differ in model or mode, or the settings are another run's.
    """
    found = {name: sorted({str((one.episode or {}).get(name)) for one in predictions}) for name in MODES}
    found["model"] = sorted({one.model_hash for one in predictions})
    for name, values in found.items():
        if len(values) > 1:
            shown = " and ".join(value[:_SHOWN] or "unknown" for value in values)
            raise DataError(
                f"{path} holds episodes of several runs: their {name} is {shown}. No figure may mix them; give each "
                "run a file of its own."
            )
    settings = settings_of(path)
    told = {"model": settings.get("model_hash"), **{name: settings.get(name) for name in MODES}}
    for name, values in found.items():
        if told[name] is not None and values != [told[name]]:
            raise DataError(
                f"{path}: the settings beside it are another run's: their {name} is {str(told[name])[:_SHOWN]}, that "
                f"of the episodes {values[0][:_SHOWN] or 'unknown'}; put the run's own beside it, or move them away."
            )
    named = {name: value for name, value in settings.items() if name not in _BESIDE}
    if told["model"] is not None and settings_hash(named) != told["model"]:
        raise DataError(
            f"{path}: the settings beside it were changed since the run wrote them; repeat its command, or move them "
            "away."
        )


def first_prompt(source: Source, case: Case, setting: Setting, strategy: Strategy, wording: Wording) -> Prompt:
    """Return what a model reads at the beginning of a case, in whatever trial."""
    world = source.worlds[case.user]
    tools = Sandbox(world, case.now, case.given, setting, configs=wording.configs).tools()
    messages = wording.opening(world, case, setting, strategy, tools)
    return Prompt(Question(case.id, "etapp", ()), messages=messages, tools=tools)


def own_prompts(source: Source, path: Path, predictions: Sequence[Prediction]) -> None:
    """Make sure that each episode answers the prompt of the case that its id names.

    A run of another source, by its settings, is refused like any other whose prompts differ. Where they do not, the
    reader tells that the source changed.

    Raises:
        DataError: an episode is of another user or instruction, or the prompts were other ones.
    """
    fewest: list[str] | None = None
    for wording in _wordings(source):
        others = [one.id for one in predictions if not _answers(one, source, wording)]
        if not others:
            return
        fewest = others if fewest is None or len(others) < len(fewest) else fewest
    others = fewest or []
    if settings_of(path).get("source") not in (None, source.sha256):
        raise DataError(
            f"{path}: the run read other cases than {source.name} has now: {len(others)} of {len(predictions)} "
            f"episodes answer other prompts, such as {others[0]}. Give the --source of the run, or run it again."
        )
    raise DataError(
        f"{path}: {len(others)} of {len(predictions)} episodes answer other prompts than those of their cases, such "
        f"as {others[0]}: their lines are other cases', or the run had another source, wording or version. Give the "
        "--source of the run, or run it again."
    )


def _wordings(source: Source) -> Iterator[Wording]:
    """Return whose words a run may have had; those of a checkout only where it holds them."""
    yield OURS
    if source.folder:
        try:
            yield published(Checkout(Path(source.folder)))
        except DataError:
            return


def _answers(one: Prediction, source: Source, wording: Wording) -> bool:
    """Tell whether hash and first messages of an episode are those of its case."""
    episode: Mapping[str, Any] = one.episode or {}
    prompt = first_prompt(source, source.case(one.id), episode["setting"], episode["strategy"], wording)
    wanted = [(message["role"], _written(message["content"])) for message in prompt.messages]
    begin = [(message.get("role"), message.get("content")) for message in (one.messages or ())[: len(wanted)]]
    return one.prompt_hash in ("", prompt.sha256) and begin == wanted


def _written(text: Any) -> str:
    """Return a text as a file has it."""
    return str(text).encode("utf-8", "replace").decode()
