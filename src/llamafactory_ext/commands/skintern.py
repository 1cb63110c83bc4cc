"""`llamafactory-ext skintern ...`: a teacher, the data of the steps, scores, and what knowledge costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint.own import claim, claim_plain, own_json, own_text
from ..data.entries import DataEntry
from ..data.files.writing import DATASET_INFO
from ..errors import OptionError
from ..skintern.apart import check_apart
from ..skintern.build import Steps
from ..skintern.flops import ModelSize, cache_bytes, config_of, generation_flops, reference_macs
from ..skintern.options import MOST_STEPS
from ..skintern.preview import side_by_side
from ..skintern.records import read_skintern_records
from ..skintern.retrieval import find_documents
from ..skintern.schedule import listed_shares, schedule
from ..skintern.sealed import SOURCE, step_files
from ..skintern.settings import Settings, check_settings
from .words import switch


class Skintern:
    """SKIntern: knowledge leaves the prompt step by step."""

    def collect(
        self,
        data: str,
        out: str,
        dataset_dir: str = "data",
        rationales: int = 2,
        candidates: int = 1,
        temperature: float = 0.8,
        max_tokens: int = 1024,
        concurrency: int = 8,
        test: str = "",
    ) -> None:
        """Ask a teacher for rationales and knowledge; the same command goes on where it stopped.

        The teacher is any endpoint of OpenAI's chat completions. Its address, model and key come from
        LLAMAFACTORY_EXT_TEACHER_URL, _MODEL and _KEY, prices of its tokens from _PRICES. OUT gets records.jsonl, a
        dataset_info.json, report.json with counts, and teacher.jsonl, the log of all replies.

        Args:
            data: a file, or an entry of dataset_info.json: questions with their answers.
            out: folder of the result.
            dataset_dir: folder of dataset_info.json, for the name of an entry.
            rationales: asked for each record; those that do not end in its answer are dropped.
            candidates: knowledge asked for each rationale; the one most like the question stays.
            temperature: of the teacher.
            max_tokens: of a reply.
            concurrency: records at a time.
            test: a file or entry of test items; records that ask what one of them asks are refused.
        """
        from ..metrics.judge import Judge, JudgeOptions, claim_log
        from ..skintern.collect import check_asking, collect, collected_info

        check_asking(rationales, candidates, concurrency, temperature, max_tokens)
        entry, folder = _entry(data, dataset_dir), Path(str(out))
        records = list(read_skintern_records(entry))
        _check_test(entry, test, dataset_dir)
        files = [folder / name for name in ("records.jsonl", DATASET_INFO, "report.json")]
        claim_plain(folder)
        claim(files, inputs=[entry.path])
        log = folder / "teacher.jsonl"
        claim_log(log, [entry.path])
        options = replace(JudgeOptions.from_environment("teacher"), temperature=temperature, max_tokens=max_tokens)
        teacher = Judge(options, log)
        found = collect(
            entry, records, teacher.ask, rationales=rationales, candidates=candidates, concurrency=concurrency
        )
        lines = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in found.records)
        own_text(files[0], lines)
        own_json(files[1], collected_info(entry, Path(str(data)).stem, files[0].name))
        own_json(files[2], {**found.to_json(), "teacher": teacher.summary()})
        print("\n".join([*found.lines(), *map(str, files)]))

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
        test: str = "",
        compressor_model: str = "",
        documents: str = "",
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
            compressor: extractive, self_info or llmlingua2 (words of the knowledge), or tools (documentation of the
                record's tools).
            final: question (the last prompt is the question alone) or reference (as the published code).
            keep_share: share of the records that keep all knowledge in every step.
            seed: of all draws.
            test: a file or entry of test items; records that ask what one of them asks are refused.
            compressor_model: local folder of the model that self_info and llmlingua2 ask.
            documents: a file of documents, or a data set with knowledge, to search for every question in place of its
                own knowledge: one step, the prompts of the rival kard, in training as at inference.
        """
        shares = _shares(steps, pattern, decay)
        _check_test(_entry(data, dataset_dir), test, dataset_dir)
        made = _steps(
            data,
            dataset_dir,
            _settings(shares, shots, examples, parts, compressor, final, keep_share, seed, compressor_model),
            documents,
        )
        shares = made.settings.shares
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
        compressor_model: str = "",
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
            compressor: extractive, self_info or llmlingua2 (words of the knowledge), or tools (documentation of the
                record's tools).
            final: question (the last prompt is the question alone) or reference (as the published code).
            seed: of all draws.
            compressor_model: local folder of the model that self_info and llmlingua2 ask.
        """
        shares = _shares(steps, pattern, decay)
        chosen = _settings(shares, shots, examples, parts, compressor, final, 0.0, seed, compressor_model)
        made = _steps(data, dataset_dir, chosen)
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
        size = ModelSize.of(config_of(Path(str(model))))
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

    def score(
        self,
        benchmark: str,
        predictions: str,
        references: str,
        out: str = "",
        model: str = "",
        asked: str = "",
        step: int = 0,
        knowledge: bool = False,
    ) -> None:
        """Score saved predictions in three readings, with what a prompt costs.

        strict wants the answer behind "the answer is", lenient takes the last candidate where that is missing,
        reference reads as the published evaluator does.

        Args:
            benchmark: bbh, agieval, gsm8k or arc.
            predictions: the file that `llamafactory-ext infer` wrote.
            references: the folder with the benchmark's published files, or one of them.
            out: the figures, JSON, for `skintern report`. Default: beside the predictions.
            model: folder of the model that answered, for tokens, FLOPs and bytes of the cache.
            asked: the data file that was asked in place of the benchmark's prompts, such as one with knowledge.
            step: after which step of training the model answered, for the curve of the report.
            knowledge: its prompts held knowledge.
        """
        from ..skintern.score import READINGS, score

        if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step <= MOST_STEPS:
            raise OptionError(f"--step={step!r}: give the number of a step, 1 to {MOST_STEPS}, or leave it out.")
        source, truth = Path(str(predictions)), Path(str(references))
        target = Path(str(out)) if out else source.with_name(f"{source.stem}.skintern.json")
        inputs = [source, truth, *(Path(str(path)) for path in (asked,) if path)]
        claim([target], inputs=inputs)
        found = score(
            str(benchmark),
            source,
            truth,
            model=Path(str(model)) if model else None,
            asked=Path(str(asked)) if asked else None,
            step=step,
            knowledge=switch("knowledge", knowledge),
        )
        own_json(target, found.to_json())
        for name in READINGS:
            reading = found.readings[name]
            error = "" if reading.standard_error is None else f" ± {100 * reading.standard_error:.2f}"
            print(f"{name:<12}{100 * reading.value:>7.2f} %{error}  (n = {reading.n} of {found.n_references})")
        if found.cost is not None:
            for name, value in vars(found.cost).items():
                print(f"{name.replace('_', ' '):<18}{value:>12.4g} an item")
        print("\n".join([*(f"- {note}" for note in found.notes), str(target)]))

    def report(self, *runs: str, out: str = "skintern_report", group: str = "TinyLLaMA") -> None:
        """Draw accuracy against FLOPs beside the paper's points, and the curve of what is internalised.

        OUT gets report.json, report.png and report.html, one page that needs nothing else.

        Args:
            runs: LABEL=PATH[,PATH...] each; a path is a file of `skintern score` or a folder of them. The first run's
                cost is the unit.
            out: folder of the files.
            group: whose points stand beside ours: TinyLLaMA, LLaMA2-7B, LLaMA3-8B, Qwen2-0.5B, Qwen2-1.5B or Qwen2-7B.
        """
        from ..skintern.report import read_runs, write

        print("\n".join(map(str, write(read_runs([str(word) for word in runs]), Path(str(out)), str(group)))))


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
    compressor_model: Any,
) -> Settings:
    chosen = tuple(parts) if isinstance(parts, tuple | list) else tuple(filter(None, str(parts).split(",")))
    settings = Settings(
        shares=shares,
        shots=shots,
        examples=examples,
        parts=chosen,
        compressor=compressor,
        compressor_model=str(compressor_model),
        final=final,
        keep_share=keep_share,
        seed=seed,
    )
    check_settings(settings)
    if compressor == "self_info" and not compressor_model:
        raise OptionError("--compressor=self_info needs --compressor_model, the local folder of the model to ask.")
    return settings


def _steps(data: str, dataset_dir: str, settings: Settings, documents: Any = "") -> Steps:
    if not documents:
        return Steps(_entry(data, dataset_dir), settings)
    found = find_documents(str(documents), Path(str(dataset_dir)))
    searched = replace(settings, shares=(1.0,), shots=0, retrieved=True, keep_share=0.0)
    return Steps(_entry(data, dataset_dir), searched, documents=found)


def _entry(data: Any, dataset_dir: Any) -> DataEntry:
    return DataEntry.found(str(data), Path(str(dataset_dir)))


def _check_test(entry: DataEntry, test: Any, dataset_dir: str) -> None:
    if test:
        tested = _entry(test, dataset_dir)
        check_apart(entry, list(read_skintern_records(entry)), tested, list(read_skintern_records(tested)))
