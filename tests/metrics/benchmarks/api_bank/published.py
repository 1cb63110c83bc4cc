"""Asks API-Bank's own evaluators, in their own process: `python published_api_bank.py CHECKOUT ANSWERS [EMBEDDER]`.

ANSWERS is a JSON file, from "FILE:NUMBER" to the answer's text; prints as much with whether the answer is correct.
Stands in for what needs a network, and for sentence_transformers (the mean over the tokens' states, as it is there).
"""

import contextlib
import functools
import io
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nltk
import torch
from transformers import AutoModel, AutoTokenizer

DIALOGUES = {"level-1-api": "level-1-given-desc", "level-2-api": "level-2-toolsearcher"}
PLANS = "level-3-batch-inf"


class NoNetwork:
    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(name)


def stand_in(name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


def embedding(folder: str | None) -> Any:
    if folder is None:
        return None
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    longest = json.loads((Path(folder) / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]

    @functools.cache
    def encode(text: str) -> torch.Tensor:
        with torch.inference_mode():
            inputs = tokenizer([text], truncation=True, max_length=longest, return_tensors="pt")
            return model(**inputs).last_hidden_state.mean(1)

    return encode


def dialogue_verdicts(file: str, folder: str, answers: dict[str, str]) -> dict[str, bool]:
    import evaluator_by_json as published

    found = {}
    for number, record in enumerate(json.loads(Path("test-data", f"{file}.json").read_text("utf-8"))):
        lines = Path("lv1-lv2-samples", folder, record["file"]).read_text("utf-8").splitlines()
        evaluator = published.Evaluator(published.Sample.from_chat_history([json.loads(line) for line in lines]))
        call, correct = published.get_api_call(answers[f"{file}:{number}"]), False
        with contextlib.suppress(Exception):  # each of them is a wrong answer, or the end of the published script
            correct = bool(call) and evaluator.evaluate(record["id"], call)[0]
        found[f"{file}:{number}"] = correct
    return found


def plan_verdicts(answers: dict[str, str]) -> dict[str, bool]:
    import lv3_evaluator as published

    manager, found = published.ToolManager("./lv3_apis"), {}
    plans = json.loads(Path("test-data", "level-3.json").read_text("utf-8"))
    for number, record in enumerate(json.loads(Path("test-data", f"{PLANS}.json").read_text("utf-8"))):
        gold, correct = plans[record["sample_id"]]["apis"][record["api_id"]], False
        with contextlib.suppress(Exception):
            name, arguments = published.parse_api_call(published.get_api_call(answers[f"{PLANS}:{number}"]))
            if name == "ToolSearcher":
                arguments["keywords"] = published.split_by_uppercase(arguments["keywords"])
            result = manager.api_call(name, **arguments)
            correct = manager.init_tool(gold["api_name"]).check_api_call_correctness(result, gold["output"])
        found[f"{PLANS}:{number}"] = correct
    return found


def main(checkout: str, answers_file: str, embedder: str | None = None) -> None:
    answers, encode = json.loads(Path(answers_file).read_text("utf-8")), embedding(embedder)
    stand_in(
        "sentence_transformers",
        SentenceTransformer=lambda _: SimpleNamespace(encode=encode),
        util=SimpleNamespace(cos_sim=torch.nn.functional.cosine_similarity),
    )
    stand_in("googletrans", Translator=NoNetwork)
    stand_in("utils", ChatGPTWrapper=None, DavinciWrapper=None)
    # What word_tokenize does within a sentence; cutting into sentences needs data of nltk's, and queries are one.
    nltk.tokenize.word_tokenize = nltk.tokenize.NLTKWordTokenizer().tokenize
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    sys.dont_write_bytecode = True
    os.environ["ALL_PROXY"] = ""
    found = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for file, folder in DIALOGUES.items():
            found |= dialogue_verdicts(file, folder, answers)
        found |= plan_verdicts(answers)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
