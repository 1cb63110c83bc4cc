"""`data check`: every fault of a file with its place and the next step, and what a template makes of the records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commands.test_data import run as run_command
from data.samples import write_sample
from llamafactory_ext.data.checks import audit as audit_module
from llamafactory_ext.data.checks.audit import Audit, audit
from llamafactory_ext.data.entries import DataEntry, Dialogue
from llamafactory_ext.data.family import ALPACA, SHAREGPT
from llamafactory_ext.data.public.convert import FAMILIES, Request, convert
from llamafactory_ext.errors import DataError, OptionError

CALL = '{"name": "set_lamp", "arguments": {"level": 3}}'
TOOLS = '[{"name": "set_lamp", "parameters": {}}, {"type": "function", "function": {"name": "off"}}]'


def talk(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    conversation = [{"from": role, "value": text} for role, text in turns]
    return {"conversations": conversation, "system": "", "tools": TOOLS, "mark": "tool", "task": "tool", **more}


def look(folder: Path, records: Any, entry: Any = None, **options: Any) -> Audit:
    path = folder / "x.json"
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    return audit(DataEntry.of("x", entry or SHAREGPT.entry("x.json"), path), **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_converters_write_has_no_errors(name: str, tmp_path: Path) -> None:
    result = convert(Request(name, write_sample(name, tmp_path / "in"), tmp_path))
    found = audit(DataEntry.of_file(result.output))
    assert found.lines() == []
    assert found.records == result.written == found.marks[FAMILIES[name].mark]
    assert len(found.remarks) == (1 if name == "tooleyes" else 0)  # its answers are empty: it has no gold


def test_all_faults_of_a_file_come_at_once_with_their_places(tmp_path: Path) -> None:
    records = [
        talk(("human", "a"), ("function_call", CALL), ("observation", "b"), ("gpt", "c")),
        talk(("human", "a"), ("function_call", f"I set it.\n<tool_call>{CALL}</tool_call>")),
        talk(("human", "a"), ("function_call", f"<think>hm</think>[{CALL}, {CALL}]")),
        talk(("gpt", "a"), ("human", "b")),
        talk(("human", "a"), ("robot", "b")),
        talk(("human", "a"), ("gpt", "b"), ("human", "c")),
        talk(("human", "a"), ("function_call", "set_lamp(level=3)")),
        talk(("human", "a"), ("function_call", '{"name": "set_lamp"}')),
        talk(("human", "a"), ("function_call", '{"name": "set_lamp", "arguments": "{level: 3"}')),
        talk(("human", "a"), ("function_call", '{"name": "open", "arguments": {}}')),
        talk(("human", "a"), ("function_call", CALL), tools=""),
        talk(("human", "a"), ("function_call", CALL), tools="[{]"),
        talk(("human", "a"), ("gpt", "b"), tools='{"name": "set_lamp"}'),
        talk(("human", "a"), ("gpt", "b"), tools='[{"title": "set_lamp"}]'),
        talk(("human", "a"), ("gpt", "b"), tools=[{"name": "set_lamp"}]),
        talk(("human", "a"), ("gpt", "b"), mark="tools"),
        talk(("human", "a"), ("gpt", " ")),
        {"conversations": []},
        7,
    ]
    result = look(tmp_path, records)
    path = tmp_path / "x.json"
    assert result.lines() == [
        f'{path}, index 3: turn 1 is of "gpt" where human or observation is due; {audit_module.LEFT_OUT}',
        f'{path}, index 4: turn 2 is of "robot" where gpt or function_call is due; {audit_module.LEFT_OUT}',
        f'{path}, index 5: the dialogue ends with "human", not with the assistant; {audit_module.LEFT_OUT}',
        f"{path}, index 6: {audit_module.NOT_A_CALL}",
        f"{path}, index 8: {audit_module.TEXT_ARGUMENTS}",
        f"{path}, index 9, index 10: {audit_module.UNDECLARED}",
        f"{path}, index 11, index 12, index 13: {audit_module.BAD_TOOLS}",
        f'{path}, index 14: "tools" is no text; write one (tools: their list as JSON text)',
        f'{path}, index 15: mark \'tools\' in column "mark"; write "tool" or "general"',
        f'{path}, index 17: no dialogue in "conversations"; write a list of messages there',
        f"{path}, index 18: the record is no JSON object",
    ]
    assert (result.records, result.calls, result.marks["tool"]) == (19, 9, 15)
    assert [line.partition(": ")[0] for line in result.remarks.lines()] == [f"{path}, index 16"]


def test_calls_in_the_text_of_an_answer_are_read_in_any_format(tmp_path: Path) -> None:
    def plain(output: str, prompt: str = "APIs: {'name': 'SetLamp'}") -> dict[str, Any]:
        return {"instruction": prompt, "input": "", "output": output, "mark": "tool", "task": "tool"}

    records = [
        plain("API-Request: [SetLamp(level='3', room='hall'), SetLamp(level='4')]"),
        plain("API-Request: SetLamp(level=3)"),
        plain("API-Request: [OpenDoor(level='3')]"),
        plain("API-Request: [OpenDoor(level='3')]", "No descriptions here."),
        plain("AI: It is set."),
        plain('Thought: so\nAction: SetLamp\nAction Input: {"level": }'),
        plain('<tool_call>{"name": "SetLamp", "arguments": {}}</tool_call>'),
    ]
    result = look(tmp_path, records, ALPACA.entry("x.json"))
    path = tmp_path / "x.json"
    assert result.lines() == [
        f"{path}, index 2: {audit_module.NOT_DESCRIBED}",
        f"{path}, index 5: {audit_module.BAD_TEXT_CALL}",
    ]
    assert result.calls == 6, "brackets may be missing"


_SET = {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]}
_TOOLS = json.dumps([{"name": "SetLamp", "description": "Sets.", "parameters": _SET}])
ANSWERED = {
    "JSON": ('{"name": "SetLamp", "arguments": {"level": 3}}', None, 1),
    "a thought and JSON": ('<think>so</think>{"name": "SetLamp", "arguments": {"level": 3}}', None, 1),
    "the name as key": ('{"SetLamp": {"level": 3}}', None, 1),
    "python": ("SetLamp(level=3)", None, 1),
    "XML": ("<SetLamp><level>3</level></SetLamp>", "error", 0),
    "YAML": ("tool: SetLamp\narguments:\n  level: 3", "error", 0),
    "a label": ('调用：SetLamp\n参数：{"level": 3}', "error", 0),
    "a key twice": ('{"name": "SetLamp", "arguments": {"level": 3, "level": 4}}', "error", 1),
    "an undeclared tool": ('{"name": "Open", "arguments": {}}', "error", 1),
    "words": ("I will set it.", "remark", 0),
    "nothing": ("", "remark", 0),
}


@pytest.mark.parametrize("in_prompt", [True, False])
@pytest.mark.parametrize("case", ANSWERED)
def test_an_answer_that_a_tools_output_follows_holds_a_call(case: str, in_prompt: bool, tmp_path: Path) -> None:
    text, told, calls = ANSWERED[case]
    system, tools = (f"Tools:\n{_TOOLS}", "") if in_prompt else ("", _TOOLS)
    turns = ("human", "a"), ("gpt", text), ("observation", "1"), ("gpt", "b")
    result = look(tmp_path, [talk(*turns, system=system, tools=tools)])
    assert (len(result.errors), len(result.remarks)) == (int(told == "error"), int(told == "remark"))
    assert result.calls == calls


_LAMP = '{"name": "set_lamp", "description": "Sets.", "parameters": {"type": "object", "properties": {}}}'


@pytest.mark.parametrize(
    ("system", "prompt", "tools", "known"),
    [
        (f"Use these tools:\n[{_LAMP}]", "a", "", True),
        (f"Use this:\n{_LAMP}\n", "a", "[]", True),
        ("", f"Use this:\n{_LAMP}\nNow set it.", "", True),
        ("Use set_lamp.", "a", "", False),
        (_LAMP.replace("set_lamp", "off"), "a", "", False),
        (f"Use this:\n{_LAMP}\n", "a", '[{"name": "off"}]', False),  # those that are declared are all
    ],
)
def test_tools_described_in_the_prompt_count_where_none_is_declared(
    system: str, prompt: str, tools: str, known: bool, tmp_path: Path
) -> None:
    record = talk(("human", prompt), ("function_call", CALL), system=system, tools=tools)
    assert [audit_module.UNDECLARED in line for line in look(tmp_path, [record]).lines()] == ([] if known else [True])
    if not system:
        return
    record = talk(("system", system), ("human", prompt), ("function_call", CALL), tools=tools)
    assert [audit_module.UNDECLARED in line for line in look(tmp_path, [record]).lines()] == ([] if known else [True])


def test_an_alpaca_records_history_comes_before_its_prompt() -> None:
    columns = {"prompt": "instruction", "response": "output", "history": "before"}
    entry = DataEntry.of("x", {"file_name": "x.json", "columns": columns}, Path("x.json"))
    record: dict[str, Any] = {"instruction": "c", "output": "d", "before": [["a", "b"]]}
    expected = (("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"))
    assert entry.dialogue(record) == Dialogue(expected)
    assert entry.dialogue(record | {"before": None}) == Dialogue(expected[2:])
    assert entry.dialogue(record | {"before": [["a"]]}) == '"before" is no list of pairs of texts, question and answer'
    assert entry.has_dialogues


def test_malformed_json_in_the_middle_is_told_with_the_faults_before_it(tmp_path: Path) -> None:
    result = look(tmp_path, f"[{json.dumps(talk(('gpt', 'a')))},\n {{]")
    assert len(result.lines()) == 2
    assert "index 0: turn 1 is of" in result.lines()[0]
    assert "x.json, line 2 column 3: malformed JSON" in result.lines()[1]


def test_plain_records_need_no_marks_and_no_upstream(tmp_path: Path) -> None:
    entry = {"file_name": "x.json"}
    result = look(tmp_path, [{"instruction": "a", "input": "", "output": "b"}, {"instruction": "a"}], entry)
    assert [line.partition("index ")[2][:1] for line in result.lines()] == ["1"]
    assert [audit_module.NO_MARK in line for line in result.remarks.lines()] == [True]
    code = (
        "import sys; from pathlib import Path; from llamafactory_ext.commands.data import Data; "
        f"Data().check({str(tmp_path / 'good.json')!r}); "
        "assert 'llamafactory' not in sys.modules"
    )
    (tmp_path / "good.json").write_text('[{"instruction": "a", "input": "", "output": "b"}]')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_many_kinds_of_faults_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_MAX_KINDS", 3)
    result = look(tmp_path, [talk(("human", "a"), ("gpt", "b"), mark=str(n)) for n in range(9)])
    assert len(result.lines()) == 4
    assert "6 more faults of other kinds" in result.lines()[-1]
    assert len(result.errors) == 9


def test_an_entry_is_found_by_name_by_file_or_guessed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([talk(("human", "a"), ("gpt", "b"))]))
    guessed = DataEntry.of_file(path)
    assert (guessed.name, guessed.entry["formatting"], guessed.marks.states_marks) == ("mine.json", "sharegpt", True)
    (tmp_path / "dataset_info.json").write_text(json.dumps({"own": {**ALPACA.entry("mine.json"), "num_samples": 3}}))
    assert DataEntry.of_file(path).name == DataEntry.named("own", tmp_path).name == "own"
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"instruction": "a", "input": "", "output": "b"}\n')
    assert DataEntry.of_file(plain).marks.states_marks is False
    with pytest.raises(DataError, match=r'no data set "onw" .* did you mean own\?'):
        DataEntry.named("onw", tmp_path)


def test_the_command_ends_with_2_on_errors_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(Request("gsm8k", write_sample("gsm8k", tmp_path / "in"), tmp_path))
    run_command(monkeypatch, "data", "check", "gsm8k", "--dataset_dir", tmp_path)
    assert "No errors." in capsys.readouterr().out
    run_command(monkeypatch, "data", "check", tmp_path / "gsm8k.json")
    (tmp_path / "bad.json").write_text(json.dumps([talk(("gpt", "a"))]))
    for words, message in (
        ([tmp_path / "bad.json"], "The data has errors:\n  - "),
        (["gsm9k", "--dataset_dir", tmp_path], "did you mean gsm8k?"),
        ([tmp_path / "none.json"], "none.json does not exist; check the path"),
        ([], "name a file, or a data set"),
        (["gsm8k", "--template", "llama3"], "--template and --model go together"),
        (["gsm8k", "--cutoff_len", "0"], "--cutoff_len is 0"),
        (["gsm8k", "--cutof_len", "9"], "did you mean --cutoff_len?"),
    ):
        with pytest.raises(SystemExit) as end:
            run_command(monkeypatch, "data", "check", *words)
        assert end.value.code == 2
        assert message in capsys.readouterr().err


class TestWithATemplate:
    """What upstream itself makes of the examples."""

    @pytest.fixture(autouse=True)
    def _needs_upstream(self) -> None:
        pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed")

    def encoder(self, folder: Path, template: str = "llama3", cutoff_len: int = 2048) -> Any:
        from llamafactory_ext.upstream.pipeline.encoding import ExampleEncoder

        return ExampleEncoder(str(folder), template, cutoff_len)

    @pytest.fixture(scope="class")
    def tokenizer_dir(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        from tiny import tiny_tokenizer

        folder = tmp_path_factory.mktemp("tokenizer")
        tiny_tokenizer().save_pretrained(folder)
        return folder

    def test_trained_tokens_are_those_of_the_answers(self, tokenizer_dir: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
        turns = (("human", "What is 2?"), ("gpt", "Two."), ("human", "And 3?"), ("gpt", "Three, of course."))
        encoded = self.encoder(tokenizer_dir)(Dialogue(turns))
        answers = [f"{text}<|eot_id|>" for role, text in turns if role == "gpt"]
        assert encoded.trained == sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in answers)
        assert encoded.whole == encoded.kept > encoded.trained

    def test_cuts_and_examples_without_a_trained_token_are_told(self, tokenizer_dir: Path, tmp_path: Path) -> None:
        records = [
            talk(("human", "a"), ("gpt", "b"), tools=""),
            talk(("human", "a"), ("gpt", "long " * 40), tools=""),
            talk(("human", "a"), ("gpt", "b"), ("human", "word " * 40), ("gpt", "d"), tools=""),
        ]
        result = look(tmp_path, records, encode=self.encoder(tokenizer_dir, cutoff_len=24))
        assert result.cut == 2
        assert result.longest > 24
        assert 0 < result.trained < result.tokens <= 3 * 24
        assert [line.partition(": ")[2] for line in result.remarks.lines()] == ["cutoff_len cuts the example"]
        long_tools = [talk(("human", "word " * 400), ("function_call", CALL))]
        result = look(tmp_path, long_tools, encode=self.encoder(tokenizer_dir, cutoff_len=1))
        assert (result.untrained, [audit_module.UNTRAINED in line for line in result.lines()]) == (1, [True])

    def test_what_a_template_cannot_render_is_told(self, tokenizer_dir: Path, tmp_path: Path) -> None:
        records = [talk(("human", "a"), ("function_call", CALL)), talk(("human", "a"), ("gpt", "b"), tools="")]
        result = look(tmp_path, records, encode=self.encoder(tokenizer_dir, "default"))
        message = "index 0: the template cannot render it (KeyError: 'properties'); mend"
        assert [message in line for line in result.lines()] == [True]

    def test_a_wrong_template_or_model_is_named(self, tokenizer_dir: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r'--template "llama33" is unknown; did you mean .*llama3'):
            self.encoder(tokenizer_dir, "llama33")
        with pytest.raises(OptionError, match=r"--model .* holds no tokenizer that loads"):
            self.encoder(tmp_path)

    def test_the_command_counts(
        self,
        tokenizer_dir: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        result = convert(Request("toolalpaca", write_sample("toolalpaca", tmp_path / "in"), tmp_path))
        words = ("--template", "llama3", "--model", tokenizer_dir, "--cutoff_len", 4096)
        run_command(monkeypatch, "data", "check", result.output, *words)
        out = capsys.readouterr().out
        assert "trained tokens" in out
        assert "No errors." in out
