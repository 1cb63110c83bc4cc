"""The two rows, as they would stand in methods.py and benchmarks.py."""

from llamafactory_ext import benchmarks, methods

METHOD = methods.Method(
    name="dummy",
    option="finetuning_type",
    title="Dummy",
    nearest="lora",
    arguments="methods.dummy.options:DummyArguments",
    rules="methods.dummy.options:RULES",
    run="methods.dummy.workflow:run_dummy",
    column="methods.dummy.fates:COLUMN",
    check_options="methods.dummy.fates:conflicts",
    phased=True,
    replaces=("learning_rate", "num_train_epochs"),
)
BENCHMARK = benchmarks.Benchmark(
    name="dummy",
    title="Dummy",
    files=r"dummy\.jsonl",
    items="llamafactory_ext.metrics.benchmarks.items:numbered",
    required={"question": str, "answer": str},
    question="methods.dummy.score:question",
    score="methods.dummy.score:run",
    named=True,
)


def add() -> None:
    """Put the rows into their tables; before anything reads these."""
    methods.METHODS += (METHOD,)
    benchmarks.BENCHMARKS += (BENCHMARK,)
