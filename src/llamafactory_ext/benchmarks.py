"""One row per benchmark: what inference, scorers, converters and the report read of it, in names.

Standard library only. A benchmark is a file with its scorer and a row here; CONTRIBUTING.md says how to add one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .methods import Name

_PARTS: Final = "simple|multiple|parallel|parallel_multiple"
_BBH: Final = (
    "boolean_expressions|causal_judgement|date_understanding|disambiguation_qa|dyck_languages|formal_fallacies|"
    "geometric_shapes|hyperbaton|logical_deduction_(?:three|five|seven)_objects|movie_recommendation|"
    "multistep_arithmetic_two|navigate|object_counting|penguins_in_a_table|reasoning_about_colored_objects|ruin_names|"
    "salient_translation_error_detection|snarks|sports_understanding|temporal_sequences|"
    "tracking_shuffled_objects_(?:three|five|seven)_objects|web_of_lies|word_sorting"
)
_AGIEVAL: Final = "aqua-rat|logiqa-en|lsat-ar|lsat-lr|lsat-rc|sat-math|sat-en|sat-en-without-passage"
_BFCL: Final = "berkeley-function-call-leaderboard"
_ROOT: Final = "llamafactory_ext"
_METRICS: Final = f"{_ROOT}.metrics.benchmarks"
_PUBLIC: Final = f"{_ROOT}.data.public"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark; names left empty mean that it has no such thing.

    Attributes:
        name: as commands and predictions have it.
        title: as the report has it.
        files: a pattern of its published files' names.
        folders: below a given folder in which they may lie; the first that has some counts.
        default_file: the one that is read where a folder holds several that match.
        items: (file, required) -> its items.
        required: what a record must have to be of this benchmark, with the types of the values.
        beside: (file) -> another file that belongs to it, or None.
        check_files: (files, path as given) -> notes on them; raises DataError.
        question: (record of an item) -> what a model is asked, as converters say it; by default the first family's.
        families: its converters for `data convert`.
        score: (answered items, Context) -> what was found (metrics/answers.py).
        act: (options of `infer`) -> file; for a benchmark in which an agent acts.
        check: (predictions, references, mode) -> its report; of a benchmark without items and `score`.
        needs: options of `llamafactory-ext score` that it reads, beside those of every benchmark.
        keeps_calls: whether its decoder takes a server's `tool_calls` and not the JSON text of a call.
        published_part: of a run's parts, the one that the papers report.
        lower_is_better: its figures of which less is better.
        named: whether a figure's name says whose it is, so that the report leaves the title out.
    """

    name: str
    title: str
    files: str = ""
    items: Name = ""
    required: Mapping[str, type] = field(default_factory=dict)
    score: Name = ""
    act: Name = ""
    check: Name = ""
    folders: tuple[str, ...] = (".",)
    default_file: str = ""
    beside: Name = ""
    check_files: Name = ""
    question: Name = ""
    families: tuple[Name, ...] = ()
    needs: tuple[str, ...] = ()
    keeps_calls: bool = False
    published_part: str = ""
    lower_is_better: tuple[str, ...] = ()
    named: bool = False


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark(
        name="api_bank",
        title="API-Bank",
        files=r"level-(?:[12]-(?:api|response)|3-batch-inf(?:-response)?)\.json",
        folders=(".", "test-data"),
        items=f"{_METRICS}.items:numbered",
        required={"instruction": str, "input": str},
        families=(f"{_PUBLIC}.api_bank:FAMILY",),
        score=f"{_METRICS}.api_bank.execution:run",
        needs=("checkout", "embedder"),
        named=True,
    ),
    Benchmark(
        name="toolalpaca",
        title="ToolAlpaca",
        files=r"eval_(?:real|simulated)\.json",
        default_file="eval_real.json",
        items=f"{_METRICS}.items:toolalpaca",
        required={"Name": str, "Instructions": list, "Golden_Answers": list, "NLDocumentation": str},
        question=f"{_PUBLIC}.toolalpaca:read_question",
        families=(f"{_PUBLIC}.toolalpaca:FAMILY",),
        score=f"{_METRICS}.toolalpaca:run",
        needs=("judge",),
    ),
    Benchmark(
        name="rotbench",
        title="RoTBench",
        files=r"(?:clean|slight|medium|heavy|union)\.json",
        folders=(".", "First_Turn"),
        items=f"{_METRICS}.items:rotbench",
        required={"conversations": list, "scenario": str},
        families=(f"{_PUBLIC}.react:ROTBENCH",),
        score=f"{_METRICS}.rotbench:run",
        published_part="clean",
    ),
    Benchmark(
        name="bfcl",
        title="BFCL-v3",
        files=rf"BFCL_v[34]_exec_(?:{_PARTS})\.json",
        items=f"{_METRICS}.bfcl_items:executable_items",
        required={"id": str, "question": list, "function": list},
        beside=f"{_PUBLIC}.bfcl_files:answers_path",
        check_files=f"{_METRICS}.bfcl_items:check_files",
        question=f"{_PUBLIC}.bfcl:read_question",
        families=(f"{_PUBLIC}.bfcl:FAMILY",),
        score=f"{_METRICS}.bfcl:run",
        needs=("bfcl_version",),
        keeps_calls=True,
    ),
    Benchmark(
        name="bfcl_ast",
        title="bfcl_ast",
        files=rf"BFCL_v[34]_(?:(?:live_)?(?:{_PARTS}|irrelevance|relevance)|simple_python)\.json",
        items=f"{_METRICS}.bfcl_items:ast_items",
        required={"id": str, "question": list, "function": list},
        beside=f"{_PUBLIC}.bfcl_files:answers_path",
        check_files=f"{_METRICS}.bfcl_items:check_files",
        question=f"{_PUBLIC}.bfcl:read_question",
        score=f"{_METRICS}.bfcl_ast:run",
        needs=("bfcl_version", "any_format"),
        keeps_calls=True,
    ),
    Benchmark(
        name="bfcl_multi_turn",
        title="BFCL multi-turn",
        files=r"BFCL_v[34]_multi_turn_(?:base|miss_func|miss_param|long_context)\.json",
        folders=(".", "bfcl_eval/data", f"{_BFCL}/bfcl_eval/data", "data", f"{_BFCL}/data"),
        items=f"{_METRICS}.bfcl_items:multi_turn_items",
        required={"id": str, "question": list, "initial_config": dict, "involved_classes": list},
        beside=f"{_PUBLIC}.bfcl_files:answers_path",
        check_files=f"{_METRICS}.bfcl_items:check_files",
        act=f"{_ROOT}.serving.agent.bfcl:act",
        score=f"{_METRICS}.bfcl_multi_turn.score:run",
        needs=("checkout", "bfcl_version"),
        keeps_calls=True,
    ),
    Benchmark(
        name="tooleyes",
        title="ToolEyes",
        files=r"scenario_data_zero_processed\.json",
        items=f"{_METRICS}.items:tooleyes",
        required={"conversations": list, "path": str, "scenario": str},
        families=(f"{_PUBLIC}.react:TOOLEYES",),
        score=f"{_METRICS}.tooleyes:run",
        lower_is_better=("DE", "CE"),
        named=True,
    ),
    Benchmark(
        name="gsm8k",
        title="GSM8K",
        files=r"test\.jsonl",
        items=f"{_METRICS}.items:numbered",
        required={"question": str, "answer": str},
        families=(f"{_PUBLIC}.general:GSM8K",),
        score=f"{_METRICS}.questions:run_gsm8k",
        named=True,
    ),
    Benchmark(
        name="humaneval",
        title="HumanEval",
        files=r"HumanEval\.jsonl(?:\.gz)?",
        items=f"{_METRICS}.items:humaneval",
        required=dict.fromkeys(("task_id", "prompt", "entry_point", "test", "canonical_solution"), str),
        families=(f"{_PUBLIC}.general:HUMANEVAL",),
        score=f"{_METRICS}.humaneval:run",
        needs=("execute",),
        named=True,
    ),
    Benchmark(
        name="triviaqa",
        title="TriviaQA",
        files=r".+\.jsonl",
        items=f"{_METRICS}.items:numbered",
        required={"question": str, "answer": list},
        question=f"{_PUBLIC}.general:triviaqa_question",
        families=(f"{_PUBLIC}.general:TRIVIAQA",),
        score=f"{_METRICS}.questions:run_triviaqa",
        named=True,
    ),
    Benchmark(
        name="bbh",
        title="BBH",
        files=rf"(?:{_BBH})\.json",
        folders=(".", "bbh"),
        items=f"{_METRICS}.items:bbh",
        required={"input": str, "target": str},
        question=f"{_PUBLIC}.reasoning:bbh_question",
        score=f"{_METRICS}.reasoning:run_bbh",
        named=True,
    ),
    Benchmark(
        name="agieval",
        title="AGIEval",
        files=rf"(?:{_AGIEVAL})\.jsonl",
        folders=(".", "data/v1"),
        items=f"{_METRICS}.items:numbered",
        required={"question": str, "options": list, "label": str},
        question=f"{_PUBLIC}.reasoning:agieval_question",
        score=f"{_METRICS}.reasoning:run_agieval",
        named=True,
    ),
    Benchmark(
        name="arc",
        title="ARC",
        files=r"ARC-(?:Easy|Challenge)-(?:Test|Dev)\.jsonl",
        items=f"{_METRICS}.items:arc",
        required={"answerKey": str},
        question=f"{_PUBLIC}.reasoning:arc_question",
        score=f"{_METRICS}.reasoning:run_arc",
        named=True,
    ),
    Benchmark(
        name="etapp",
        title="ETAPP",
        act=f"{_ROOT}.etapp.benchmark:act",
        check=f"{_ROOT}.etapp.benchmark:check",
    ),
    Benchmark(name="tau2", title="tau2-bench", check=f"{_METRICS}.tau2.score:check"),
)


def benchmarks() -> tuple[Benchmark, ...]:
    """Return all rows."""
    return BENCHMARKS


def benchmark_of(name: object) -> Benchmark | None:
    """Return the row of a name, None for any other."""
    return next((row for row in BENCHMARKS if row.name == name), None)


def names() -> tuple[str, ...]:
    """Return the benchmarks' names."""
    return tuple(row.name for row in BENCHMARKS)


def needing(option: str) -> tuple[str, ...]:
    """Return the names of the benchmarks that read an option of `llamafactory-ext score`."""
    return tuple(row.name for row in BENCHMARKS if option in row.needs)
