"""The file of answers that grows as a run goes on, survives its death, and is gone on with by the next run.

Each answer is one line, written in one piece and flushed; a run that was killed leaves whole lines and at most one cut
one, which the next run removes and asks again. A file by another model, other settings or other prompts is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from ...checkpoint.atomic import read_json, write_json
from ...checkpoint.locks import lock
from ...checkpoint.model_folder import output_problem
from ...checkpoint.own import refuse_special
from ...errors import DataError, OptionError
from ...metrics.predictions import Prediction, read_predictions
from .prompts import Prompt

SYNC_SECONDS: Final = 1.0  # a power cut may cost this much work; a killed process costs none
_SHOWN = 5
_LONGEST = 1 << 24  # bytes of a first line that are looked at
_BEGUN = b'{"id": "'  # how each line begins


def settings_path(out: Path) -> Path:
    """Return where the settings of a run lie: beside its answers."""
    return out.with_name(out.name + ".settings.json")


def check_out(out: Path) -> None:
    """Make sure, before a model is loaded, that a run of `infer` wrote what is at a place, or nothing is there.

    Raises:
        OptionError: somebody else's file, or a place where no file can be.
        DataError: a damaged file of answers.
    """
    if out.is_dir():
        raise OptionError(f"--out {out} is a folder; name a file in it, such as {out / 'answers.jsonl'}.")
    for path in (out, settings_path(out)):
        if path.is_symlink() and not path.exists():
            raise OptionError(f"--out {out}: {path} is a link to nothing; nothing was written. Name another --out.")
    refuse_special(out)
    _check_settings(settings_path(out))
    if fault := output_problem(str(out.parent)):
        raise OptionError(f"{fault.replace('output_dir=', f'--out {out}: ', 1)}.")
    if not out.exists():
        return
    try:
        with out.open("rb") as file:
            begin = file.readline(_LONGEST)
    except OSError as error:
        raise DataError(f"--out {out} cannot be read ({error.strerror}); name another --out.") from None
    if begin and not _is_ours(begin, out):
        raise OptionError(
            f"--out {out} holds something that no run of `infer` wrote; nothing was changed. Name another --out."
        )


def _is_ours(line: bytes, out: Path) -> bool:
    """Tell whether the first line of a file is an answer, or the cut one of a run that has left its settings."""
    if not line.endswith(b"\n"):
        return len(line) == _LONGEST or (settings_path(out).is_file() and _BEGUN.startswith(line[: len(_BEGUN)]))
    try:
        Prediction.from_record(json.loads(line.decode("utf-8")))
    except (DataError, ValueError, RecursionError):
        return False
    return True


def _check_settings(path: Path) -> None:
    """Make sure that the file beside holds a run's settings, if it is there: they are written anew."""
    if path.exists():
        old = read_json(path, "settings of the run") if path.is_file() else None
        if not isinstance(old, dict) or not {"model_hash", "questions"} <= old.keys():
            raise OptionError(
                f"{path} holds no settings of a run and would be overwritten; nothing was changed. Name another --out."
            )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); make room, or check the permissions.") from None


class AnswerFile:
    """The answers of one run; a context manager that holds the file's lock.

    Args:
        path: the file, made if missing.
        settings: what the answers depend on; see `identity.py`.
        model_hash: their hash, in every record.
        prompts: all prompts of the run.

    Raises:
        DataError: the file is damaged, or holds answers to other questions.
        OptionError: it comes from another model, other settings or other prompts, or another process writes it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], model_hash: str, prompts: Sequence[Prompt]) -> None:
        self.path = path
        self.model_hash = model_hash
        self.notes: tuple[str, ...] = ()
        self._hashes = {prompt.question.id: prompt.sha256 for prompt in prompts}
        self._benchmark = prompts[0].question.benchmark
        self._synced = time.monotonic()
        refuse_special(path)
        _check_settings(settings_path(path))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror}); name another --out.") from None
        try:
            if not lock(self._file):
                raise OptionError(f"another run writes {path} at this moment; wait for it, or name another --out")
            self.done = self._resume(settings)
        except BaseException:
            self._file.close()
            raise
        with _writing(path):
            write_json(settings_path(path), dict(settings) | {"model_hash": model_hash, "questions": len(prompts)})

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with _writing(self.path):
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            with contextlib.suppress(OSError):
                self._file.close()

    def add(
        self,
        prompt: Prompt,
        text: str,
        messages: Sequence[Mapping[str, Any]] | None = None,
        episode: Mapping[str, Any] | None = None,
    ) -> None:
        """Append one answer."""
        question = prompt.question
        turns = None if messages is None else tuple(messages)
        record = Prediction(question.id, question.benchmark, prompt.sha256, self.model_hash, text, turns, episode)
        with _writing(self.path):
            self._file.write(record.to_line().encode("utf-8", "replace"))
            self._file.flush()
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        self.done.add(question.id)

    def _resume(self, settings: Mapping[str, Any]) -> set[str]:
        """Check what the file holds, cut off an unfinished line, and return the ids that are answered."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        done: set[str] = set()
        if whole:
            found = read_predictions(self.path, self._benchmark)
            self._check(found.predictions, settings)
            self.notes += tuple(note for note in found.notes if ": cut off;" not in note)
            if whole < len(content):
                self._cut(whole, content.count(b"\n") + 1)
            done = {prediction.id for prediction in found.predictions}
        elif content and settings_path(self.path).is_file() and _BEGUN.startswith(content[: len(_BEGUN)]):
            self._cut(0, 1)
        elif content:
            raise OptionError(
                f"--out {self.path} holds something that no run of `infer` wrote; nothing was changed. Name another "
                "--out."
            )
        return done

    def _cut(self, length: int, line: int) -> None:
        os.ftruncate(self._file.fileno(), length)
        self.notes += (f"{self.path}, line {line}: cut off; removed, its question is asked again.",)

    def _check(self, predictions: Sequence[Prediction], settings: Mapping[str, Any]) -> None:
        problems = []
        if any(prediction.model_hash != self.model_hash for prediction in predictions):
            problems = self._differences(settings) or ["the model or its settings differ"]
        foreign = [prediction.id for prediction in predictions if prediction.id not in self._hashes]
        if foreign and not problems:
            raise DataError(
                f"{self.path} holds answers to {len(foreign)} questions that this run does not ask, such as "
                f"{', '.join(foreign[:_SHOWN])}; nothing was changed. Name the data it was made with, or "
                "another --out."
            )
        other = [item.id for item in predictions if item.prompt_hash != self._hashes.get(item.id)]
        if other and not problems:
            problems.append(f"the prompts differ ({', '.join(other[:_SHOWN])}): other data, template or tokenizer")
        if problems:
            raise OptionError.listing(
                f"{self.path} holds {len(predictions)} answers of another run; nothing was changed. Repeat that run's "
                "options to go on with it, or name another --out:",
                problems,
            )

    def _differences(self, settings: Mapping[str, Any]) -> list[str]:
        if not settings_path(self.path).is_file():
            return []
        old = read_json(settings_path(self.path), "settings of the run")
        if not isinstance(old, dict):
            return []
        return [
            f"{key} was {json.dumps(old.get(key))}, is now {json.dumps(value)}"
            for key, value in settings.items()
            if old.get(key) != value
        ]
