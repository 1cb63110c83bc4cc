"""Asks API-Bank's own evaluators, in their own process: `python published.py CHECKOUT ANSWERS [EMBEDDER]`.

ANSWERS is a JSON list of objects from "FILE:NUMBER" to the answer's text. Prints as much with the category: CORRECT, a
category of the published script, INCORRECT at level 3, which has none, ABORTED where the script stops with an
exception, TIMEOUT where it does not end. Stands in for what needs a network, and for sentence_transformers (the mean
over the tokens' states, as it is there).
"""

import contextlib
import functools
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nltk

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
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    longest = json.loads((Path(folder) / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]

    @functools.cache
    def encode(text: str) -> Any:
        with torch.inference_mode():
            inputs = tokenizer([text], truncation=True, max_length=longest, return_tensors="pt")
            return model(**inputs).last_hidden_state.mean(1)

    return encode


class NeverEnds(BaseException):
    pass


def ended(call: Callable[[], str]) -> str:
    """A category, where the published code comes to an end."""

    def stop(*_: Any) -> None:
        raise NeverEnds

    os.environ["ALL_PROXY"] = ""  # Translate takes it away
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(3)
    try:
        return call()
    except NeverEnds:
        return "TIMEOUT"
    finally:
        signal.alarm(0)


def similarity(left: Any, right: Any) -> Any:
    import torch

    return torch.nn.functional.cosine_similarity(left, right)


def dialogue_category(evaluator: Any, id_: int, call: str | None) -> str:
    """The category under which `evaluator_by_json.py` counts a call."""
    if not call:
        return "NO_API_CALL"
    try:
        correct, result = evaluator.evaluate(id_, call)
    except Exception as error:
        said = str(error)
        named = {
            "invalid parameter name": "INVALID_INPUT_PARAMETER",
            "The API name is not correct.": "API_NAME_MISMATCH",
        }
        if isinstance(error, AssertionError):
            return next((category for words, category in named.items() if words in said), "ABORTED")
        if "Parse API Call Error" in said:
            return "FAILED_PARSE_API_CALL"
        missing = "missing" in said and "required positional argument" in said
        return "MISS_INPUT_ARGUMENT" if missing else "ABORTED"
    if isinstance(result, str):
        return "API_NAME_MISMATCH" if result.startswith("API Name Mismatch") else "KEY_ERROR"
    if correct:
        return "CORRECT"
    gold = evaluator.dataset[id_].ground_truth["result"]
    if result["exception"]:
        return "HAS_EXCEPTION"
    for part, category in (("output", "OUTPUT_MISMATCH"), ("input", "INPUT_MISMATCH")):
        if result[part] != gold[part]:
            return category
    return "INCORRECT"


def dialogue_verdicts(file: str, folder: str, answers: dict[str, str]) -> dict[str, str]:
    import evaluator_by_json as published

    found = {}
    for number, record in enumerate(json.loads(Path("test-data", f"{file}.json").read_text("utf-8"))):
        if f"{file}:{number}" not in answers:
            continue
        lines = Path("lv1-lv2-samples", folder, record["file"]).read_text("utf-8").splitlines()
        evaluator = published.Evaluator(published.Sample.from_chat_history([json.loads(line) for line in lines]))
        call = published.get_api_call(answers[f"{file}:{number}"])
        asked = functools.partial(dialogue_category, evaluator, record["id"], call)
        found[f"{file}:{number}"] = ended(asked)
    return found


def plan_category(published: Any, manager: Any, gold: Any, answer: str) -> str:
    """What `lv3_evaluator.py` does with a call, in the other script's words."""
    call = published.get_api_call(answer)
    if not call:
        return "NO_API_CALL"
    try:
        name, arguments = published.parse_api_call(call)
    except Exception:
        return "FAILED_PARSE_API_CALL"
    try:
        if name == "ToolSearcher":
            arguments["keywords"] = published.split_by_uppercase(arguments["keywords"])
        result = manager.api_call(name, **arguments)
    except TypeError:
        return "MISS_INPUT_ARGUMENT"
    except AssertionError:
        return "INVALID_INPUT_PARAMETER"
    except Exception as error:
        return "API_NAME_MISMATCH" if str(error) == "invalid tool name." else "ABORTED"
    try:
        return (
            "CORRECT"
            if manager.init_tool(gold["api_name"]).check_api_call_correctness(result, gold["output"])
            else ("INCORRECT")
        )
    except (KeyError, AssertionError):
        return "INCORRECT"
    except Exception:
        return "ABORTED"


def plan_verdicts(answers: dict[str, str]) -> dict[str, str]:
    import lv3_evaluator as published

    manager, found = published.ToolManager("./lv3_apis"), {}
    plans = json.loads(Path("test-data", "level-3.json").read_text("utf-8"))
    for number, record in enumerate(json.loads(Path("test-data", f"{PLANS}.json").read_text("utf-8"))):
        id_ = f"{PLANS}:{number}"
        if id_ in answers:
            gold = plans[record["sample_id"]]["apis"][record["api_id"]]
            found[id_] = ended(functools.partial(plan_category, published, manager, gold, answers[id_]))
    return found


def main(checkout: str, answers_file: str, embedder: str | None = None) -> None:
    given, encode = json.loads(Path(answers_file).read_text("utf-8")), embedding(embedder)
    stand_in(
        "sentence_transformers",
        SentenceTransformer=lambda _: SimpleNamespace(encode=encode),
        util=SimpleNamespace(cos_sim=similarity),
    )
    stand_in("googletrans", Translator=NoNetwork, LANGUAGES={})
    stand_in("utils", ChatGPTWrapper=None, DavinciWrapper=None)
    # What word_tokenize does within a sentence; cutting into sentences needs data of nltk's, and queries are one.
    nltk.tokenize.word_tokenize = nltk.tokenize.NLTKWordTokenizer().tokenize
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    sys.dont_write_bytecode = True
    rounds = []
    with contextlib.redirect_stdout(io.StringIO()):
        for answers in given:
            found = plan_verdicts(answers)
            for file, folder in DIALOGUES.items():
                found |= dialogue_verdicts(file, folder, answers)
            rounds.append(found)
    print(json.dumps(rounds))


if __name__ == "__main__":
    main(*sys.argv[1:])
