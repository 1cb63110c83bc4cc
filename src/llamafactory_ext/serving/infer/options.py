"""The options of `llamafactory-ext infer`: declared with their meaning, checked together."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ...errors import OptionError
from ...options.values import numbers_in

BACKENDS: Final = ("vllm", "hf", "openai")
KEY_VARIABLE: Final = "OPENAI_API_KEY"


def _option(default: Any, text: str, *, least: float | None = None) -> Any:
    return field(default=default, metadata={"text": text, "least": least})


@dataclass(frozen=True)
class InferOptions:
    """Everything that `infer` can be told; `check` tells all that is wrong at once."""

    model: str = _option("", "folder of a model, an exported model or (hf) an adapter; openai: the served name")
    benchmark: str = _option("", "a benchmark of `score`, asked from --source; with --dataset the name in the records")
    source: str = _option(
        "", "folder with the benchmark's published files, or one of them; for an agent a checkout; etapp: also mini"
    )
    dataset: str = _option(
        "", "a data file in LLaMA-Factory's layouts, in place of --source; its last replies are asked"
    )
    out: str = _option("", "the file of answers (JSON lines); an unfinished one is gone on with")
    backend: str = _option("vllm", "vllm, hf (transformers) or openai (a server)")
    template: str = _option(
        "",
        "a template of ours; hf, vllm: or of LLaMA-Factory's (the tokenizer's or the server's chat template)",
    )
    base: str = _option("", "base model of an adapter (the one its configuration names)")
    dtype: str = _option("auto", "float32, bfloat16, float16 or auto: as the model was saved")
    max_new_tokens: int = _option(1024, "longest answer in tokens", least=1)
    temperature: float = _option(0.0, "0 is greedy", least=0)
    top_p: float = _option(1.0, "nucleus of sampling, with a temperature", least=0)
    seed: int = _option(0, "of sampling")
    limit: int = _option(0, "ask only the first so many questions (0: all)", least=0)
    batch_size: int = _option(8, "hf: prompts at a time", least=1)
    tensor_parallel: int = _option(1, "vllm: GPUs that share one copy of the model", least=1)
    data_parallel: int = _option(1, "vllm: copies of the model that share the questions", least=1)
    max_model_len: int = _option(0, "vllm: context in tokens (0: the model's)", least=0)
    url: str = _option("http://127.0.0.1:8000/v1", f"openai: the server; a key is taken from {KEY_VARIABLE}")
    concurrency: int = _option(16, "openai: requests at a time", least=1)
    retries: int = _option(6, "openai: attempts after a failed request, with growing pauses", least=0)
    timeout: float = _option(600.0, "openai: seconds until a request counts as failed", least=1)
    tool_server: str = _option("", "openai: URL of a tool server: calls are executed, turn after turn")
    turns: int = _option(9, "with --tool_server: most turns of the model (ToolEyes: nine)", least=1)
    turn_seconds: float = _option(300.0, "with --tool_server: most seconds of one dialogue", least=1)
    turn_tokens: int = _option(8192, "with --tool_server: most tokens the model may write in one dialogue", least=1)

    @classmethod
    def of(cls, given: Mapping[str, object]) -> InferOptions:
        """Return options from the command line.

        Raises:
            OptionError: all problems at once.
        """
        known = {part.name: part for part in fields(cls)}
        problems, values = [], {}
        for name, value in given.items():
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean --{close[0]}?" if close else f"the options are --{', --'.join(known)}"
                problems.append(f"--{name} is unknown; {hint}")
                continue
            fault, values[name] = _typed(name, value, known[name].default, known[name].metadata["least"])
            problems += [fault] if fault else []
        options = cls(**{name: value for name, value in values.items() if value is not None})
        problems += options.problems()
        if problems:
            raise OptionError.listing("infer:", problems)
        return options

    def problems(self) -> list[str]:
        """Return what does not go together or is missing, each with the next step."""
        found = []
        for name, what in (("model", "whom to ask"), ("out", "where the answers go")):
            if not getattr(self, name):
                found.append(f"--{name} is missing: {what}")
        if self.backend not in BACKENDS:
            found.append(f'--backend is "{self.backend}"; choose one of {", ".join(BACKENDS)}')
        if bool(self.source) == bool(self.dataset):
            found.append("give either --benchmark NAME with --source FOLDER, or --dataset FILE")
        elif self.source and not self.benchmark:
            found.append("--source needs --benchmark NAME: whose files they are")
        if self.tool_server and self.backend != "openai":
            found.append(
                "--tool_server works with --backend openai: serve the model (`vllm serve DIR`) and name its --url"
            )
        if self.base and self.backend != "hf":
            found.append("--base works with --backend hf; export or merge the adapter for the others")
        if not 0 < self.top_p <= 1:
            found.append(f"--top_p is {self.top_p}; give a number above 0, at most 1")
        if self.out and Path(self.out).is_dir():
            found.append(f"--out {self.out} is a folder; name a file such as {self.out}/answers.jsonl")
        return found


def _typed(name: str, value: Any, default: object, least: float | None) -> tuple[str, Any]:
    """Return (fault, value): the value in its option's type."""
    if value is True:
        return f"--{name} needs a value after it", None
    if isinstance(default, str):
        return "", str(value)
    value = numbers_in(value) if isinstance(value, str) else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int) and not (is_number and value == int(value)):  # type: ignore[call-overload]
        return f"--{name} is {value!r}; give a whole number", None
    if not is_number:
        return f"--{name} is {value!r}; give a number", None
    if least is not None and value < least:  # type: ignore[operator]
        return f"--{name} is {value!r}; give at least {least}", None
    return "", float(value) if isinstance(default, float) else int(value)  # type: ignore[arg-type, call-overload]


def help_text() -> str:
    """Return what `infer --help` prints."""
    lines = []
    for part in fields(InferOptions):
        default = f" ({part.default})" if part.default not in ("",) else ""
        lines.append(f"  --{part.name:<17}{part.metadata['text']}{default}")
    return "\n".join(
        [
            "Usage: llamafactory-ext infer --model DIR --benchmark NAME --source FOLDER --out FILE [OPTIONS]",
            "",
            "Ask a model every question of a benchmark or a data file. Each finished answer is appended to FILE; the",
            "same command goes on with a run that ended early. Score the file with `llamafactory-ext score`.",
            "",
            "Options:",
            *lines,
        ]
    )
