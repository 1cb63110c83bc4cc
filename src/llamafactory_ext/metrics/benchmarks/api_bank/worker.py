"""Runs within the sandbox: calls the API classes of a checkout of API-Bank and says how each call ended.

Standard library only, and none of our modules: it is sent there as text. Standard input holds the job. Standard output
tells each call as it begins and as it ends, on lines behind the job's mark, so that nothing is lost when a call ends
the worker: one that lasts too long does. What needs the network or a missing package raises, as offline. ToolSearcher
finds the embeddings that the job holds, and the answer names the texts that it asked for in vain; SearchEngine finds
what it needs of rank_bm25, nltk and numpy.
"""

import faulthandler
import importlib.abc
import importlib.machinery
import json
import math
import operator
import os
import re
import sys
from collections import Counter
from types import ModuleType, SimpleNamespace
from typing import Any

_CORRECT, _ABORTED = "CORRECT", "ABORTED"
# Words as nltk cuts them in a query: contractions in two, hyphens and inner full stops kept, other marks alone.
_WORDS = re.compile(r"\w+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:[-.]\w+)*|[^\w\s]")


class _Absent:
    """Anything of a package that is not there: classes can be made, everything else fails as without a network."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        if not self._name[:1].isupper():
            raise ConnectionError(f"{self._name} needs the network or a package that is not here")
        return _Absent("instance")

    def __iter__(self) -> Any:
        return iter(())


class _AbsentModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name)


class _AbsentFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last finder: stands in for the third-party packages that the API classes import."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in ("apis", "lv3_apis", "tool_manager", "api_call_extraction"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        return None


class _Similarity(float):
    """What `util.cos_sim` returns."""

    def item(self) -> float:
        return float(self)


def _embedding_module(vectors: dict[str, list[float]], wanted: dict[str, None]) -> ModuleType:
    """Stand in for sentence_transformers; a text without a vector is put down in `wanted` and resembles nothing."""

    class SentenceTransformer:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def encode(self, text: str) -> list[float]:
            if text not in vectors:
                wanted[text] = None
            return vectors.get(text, [])

    def cos_sim(left: list[float], right: list[float]) -> _Similarity:
        return _Similarity(sum(map(operator.mul, left, right)))

    module: Any = ModuleType("sentence_transformers")
    module.SentenceTransformer, module.util = SentenceTransformer, SimpleNamespace(cos_sim=cos_sim)
    return module  # type: ignore[no-any-return]


class _Okapi:
    """BM25 as rank_bm25's BM25Okapi has it: k1 = 1.5, b = 0.75; a weight below 0 becomes a quarter of the mean."""

    def __init__(self, corpus: list[list[str]]) -> None:
        self._counts = [Counter(words) for words in corpus]
        mean = sum(map(len, corpus)) / len(corpus)
        self._lengths = [1.5 * (0.25 + 0.75 * len(words) / mean) for words in corpus]
        held = Counter(word for counts in self._counts for word in counts)
        weights = {word: math.log(len(corpus) - n + 0.5) - math.log(n + 0.5) for word, n in held.items()}
        least = 0.25 * sum(weights.values()) / len(weights)
        self._weights = {word: weight if weight >= 0 else least for word, weight in weights.items()}

    def get_scores(self, query: list[str]) -> list[float]:
        return [
            sum(self._weights.get(word, 0.0) * counts[word] * 2.5 / (counts[word] + length) for word in query)
            for counts, length in zip(self._counts, self._lengths, strict=True)
        ]


class _Numbers(list[float]):
    def __neg__(self) -> "_Numbers":
        return _Numbers(-one for one in self)


def search_modules() -> dict[str, Any]:
    """Return what SearchEngine takes from rank_bm25, nltk and numpy."""
    made: dict[str, Any] = {name: ModuleType(name) for name in ("rank_bm25", "nltk", "nltk.tokenize", "numpy")}
    made["rank_bm25"].BM25Okapi = _Okapi
    made["nltk"].tokenize = made["nltk.tokenize"]
    made["nltk.tokenize"].word_tokenize = _WORDS.findall
    made["numpy"].array = _Numbers
    made["numpy"].argsort = lambda numbers: sorted(range(len(numbers)), key=numbers.__getitem__)
    return made


def _dialogue_call(manager_class: Any, task: dict[str, Any]) -> str:
    """Execute a call of levels 1 and 2: in a world of its own, and the name must be the gold call's."""
    gold = task["gold"]
    if task["name"] != gold["api_name"]:
        return "API_NAME_MISMATCH"
    manager = manager_class()
    try:
        result = manager.api_call(task["name"], **task["arguments"])
        try:
            correct = manager.init_tool(task["name"]).check_api_call_correctness(result, gold["result"])
        except KeyError:
            return "KEY_ERROR"
    except AssertionError as error:
        named = {
            "The API name is not correct.": "API_NAME_MISMATCH",
            "invalid parameter name": "INVALID_INPUT_PARAMETER",
        }
        return next((category for words, category in named.items() if words in str(error)), _ABORTED)
    except Exception as error:
        missing = "missing" in str(error) and "required positional argument" in str(error)
        return "MISS_INPUT_ARGUMENT" if missing else _ABORTED
    return _CORRECT if correct else _difference(result, gold["result"])


def _difference(result: dict[str, Any], gold: dict[str, Any]) -> str:
    if result["exception"]:
        return "HAS_EXCEPTION"
    if result["output"] != gold["output"]:
        return "OUTPUT_MISMATCH"
    return "INPUT_MISMATCH" if result["input"] != gold["input"] else "INCORRECT"


def _planned_call(manager: Any, task: dict[str, Any]) -> str:
    """Execute a call of level 3: in the world of all calls, as published, by any name whose result agrees."""
    arguments = task["arguments"]
    if task["name"] == "ToolSearcher" and "keywords" in arguments:  # as the published script does
        split = "".join(f" {c}" if c.isupper() else c for c in arguments["keywords"]).strip()
        arguments = {**arguments, "keywords": split}
    try:
        result = manager.api_call(task["name"], **arguments)
    except TypeError:
        return "MISS_INPUT_ARGUMENT"
    except AssertionError:
        return "INVALID_INPUT_PARAMETER"
    except Exception as error:
        return "API_NAME_MISMATCH" if str(error) == "invalid tool name." else _ABORTED
    gold = task["gold"]
    try:
        correct = manager.init_tool(gold["api_name"]).check_api_call_correctness(result, gold)
    except KeyError:
        return "KEY_ERROR"
    except AssertionError:
        return "INCORRECT"
    except Exception:
        return _ABORTED
    return _CORRECT if correct else _difference(result, gold)


def main() -> None:
    """Execute all calls; the last line names the texts that have no vector."""
    job = json.load(sys.stdin)
    os.chdir(job["checkout"])
    sys.path.insert(0, job["checkout"])
    sys.dont_write_bytecode = True
    os.environ["ALL_PROXY"] = ""  # Translate puts it back and cannot where it is not set
    sys.meta_path.append(_AbsentFinder())
    wanted: dict[str, None] = {}
    sys.modules.update(search_modules(), sentence_transformers=_embedding_module(job["vectors"], wanted))
    from tool_manager import ToolManager  # type: ignore[import-not-found]

    levels = {task["level"] for task in job["tasks"]}
    planner = ToolManager("./lv3_apis") if 3 in levels else None
    if levels - {3}:
        ToolManager()  # loads all classes, which is no call's time
    for task in job["tasks"]:
        _tell(job["mark"], "begun", task["id"])
        # Ends the process from a thread that needs no lock of the interpreter, whatever the call does.
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=sys.stdout)
        ended = _planned_call(planner, task) if task["level"] == 3 else _dialogue_call(ToolManager, task)
        faulthandler.cancel_dump_traceback_later()
        _tell(job["mark"], "ended", [task["id"], ended])
    _tell(job["mark"], "missed", list(wanted))


def _tell(mark: str, what: str, value: Any) -> None:
    print(f"\n{mark}{json.dumps([what, value])}", flush=True)


if __name__ == "__main__":
    main()
