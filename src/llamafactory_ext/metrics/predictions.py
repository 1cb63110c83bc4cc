"""The prediction file: one JSON record per line, in the order in which answers were finished.

`{"id", "benchmark", "prompt_hash", "model_hash", "prediction"}`, all texts, `messages` where there were several
turns, and `episode` where an agent acted: its calls, what they changed, how it ended. A line is written in one piece,
so a run that was killed leaves whole lines and at most one cut one at the end.
Files of other tools, whose lines say `id` and `prediction` alone, can be scored too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.own import refuse_special
from ..errors import DataError

_TEXTS = ("id", "benchmark", "prompt_hash", "model_hash", "prediction")
_ORIGIN = ("benchmark", "prompt_hash", "model_hash")
_SHOWN_REPEATED = 3
MOST_DEPTH = 100  # of lists and objects within each other; what is read shall be written again without a fault
NO_HASHES = (
    "The predictions say nothing of the model and the prompts (another tool wrote them): whether one model gave all "
    "of them, and to these items' prompts, is not known."
)


@dataclass(frozen=True)
class Prediction:
    """One answer of a model.

    Attributes:
        id: of the item, as `metrics.references` names it.
        benchmark: whose item it is.
        prompt_hash: SHA-256 of the prompt as the model got it.
        model_hash: says which model and which settings answered; empty where it is not known, as `prompt_hash` is.
        prediction: the model's text, unchanged; of several turns the last.
        messages: all turns in OpenAI's form, or None.
        episode: what an agent did (see `etapp.strategies.record`), or None.
    """

    id: str
    benchmark: str
    prompt_hash: str
    model_hash: str
    prediction: str
    messages: tuple[Mapping[str, Any], ...] | None = None
    episode: Mapping[str, Any] | None = None

    @classmethod
    def from_record(cls, record: object, benchmark: str | None = None) -> Prediction:
        """Check a decoded line.

        Args:
            record: what the line holds.
            benchmark: of a line that does not say where it comes from; None refuses such lines. With it, an answer
                that is no text (other tools write null beside tool calls, numbers or lists) is taken as its JSON
                text, null as an empty one.

        Raises:
            DataError: says what is wrong, without the place.
        """
        if not isinstance(record, dict):
            raise DataError("a JSON object is expected")
        if benchmark is not None and not record.keys() & {*_ORIGIN}:
            record = {**record, "benchmark": benchmark, "prompt_hash": "", "model_hash": ""}
            if isinstance(record.get("id"), int) and not isinstance(record["id"], bool):
                record["id"] = str(record["id"])
        if benchmark is not None and not isinstance(record.get("prediction", ""), str):
            record = {**record, "prediction": _as_text(record["prediction"])}
        for name in _TEXTS:
            if not isinstance(record.get(name), str):
                raise DataError(f'"{name}" is missing or no text')
        try:
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError("half a surrogate pair, which is no text") from None
        if not record["id"]:
            raise DataError('"id" is empty')
        messages = record.get("messages")
        if messages is not None:
            if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
                raise DataError('"messages" is no list of objects')
            messages = tuple(messages)
        episode = record.get("episode")
        if not isinstance(episode, dict | None):
            raise DataError('"episode" is no object')
        return cls(**{name: record[name] for name in _TEXTS}, messages=messages, episode=episode)

    def to_line(self) -> str:
        """Return the record as one line, with its line break."""
        record: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        if self.messages is not None:
            record["messages"] = list(self.messages)
        if self.episode is not None:
            record["episode"] = dict(self.episode)
        return json.dumps(record, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class PredictionFile:
    """What a prediction file holds.

    Attributes:
        path: where it lies.
        predictions: in the file's order, each id once.
        notes: what was left out and why, each naming file and line.
        sha256: of the file's bytes.
        whole_bytes: the length of the whole lines; a writer that goes on cuts the file there first.
    """

    path: Path
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...]
    sha256: str
    whole_bytes: int


def read_predictions(path: Path, benchmark: str | None = None, *, foreign: bool = False) -> PredictionFile:
    """Read a prediction file.

    A cut last line and repeated equal records are left out with a note; everything else that is wrong is an error,
    since a figure over the rest would not be what it seems.

    Args:
        path: the file.
        benchmark: what every record must be of; None takes any.
        foreign: whether lines may leave out where they come from, as those of other tools do.

    Raises:
        DataError: missing, not UTF-8, malformed, of another benchmark, or two different answers for one id.
    """
    content = _content(path)
    notes: list[str] = []
    repeated: list[str] = []
    kept: dict[str, tuple[int, Prediction]] = {}
    whole = odd = 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        is_whole = line.endswith(b"\n")
        if line.strip():
            try:
                prediction, as_written = _prediction(line, benchmark, foreign)
            except DataError as error:
                if not is_whole:
                    notes.append(_cut(path, number, len(kept)))
                    break
                raise DataError(_fault(path, number, len(kept), error.message)) from None
            odd += not as_written
            first, other = kept.setdefault(prediction.id, (number, prediction))
            if first != number:
                repeated.append(_repeated(path, first, number, prediction, other))
        whole += len(line)
    if len(repeated) > _SHOWN_REPEATED:
        more = f"{path}: {len(repeated) - 1} more lines repeat earlier ones; each counted once."
        repeated = [repeated[0], more]
    notes = [*repeated, *notes]
    predictions = tuple(prediction for _, prediction in kept.values())
    if not predictions:
        raise DataError(f"{path} holds no predictions; run the inference again or name another file.")
    if odd:
        notes.append(f"{path}: {odd} predictions are no texts; null was read as an empty one, others as their JSON.")
    if any(not prediction.model_hash for prediction in predictions):
        notes.append(NO_HASHES)
    return PredictionFile(path, predictions, tuple(notes), hashlib.sha256(content).hexdigest(), whole)


def _content(path: Path) -> bytes:
    refuse_special(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such prediction file; run the inference or check the path.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a prediction file.") from None


def _as_text(value: object) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _prediction(line: bytes, benchmark: str | None, foreign: bool) -> tuple[Prediction, bool]:
    """Return a line's record, and whether its answer is a text as it is written."""
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 (byte {error.start + 1} of the line)") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"malformed JSON ({error})") from None
    if line.count(b"[") + line.count(b"{") > MOST_DEPTH and _is_deep(record):
        raise DataError(f"lists and objects nested more than {MOST_DEPTH} deep")
    prediction = Prediction.from_record(record, benchmark if foreign else None)
    if benchmark is not None and prediction.benchmark != benchmark:
        raise DataError(f"a prediction of {prediction.benchmark!r}, not of {benchmark!r}")
    return prediction, isinstance(record["prediction"], str)


def _is_deep(value: object) -> bool:
    """Tell whether lists and objects stand within each other more often than `MOST_DEPTH` allows."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_DEPTH):
        inside = (inner for one in level for inner in (one.values() if isinstance(one, dict) else one))
        level = [inner for inner in inside if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _fault(path: Path, number: int, kept: int, problem: str) -> str:
    return (
        f"{path}, line {number}: {problem}. The {kept} predictions before it are whole and nothing was changed; "
        "mend or delete the line, or name the right file and benchmark, then run the command again."
    )


def _cut(path: Path, number: int, kept: int) -> str:
    return f"{path}, line {number}: cut off; left out, {kept} whole predictions kept. Resume the inference to fill it."


def _repeated(path: Path, first: int, number: int, new: Prediction, old: Prediction) -> str:
    if new != old:
        raise DataError(
            f"{path}, line {number}: the id {new.id!r} was answered differently on line {first}. Nothing was scored; "
            "delete the line that is not meant, then run the command again."
        )
    return f"{path}, line {number}: repeats line {first}; counted once."
