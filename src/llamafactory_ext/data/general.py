"""The general-ability data sets of CITI (arXiv:2409.13202, appendix A.2), and GSM8K and NQ-open."""

from __future__ import annotations

from .family import Family, Field, Fields, by_patterns, split_by_name

_ALPACA_FIELDS = (
    Field("instruction", ("instruction",)),
    Field("input", ("input",), optional=True),
    Field("output", ("output",)),
)


def _alpaca(texts: Fields) -> tuple[str, str, str]:
    return texts["instruction"], texts["input"], texts["output"]


def _question_and_answer(texts: Fields) -> tuple[str, str, str]:
    return texts["question"], "", texts["answer"]


def _refuse_tool_data(texts: Fields) -> str | None:
    """API-Bank has the same keys; marked "general" it would teach the router the opposite."""
    return "holds API-Bank's tool data" if "API-Request" in texts["instruction"] else None


def _refuse_other_than_gsm8k(texts: Fields) -> str | None:
    return None if "####" in texts["answer"] else 'is no GSM8K record: its "answer" has no "####" before the result'


def _alpaca_family(name: str, about: str, task: str, *patterns: str) -> Family:
    return Family(
        name=name,
        about=about,
        mark="general",
        task=task,
        fields=_ALPACA_FIELDS,
        build=_alpaca,
        choose=by_patterns(train=patterns),
        split_of=split_by_name,
        refuse=_refuse_tool_data,
    )


ALPACA = _alpaca_family(
    "alpaca",
    "any file of instruction, input, output (--task names the ability)",
    "instructions",
    "*alpaca*.json",
)
ALPACA_GPT4 = _alpaca_family(
    "alpaca_gpt4", "GPT-4-LLM: alpaca_gpt4_data.json", "instructions", "alpaca_gpt4_data.json", "*alpaca_gpt4*.json"
)
CODE_ALPACA = _alpaca_family(
    "code_alpaca", "CodeAlpaca: code_alpaca_20k.json", "code", "code_alpaca_20k.json", "*code*alpaca*.json"
)
GSM8K = Family(
    name="gsm8k",
    about="GSM8K: train.jsonl, test.jsonl",
    mark="general",
    task="math",
    fields=(Field("question", ("question",)), Field("answer", ("answer",))),
    build=_question_and_answer,
    choose=by_patterns(train=("train.jsonl",), test=("test.jsonl",)),
    split_of=split_by_name,
    refuse=_refuse_other_than_gsm8k,
)
METAMATH = Family(
    name="metamath",
    about="MetaMathQA: MetaMathQA-395K.json",
    mark="general",
    task="math",
    fields=(Field("question", ("query",)), Field("answer", ("response",))),
    build=_question_and_answer,
    choose=by_patterns(train=("MetaMathQA-395K.json", "MetaMath*.json", "MetaMath*.jsonl")),
    split_of=split_by_name,
)
NQ_OPEN = Family(
    name="nq_open",
    about="NQ-open: NQ-open.train.jsonl, NQ-open.dev.jsonl (the first answer is the target)",
    mark="general",
    task="facts",
    fields=(Field("question", ("question",)), Field("answer", ("answer.0",))),
    build=_question_and_answer,
    choose=by_patterns(train=("NQ-open.*train*.jsonl",), test=("NQ-open.dev.jsonl",)),
    split_of=split_by_name,
)
TRIVIAQA = Family(
    name="triviaqa",
    about="TriviaQA: unfiltered-web-train.json, a qa/*-train.json of the rc release, or JSONL rows",
    mark="general",
    task="facts",
    fields=(
        Field("question", ("Question", "question")),
        Field("answer", ("Answer.Value", "answer.value")),
    ),
    build=_question_and_answer,
    choose=by_patterns(
        train=("unfiltered-web-train.json", "wikipedia-train.json", "web-train.json", "triviaqa*train*.jsonl"),
        test=("unfiltered-web-dev.json", "wikipedia-dev.json", "web-dev.json", "triviaqa*validation*.jsonl"),
    ),
    split_of=split_by_name,
    list_key="Data",
)
