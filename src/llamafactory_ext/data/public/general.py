"""The general-ability data sets of arXiv:2409.13202, appendix A.2, and GSM8K, NQ-open and HumanEval."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..family import ALPACA as ALPACA_LAYOUT
from ..family import Example, Family, Outcome, always, by_patterns, split_by_name
from ..files.reading import iter_records
from .texts import Field, Fields, Texts

_ALPACA_FIELDS = (
    Field("instruction", ("instruction",)),
    Field("input", ("input",), optional=True),
    Field("output", ("output",)),
)


def _alpaca(texts: Fields) -> tuple[str, str, str]:
    return texts["instruction"], texts["input"], texts["output"]


def _refuse_tool_data(texts: Fields) -> str | None:
    """Refuse API-Bank, which has the same keys: marked "general" it would teach the router the opposite."""
    return "holds API-Bank's tool data" if "API-Request" in texts["instruction"] else None


def _refuse_other_than_gsm8k(texts: Fields) -> str | None:
    return None if "####" in texts["answer"] else 'is no GSM8K record: its "answer" has no "####" before the result'


def _alpaca_family(name: str, about: str, task: str, *patterns: str) -> Family:
    return Family(
        name=name,
        about=about,
        mark="general",
        task=task,
        layout=ALPACA_LAYOUT,
        choose=by_patterns(train=patterns),
        split_of=split_by_name,
        read=Texts(_ALPACA_FIELDS, _alpaca, _refuse_tool_data),
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
    layout=ALPACA_LAYOUT,
    choose=by_patterns(train=("train.jsonl",), test=("test.jsonl",)),
    split_of=split_by_name,
    read=Texts(
        (Field("question", ("question",)), Field("answer", ("answer",))),
        refuse=_refuse_other_than_gsm8k,
    ),
)
METAMATH = Family(
    name="metamath",
    about="MetaMathQA: MetaMathQA-395K.json",
    mark="general",
    task="math",
    layout=ALPACA_LAYOUT,
    choose=by_patterns(train=("MetaMathQA-395K.json", "MetaMath*.json", "MetaMath*.jsonl")),
    split_of=split_by_name,
    read=Texts((Field("question", ("query",)), Field("answer", ("response",)))),
)
NQ_OPEN = Family(
    name="nq_open",
    about="NQ-open: NQ-open.train.jsonl, NQ-open.dev.jsonl (the first answer is the target)",
    mark="general",
    task="facts",
    layout=ALPACA_LAYOUT,
    choose=by_patterns(train=("NQ-open.*train*.jsonl",), test=("NQ-open.dev.jsonl",)),
    split_of=split_by_name,
    read=Texts((Field("question", ("question",)), Field("answer", ("answer.0",)))),
)
TRIVIAQA = Family(
    name="triviaqa",
    about="TriviaQA: unfiltered-web-train.json, a qa/*-train.json of the rc release, or JSONL rows",
    mark="general",
    task="facts",
    layout=ALPACA_LAYOUT,
    choose=by_patterns(
        train=("unfiltered-web-train.json", "wikipedia-train.json", "web-train.json", "triviaqa*train*.jsonl"),
        test=("unfiltered-web-dev.json", "wikipedia-dev.json", "web-dev.json", "triviaqa*validation*.jsonl"),
    ),
    split_of=split_by_name,
    read=Texts((Field("question", ("Question", "question")), Field("answer", ("Answer.Value", "answer.value")))),
    records=partial(iter_records, list_key="Data"),
)

_HUMANEVAL = Texts((Field("question", ("prompt",)), Field("answer", ("canonical_solution",))))


def _read_humaneval(record: Any) -> Outcome:
    """Keep the whole record: the tests and the entry point are what a score is made of."""
    outcome = _HUMANEVAL(record)
    if not isinstance(outcome, Example):
        return outcome
    return Example(
        {**outcome.columns, "reference": json.dumps(record, ensure_ascii=False)}, str(record.get("task_id", ""))
    )


HUMANEVAL = Family(
    name="humaneval",
    about="HumanEval: HumanEval.jsonl.gz (or unpacked); a test set",
    mark="general",
    task="code",
    layout=ALPACA_LAYOUT,
    choose=by_patterns(test=("HumanEval*.jsonl.gz", "*uman*val*.jsonl")),
    split_of=always("test"),
    read=_read_humaneval,
)


def triviaqa_question(record: Mapping[str, Any]) -> Outcome:
    """Return what a model is asked by an item of the scorer's files: a question, without an answer."""
    return Example({"instruction": str(record["question"]), "output": ""})
