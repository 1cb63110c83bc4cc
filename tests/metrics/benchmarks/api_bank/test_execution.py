"""API-Bank's official verdicts: a small checkout of our own, in the form of the published one, run in the sandbox."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics import Report, score
from llamafactory_ext.metrics.benchmarks.api_bank.search import Embedder
from llamafactory_ext.metrics.benchmarks.api_bank.worker import search_modules
from metrics.isolation import isolation_problem
from metrics.published_data import write_predictions
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

MANAGER = """
import itertools, json, os, sys
import requests
from sentence_transformers import SentenceTransformer, util


class AddAlarm:
    input_parameters = {"token": "str", "time": "int"}

    def __init__(self, alarms):
        self.alarms = alarms

    def call(self, token, time):
        given = {"token": token, "time": time}
        if time in self.alarms:
            return {"api_name": "AddAlarm", "input": given, "output": None, "exception": "taken"}
        self.alarms.append(time)
        return {"api_name": "AddAlarm", "input": given, "output": "success", "exception": None}

    def check_api_call_correctness(self, response, groundtruth):
        if response["input"]["token"] == "key":
            raise KeyError("key")
        return all(response[part] == groundtruth[part] for part in ("input", "output", "exception"))


class Lookup(AddAlarm):
    input_parameters = {"word": "str"}

    def call(self, word):
        given = {"word": word, "token": ""}
        try:
            answer = requests.get("http://example.org/" + word)
        except Exception as error:
            return {"api_name": "Lookup", "input": given, "output": None, "exception": str(error)}
        return {"api_name": "Lookup", "input": given, "output": answer, "exception": None}


class Calculator(AddAlarm):
    input_parameters = {"formula": "str"}

    def call(self, formula):
        if formula == "loop":
            while True:
                pass
        if formula == "locked":  # within one step of the interpreter, which no signal ends
            sum(itertools.repeat(0))
        if formula == "caught":
            while True:
                try:
                    os.listdir("/")
                except BaseException:
                    pass
        if formula == "memory":
            os.abort()
        if formula == "exit":
            sys.exit(3)
        if formula == "flood":
            while True:
                print("x" * 1_000_000)
        return {"api_name": "Calculator", "input": {"formula": formula, "token": ""}, "output": 1, "exception": None}


class ToolSearcher(AddAlarm):
    input_parameters = {"keywords": "str"}

    def call(self, keywords):
        model = SentenceTransformer("named/somewhere")
        place = model.encode(keywords)
        best = max(("wake me", "what a word means"), key=lambda text: util.cos_sim(place, model.encode(text)).item())
        return {"api_name": "ToolSearcher", "input": {"keywords": keywords}, "output": best, "exception": None}

    def check_api_call_correctness(self, response, groundtruth):
        return all(response[part] == groundtruth[part] for part in ("output", "exception"))


class ToolManager:
    def __init__(self, apis_dir="./apis"):
        with open("alarms.json") as file:
            alarms = json.load(file)
        self.tools = {one.__name__: one(alarms) for one in (AddAlarm, Lookup, Calculator, ToolSearcher)}

    def init_tool(self, name):
        if name not in self.tools:
            raise Exception("invalid tool name.")
        return self.tools[name]

    def api_call(self, name, **arguments):
        tool = self.init_tool(name)
        for key in arguments:
            assert key in tool.input_parameters, "invalid parameter name. parameter: " + key
        if "time" in arguments:
            assert arguments["time"].isdigit(), "invalid parameter type."
            arguments["time"] = int(arguments["time"])
        return tool.call(**arguments)
"""


def turn(name: str, output: Any, **given: Any) -> dict[str, Any]:
    result = {"api_name": name, "input": given, "output": output, "exception": None}
    return {"role": "API", "api_name": name, "param_dict": given, "result": result}


DIALOGUE = [
    {"role": "User", "text": "Wake me."},
    turn("AddAlarm", "success", token="t", time=7),
    {"role": "AI", "text": "Done."},
    turn("AddAlarm", "success", token="t", time=8),
    turn("Lookup", "meaning", word="w"),
    turn("Calculator", 1, formula="1", token=""),
    {"role": "AI", "text": "One."},
]
CHAIN = (
    "User: two alarms\n"
    "API-Request: [ToolSearcher(keywords='wake me')]->{'api_name': 'ToolSearcher', 'input': {}, "
    "'output': 'wake me', 'exception': None}\n"
    "API-Request: [AddAlarm(token='t', time='5')]->{'api_name': 'AddAlarm', 'input': {'token': 't', 'time': 5}, "
    "'output': 'success', 'exception': None}\n"
)


def checkout(folder: Path) -> Path:
    root = folder / "checkout" / "api-bank"
    samples = root / "lv1-lv2-samples" / "level-1-given-desc"
    samples.mkdir(parents=True)
    (root / "tool_manager.py").write_text(MANAGER, encoding="utf-8")
    (root / "alarms.json").write_text("[9]", encoding="utf-8")
    (samples / "Alarm.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in DIALOGUE), encoding="utf-8")
    return root


def run(folder: Path, answers: dict[int, list[str]]) -> Report:
    """Score answers to the dialogue's calls; the key is the official id of the call."""
    records, texts = [], {}
    for id_, said in answers.items():
        for answer in said:
            texts[f"level-1-api:{len(records)}"] = answer
            record = {"file": "Alarm.jsonl", "id": id_, "instruction": "", "input": "", "expected_output": ""}
            records.append(record)
    (folder / "level-1-api.json").write_text(json.dumps(records), encoding="utf-8")
    file = write_predictions(folder / "p.jsonl", "api_bank", texts)
    return score("api_bank", file, folder, checkout=checkout(folder).parent)


@pytest.fixture(scope="module", autouse=True)
def _isolated() -> None:
    problem = isolation_problem()
    if problem is not None:
        pytest.skip(problem)


def test_categories(tmp_path: Path) -> None:
    cases = {
        "[AddAlarm(token='t', time='7')]": "CORRECT",
        "API-Request: [AddAlarm(time=7, token='t')] Done.": "CORRECT",
        "no call": "NO_API_CALL",
        '{"name": "AddAlarm", "arguments": {"token": "t", "time": 7}}': "CORRECT",
        "[Lookup(word='w')]": "API_NAME_MISMATCH",
        "[ToolSearcher(keywords='alarm')]": "API_NAME_MISMATCH",
        "[AddAlarm(token='t', time='6', day='1')]": "INVALID_INPUT_PARAMETER",
        "[AddAlarm(token='t')]": "MISS_INPUT_ARGUMENT",
        "[AddAlarm(token='key', time='7')]": "KEY_ERROR",
        "[AddAlarm(token='t', time='9')]": "HAS_EXCEPTION",
        "[AddAlarm(token='t', time='6')]": "INPUT_MISMATCH",
        "[AddAlarm(token='t', time='seven')]": "ABORTED",
    }
    report = run(tmp_path, {0: [*cases]})
    assert {answer: verdict.category for answer, verdict in zip(cases, report.verdicts, strict=True)} == cases
    assert report.figure("C").value == pytest.approx(3 / 12)
    assert report.figure("C").parse_failures == 1
    assert "338/399" in report.notes[0]
    assert "1 predictions state calls as JSON" in report.notes[1]


def test_a_call_right_after_a_call_and_the_network(tmp_path: Path) -> None:
    report = run(tmp_path, {2: ["[AddAlarm(token='t', time='8')]"], 3: ["[Lookup(word='w')]"]})
    assert [verdict.category for verdict in report.verdicts] == ["CORRECT", "HAS_EXCEPTION"]


@pytest.mark.parametrize(
    "answer",
    [
        "[ToolSearcher(keywords='wake me', day='1')]",
        "[ToolSearcher(day='1', keywords='wake me')]",
        "[ToolSearcher(keywords='wake me')] [AddAlarm(token='t', time='5')]",
        "API-Request: [ToolSearcher(keywords='wake me')], [Lookup(word='w')]",
        "[AddAlarm(token='t', time='5')] [Lookup(word='w')]",
        "[AddAlarm(token='t', time='5', keywords='wake me')]",
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_level_3_refuses_what_a_tool_does_not_know(tmp_path: Path, answer: str, number: int) -> None:
    """Two calls on one line are one with the arguments of both, as the published pattern reads them."""
    report = score_level_3(tmp_path, [(number, answer)], embedder_folder(tmp_path / "embedder"))
    assert [verdict.category for verdict in report.verdicts] == ["INVALID_INPUT_PARAMETER"]


def score_level_3(tmp_path: Path, answers: Sequence[tuple[int, str]], embedder: Path | None = None) -> Report:
    """Score answers to the chain's calls; the number is the call's."""
    chain = [{"instruction": "", "input": CHAIN, "output": "x", "sample_id": 0, "api_id": 1}]
    (tmp_path / "level-3-batch-inf-response.json").write_text(json.dumps(chain), encoding="utf-8")
    records = [{"instruction": "", "input": "", "output": "x", "sample_id": 0, "api_id": api} for api, _ in answers]
    (tmp_path / "level-3-batch-inf.json").write_text(json.dumps(records), encoding="utf-8")
    texts = {f"level-3-batch-inf:{number}": answer for number, (_, answer) in enumerate(answers)}
    file = write_predictions(tmp_path / "p.jsonl", "api_bank", texts)
    root = checkout(tmp_path)
    return score("api_bank", file, tmp_path / "level-3-batch-inf.json", checkout=root, embedder=embedder)


def test_level_3_shares_one_world(tmp_path: Path) -> None:
    alarm = "[AddAlarm(token='t', time='5')]"
    report = score_level_3(tmp_path, [(0, "[ToolSearcher(keywords='alarm')]"), (1, alarm), (1, alarm)])
    assert [verdict.category for verdict in report.verdicts] == ["NOT_EXECUTED", "CORRECT", "HAS_EXCEPTION"]
    assert report.figure("C").n == 2
    assert any("1 items whose gold call is ToolSearcher" in note for note in report.notes)


def test_what_the_search_engine_ranks_by() -> None:
    """Scores as rank_bm25 0.2.2 gives them, words as nltk 3.10 cuts them."""
    modules = search_modules()
    okapi = modules["rank_bm25"].BM25Okapi([["a", "b", "a"], ["b", "c"], ["a", "d", "e", "a"]])
    scores = okapi.get_scores(["a", "c", "a"])
    assert scores == pytest.approx([0.07297508910942724, 0.6009713220776361, 0.06591298371174073])
    assert modules["numpy"].argsort(-modules["numpy"].array(scores))[:2] == [1, 0]
    words = modules["nltk.tokenize"].word_tokenize("what's covid-19? they don't say 3.5 (yet)")
    assert words == ["what", "'s", "covid-19", "?", "they", "do", "n't", "say", "3.5", "(", "yet", ")"]


def embedder_folder(folder: Path) -> Path:
    """A sentence-transformers model of random weights."""
    config = BertConfig(
        vocab_size=384, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}', encoding="utf-8")
    return folder


def test_embeddings_are_means_over_the_tokens(tmp_path: Path) -> None:
    folder = embedder_folder(tmp_path)
    texts = ["wake me", "what a word means", "long " * 100]
    found = Embedder(folder)(texts)
    model, tokenizer = BertModel.from_pretrained(folder).eval(), tiny_tokenizer()
    for text in texts:
        with torch.no_grad():
            states_TX = model(torch.tensor([tokenizer(text)["input_ids"][:32]])).last_hidden_state[0]
        mean_X = states_TX.mean(0)
        assert found[text] == pytest.approx((mean_X / mean_X.norm()).tolist(), abs=1e-6)


def test_the_tool_searcher_with_an_embedder(tmp_path: Path) -> None:
    folder = embedder_folder(tmp_path / "embedder")
    vectors = Embedder(folder)(["wake me", "what a word means", "word Means", "word  Means"])
    nearest = vectors["word  Means"]  # as the published script splits level 3's keywords
    near, far = (sum(a * b for a, b in zip(nearest, vectors[tool], strict=True)) for tool in list(vectors)[:2])
    report = score_level_3(
        tmp_path,
        [(0, f"[{call}]") for call in ("ToolSearcher(keywords='wake me')", "ToolSearcher(keywords='word Means')")]
        + [(0, "[ToolSearcher(words='wake me')]"), (1, "[ToolSearcher(keywords='wake me')]")],
        folder,
    )
    other = "CORRECT" if near > far else "OUTPUT_MISMATCH"
    found = [verdict.category for verdict in report.verdicts]
    assert found == ["CORRECT", other, "INVALID_INPUT_PARAMETER", "API_NAME_MISMATCH"]
    assert any("embedder, which is not sentence-transformers/paraphrase-MiniLM-L3-v2" in note for note in report.notes)


def test_an_embedder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no model"):
        Embedder(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be loaded"):
        Embedder(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}', encoding="utf-8")
    with pytest.raises(DataError, match="only the mean"):
        Embedder(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    record = {"file": "Other.jsonl", "id": 0, "instruction": "", "input": "", "expected_output": ""}
    path = tmp_path / "level-1-api.json"
    path.write_text(json.dumps([record]), encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "api_bank", {"level-1-api:0": "[F()]"})
    with pytest.raises(OptionError, match="--mode strict compares"):
        score("api_bank", file, path)
    with pytest.raises(DataError, match="no checkout of API-Bank"):
        score("api_bank", file, path, checkout=tmp_path)
    root = checkout(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        score("api_bank", file, path, checkout=root)
    path.write_text(json.dumps([record | {"file": "Alarm.jsonl", "id": 1}]), encoding="utf-8")
    with pytest.raises(DataError, match="level-1-api:0: there is no gold call"):
        score("api_bank", file, path, checkout=root)
    path.write_text(json.dumps([record | {"file": "Alarm.jsonl"}]), encoding="utf-8")
    write_predictions(file, "api_bank", {"level-1-api:0": "[AddAlarm(token='t', time='7')]"})
    (root / "tool_manager.py").write_text("import no such thing", encoding="utf-8")
    with pytest.raises(DataError, match="could not be run"):
        score("api_bank", file, path, checkout=root)
