"""`llamafactory-ext skintern ...`: the data of the steps, and what knowledge in the prompt costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoint.model_folder import DamagedError, read_object
from ..checkpoint.own import claim, claim_plain, own_text
from ..data.entries import DataEntry
from ..data.files.writing import DATASET_INFO
from ..errors import OptionError
from ..skintern.build import SOURCE, Settings, Steps, check_settings, step_files
from ..skintern.flops import ModelSize, cache_bytes, generation_flops, reference_macs
from ..skintern.options import MOST_STEPS
from ..skintern.preview import side_by_side
from ..skintern.schedule import listed_shares, schedule


class Skintern:
    """SKIntern: knowledge leaves the prompt step by step."""

    def build(
        self,
        data: str,
        out: str,
        dataset_dir: str = "data",
        steps: int = 4,
        pattern: str = "linear",
        decay: float = 3.0,
        shots: int = 6,
        examples: str = "similar",
        parts: str = "summary,supplement,examples",
        compressor: str = "extractive",
        final: str = "question",
        keep_share: float = 0.0,
        seed: int = 42,
    ) -> None:
        """Write the data set of every step: OUT/step-1 to OUT/step-T, each with its dataset_info.json and hash.

        The same records, options and seed give the same files.

        Args:
            data: a file, or an entry of dataset_info.json; its columns name "knowledge" and, if there is one,
                "rationale", "task" and "id".
            out: folder of the steps.
            dataset_dir: folder of dataset_info.json, for the name of an entry.
            steps: T, at least 2.
            pattern: linear, exp, inverse_exp, step, or the shares themselves, such as 1,0.5,0.
            decay: of exp and inverse_exp.
            shots: K, solved examples in the prompt of the first step.
            examples: similar (tf-idf, of the same task) or random.
            parts: what the prompt holds beside the question, of summary, supplement and examples.
            compressor: extractive (words of the knowledge) or tools (documentation of the record's tools).
            final: question (the last prompt is the question alone) or reference (as the published code).
            keep_share: share of the records that keep all knowledge in every step.
            seed: of all draws.
        """
        shares = _shares(steps, pattern, decay)
        made = _steps(
            data, dataset_dir, _settings(shares, shots, examples, parts, compressor, final, keep_share, seed)
        )
        folder, name = Path(str(out)), Path(str(data)).stem
        places = [folder / f"step-{step + 1}" for step in range(len(shares))]
        if (stale := folder / f"step-{len(shares) + 1}").exists():
            raise OptionError(f"{stale} is of a build with more than {len(shares)} steps; name another --out.")
        names = ("records.jsonl", DATASET_INFO, SOURCE)
        claim_plain(folder)
        claim([place / file for place in places for file in names], inputs=[made.entry.path])
        for step, (share, place) in enumerate(zip(shares, places, strict=True)):
            for file, text in step_files({name: made}, step).items():
                own_text(place / file, text)
            print(f"{place}: {made.counts.records:,} records at {share:.0%} of the knowledge")
        if made.counts.without_knowledge:
            print(
                f"{made.counts.without_knowledge:,} of {made.counts.records:,} records have no knowledge, such as "
                f"{', '.join(made.counts.places)}."
            )

    def preview(
        self,
        data: str,
        item: int = 0,
        dataset_dir: str = "data",
        steps: int = 4,
        pattern: str = "linear",
        decay: float = 3.0,
        shots: int = 6,
        examples: str = "similar",
        parts: str = "summary,supplement,examples",
        compressor: str = "extractive",
        final: str = "question",
        seed: int = 42,
    ) -> None:
        """Show the prompts of one record at all steps side by side, with their words.

        Args:
            data: a file, or an entry of dataset_info.json.
            item: index of the record, from 0.
            dataset_dir: folder of dataset_info.json, for the name of an entry.
            steps: T, at least 2.
            pattern: linear, exp, inverse_exp, step, or the shares themselves, such as 1,0.5,0.
            decay: of exp and inverse_exp.
            shots: K, solved examples in the prompt of the first step.
            examples: similar (tf-idf, of the same task) or random.
            parts: what the prompt holds beside the question, of summary, supplement and examples.
            compressor: extractive (words of the knowledge) or tools (documentation of the record's tools).
            final: question (the last prompt is the question alone) or reference (as the published code).
            seed: of all draws.
        """
        shares = _shares(steps, pattern, decay)
        made = _steps(data, dataset_dir, _settings(shares, shots, examples, parts, compressor, final, 0.0, seed))
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < len(made.records):
            raise OptionError(f"--item={item!r}: give the index of a record, 0 to {len(made.records) - 1}.")
        side_by_side(made, item)

    def flops(self, model: str, prompt: int | tuple[int, ...], generated: int = 60) -> None:
        """Count what asking a model costs at these lengths of the prompt, from its config.json alone.

        Args:
            model: folder of the model.
            prompt: tokens of the prompt; several with commas, such as 1000,150, are compared with the first.
            generated: tokens of the answer.
        """
        config = _config(Path(str(model)))
        size = ModelSize.of(config)
        lengths = tuple(prompt) if isinstance(prompt, tuple | list) else (prompt,)
        counts = (*lengths, generated)
        if not lengths or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in counts):
            raise OptionError(
                "--prompt and --generated are whole numbers of tokens from 1; several prompts: 1000,150."
            )
        print(
            f"{'prompt':>8} {'generated':>10} {'FLOPs':>10} {'of first':>9} {'cache bytes':>12} "
            f"{'MACs (published count)':>23}"
        )
        first = generation_flops(size, lengths[0], generated)
        for length in lengths:
            flops = generation_flops(size, length, generated)
            print(
                f"{length:>8,} {generated:>10,} {flops:>10.3g} {flops / first:>9.1%} "
                f"{cache_bytes(size, length, generated):>12,} {reference_macs(size, length):>23.3g}"
            )


def _shares(steps: int, pattern: Any, decay: float) -> tuple[float, ...]:
    pattern = ",".join(map(str, pattern)) if isinstance(pattern, tuple | list) else pattern
    listed = listed_shares(pattern) if isinstance(pattern, str) else None
    if isinstance(steps, int) and steps > MOST_STEPS:
        raise OptionError(f"--steps={steps}: give at most {MOST_STEPS}.")
    return schedule(len(listed) if listed else steps, pattern, decay)


def _settings(
    shares: tuple[float, ...],
    shots: int,
    examples: str,
    parts: Any,
    compressor: str,
    final: str,
    keep_share: float,
    seed: int,
) -> Settings:
    chosen = tuple(parts) if isinstance(parts, tuple | list) else tuple(filter(None, str(parts).split(",")))
    settings = Settings(
        shares=shares,
        shots=shots,
        examples=examples,
        parts=chosen,
        compressor=compressor,
        final=final,
        keep_share=keep_share,
        seed=seed,
    )
    check_settings(settings)
    return settings


def _steps(data: str, dataset_dir: str, settings: Settings) -> Steps:
    return Steps(DataEntry.found(str(data), Path(str(dataset_dir))), settings)


def _config(model: Path) -> dict[str, Any]:
    path = model / "config.json"
    try:
        return read_object(path)
    except DamagedError as error:
        raise OptionError(f"{path} {error}; name the folder of a model.") from None
