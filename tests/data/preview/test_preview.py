"""`data preview`: what is shown is what training makes of the example, whatever the text holds."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it encodes what is shown")

from commands.test_data import run as run_command
from llamafactory_ext.data.preview.examples import preview
from llamafactory_ext.data.preview.html import preview_html
from llamafactory_ext.data.preview.pieces import DROPPED, KEY, MASKED, ORDINARY, Example, Weighed, pieces_of, visible
from llamafactory_ext.data.preview.request import Request, from_yaml
from llamafactory_ext.data.preview.terminal import show_preview
from llamafactory_ext.errors import DataError, OptionError
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[3]
TOKENIZER = tiny_tokenizer()
HOSTILE = "<script>alert(1)</script> & \"q\" 'x' \x1b[31m \u202e [bold]x[/bold] \x00\x9b 日本 🙂\n\n  </pre>"
TOOLS = json.dumps([{"name": name, "parameters": {}} for name in ("send_mail", "send_pizza")])


def decode(ids: list[int]) -> str:
    return TOKENIZER.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset_dir with marked dialogues, one of them in error, and a tokenizer beside it."""
    folder = tmp_path_factory.mktemp("preview")
    TOKENIZER.save_pretrained(folder / "tokenizer")

    def talk(*turns: tuple[str, str], mark: str = "tool", tools: str = TOOLS) -> dict[str, Any]:
        spoken = [{"from": role, "value": text} for role, text in turns]
        return {"conversations": spoken, "system": "", "tools": tools, "mark": mark, "task": "talk"}

    right = json.dumps({"name": "send_pizza", "arguments": {"to": "Ann"}})
    wrong = json.dumps({"name": "send_pizza", "arguments": {"where": "Ann"}})
    records = [
        talk(
            ("human", "Send it."),
            ("function_call", wrong),
            ("observation", '{"error": "unexpected keyword"}'),
            ("function_call", right),
            ("observation", '{"status": "sent"}'),
            ("gpt", "Done."),
        ),
        talk(("human", HOSTILE), ("gpt", HOSTILE), mark="general", tools=""),
        talk(("gpt", "first"), ("human", "second")),
        talk(("human", "Send it."), ("function_call", right)),
    ]
    (folder / "talks.json").write_text(json.dumps(records))
    columns = {key: key for key in ("system", "tools", "mark", "task")} | {"messages": "conversations"}
    entry = {"talks": {"file_name": "talks.json", "formatting": "sharegpt", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(entry))
    return folder


def look(folder: Path, **changes: Any) -> list[Example]:
    options: dict[str, Any] = {"names": ("talks",), "template": "llama3", "dataset_dir": str(folder), "count": 4}
    return preview(Request(**({"model": str(folder / "tokenizer")} | options | changes)))


def text_of(example: Example, *kinds: str) -> str:
    return "".join(piece.text for piece in example.pieces if piece.kind in (kinds or (piece.kind,)))


@settings(max_examples=60)
@given(text=st.text(max_size=40), data=st.data())
def test_pieces_are_the_text_and_keep_every_weight_class(text: str, data: st.DataObject) -> None:
    ids = TOKENIZER(text)["input_ids"]
    weights = data.draw(st.lists(st.sampled_from([0.0, 1.0, 4.5]), min_size=len(ids), max_size=len(ids)))
    pieces = pieces_of(Weighed(ids, ids, weights, [False] * len(ids), len(ids)), decode, {0})
    assert "".join(piece.text for piece in pieces) == decode(ids)
    assert [token for piece in pieces for token in piece.ids] == ids
    assert pieces[0].special
    for piece in pieces:
        assert piece.kind == {0.0: MASKED, 1.0: ORDINARY, 4.5: KEY}[piece.weight]
        assert piece.text  # a character of several tokens is one piece


def test_bytes_that_are_no_text_are_shown_as_they_decode() -> None:
    ids = TOKENIZER("🙂", add_special_tokens=False)["input_ids"][:-1]
    (piece,) = pieces_of(Weighed(ids, ids, [1.0] * len(ids), [False] * len(ids), 9), decode, ())
    assert piece.ids == tuple(ids)
    assert set(piece.text) == {"\ufffd"}


def test_supervised_fine_tuning_learns_the_answers_with_their_ends(folder: Path) -> None:
    first, hostile, wrong, _ = look(folder)
    assert (first.mark, first.task, hostile.mark, hostile.place) == ("tool", "talk", "general", "talks, index 1")
    assert text_of(hostile, ORDINARY) == HOSTILE + "<|eot_id|>"
    assert HOSTILE in text_of(hostile, MASKED)
    assert text_of(first, ORDINARY).count("send_pizza") == 2
    assert text_of(first, ORDINARY).endswith("Done.<|eot_id|>")
    assert set(first.counts()) == {MASKED, ORDINARY}
    assert wrong.problem == 'turn 1 is of "gpt" where human or observation is due; upstream leaves the record out'
    assert not wrong.pieces


def test_tl_training_drops_calls_in_error_and_weighs_key_tokens(folder: Path) -> None:
    plain, (first, hostile, _, lonely) = look(folder), look(folder, stage="tl_sft")
    assert [piece.ids for piece in first.pieces] == [piece.ids for piece in plain[0].pieces]
    assert '"where"' in text_of(first, DROPPED)
    assert text_of(first, DROPPED).endswith("<|eot_id|>")
    assert '"to"' in text_of(first, ORDINARY)
    keys = [piece for piece in first.pieces if piece.kind == KEY]
    name = TOKENIZER("send_pizza", add_special_tokens=False)
    assert 1 <= len(keys) <= 2  # the first token of the name, and that of its "p", which is where it leaves send_mail
    assert text_of(first, KEY)[0] == "s"
    assert "p" in keys[-1].text
    assert len(keys) < len(name["input_ids"])
    assert {piece.weight for piece in keys} == {keys[0].weight}
    assert 1 < keys[0].weight <= 9
    assert text_of(hostile, ORDINARY) == HOSTILE + "<|eot_id|>"
    assert lonely.problem.startswith("tl_sft cannot use it: no call has feedback; without feedback no call can be")
    (heavy, *_) = look(folder, stage="tl_sft", tl_options={"tl_w_max": 2, "tl_use_mae": False})
    assert DROPPED not in heavy.counts()
    assert {piece.weight for piece in heavy.pieces if piece.kind == KEY} == {2.0}
    (judged, *_) = look(folder, stage="tl_sft", tl_options={"tl_feedback_function": "feedback_judges:flag"})
    assert DROPPED not in judged.counts()  # the user's own judge finds no fault
    with pytest.raises(OptionError, match="tl_feedback_function=nowhere:f: write module:function"):
        look(folder, stage="tl_sft", tl_options={"tl_feedback_function": "nowhere:f"})


def test_options_and_cuts_are_those_of_training(folder: Path) -> None:
    (last,) = look(folder, count=1, options={"mask_history": True})
    assert text_of(last, ORDINARY) == "Done.<|eot_id|>"
    (everything,) = look(folder, count=1, options={"train_on_prompt": True})
    assert set(everything.counts()) == {ORDINARY}
    (cut,) = look(folder, index=1, count=1, cutoff_len=30)
    assert sum(cut.counts().values()) + cut.cut == sum(look(folder, index=1, count=1)[0].counts().values())
    assert 0 < sum(cut.counts().values()) <= 30
    (old,) = look(folder, index=1, count=1, template="alpaca", options={"train_on_prompt": False})
    assert text_of(old, ORDINARY).startswith(HOSTILE)


def test_what_is_learned_in_the_place_of_another_token_is_told(folder: Path, tmp_path: Path) -> None:
    """Templates without an end of turn train it in the place of the next turn's first token."""
    turns = [("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")]
    record = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    (tmp_path / "x.json").write_text(json.dumps([record]))
    (example,) = look(folder, names=(str(tmp_path / "x.json"),), template="solar")
    learned = [(piece.text, piece.learned_as) for piece in example.pieces if piece.kind == ORDINARY]
    assert learned == [("b", ""), ("#", "<|eot_id|>"), ("d", ""), ("<|eot_id|>", "")]
    assert "#→&lt;|eot_id|&gt;" in preview_html([example], "x")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.tokens: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "pre" in self.open and "span" in self.open and "sup" not in self.open:
            self.tokens.append(data)


@pytest.mark.parametrize("page", [True, False])
def test_the_page_stands_alone_and_escapes_every_text(page: bool, folder: Path) -> None:
    examples = look(folder, stage="tl_sft")
    whole = preview_html(examples, HOSTILE, page=page)
    read = _Page()
    read.feed(whole)
    assert read.open == []
    assert set(read.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "p", "pre", "span", "sup")
    }
    assert read.attributes <= {"class", "title", "style", "lang", "charset", "name", "content"}
    assert "http" not in whole
    assert "".join(read.tokens).replace("↵\n", "\n") == "".join(visible(text_of(example)) for example in examples)
    assert all(f'class="{name}' in whole for name in ("m", "o", "d", "k"))
    assert 'class="badge tool">tool<' in whole
    assert 'class="badge general">general<' in whole
    assert whole.startswith("<!DOCTYPE html>") == page


@pytest.mark.parametrize("colours", [True, False])
def test_the_terminal_is_never_steered_by_the_data(colours: bool, folder: Path) -> None:
    output = io.StringIO()
    options: dict[str, Any] = {"force_terminal": True, "color_system": "256"} if colours else {"force_terminal": False}
    show_preview(look(folder, stage="tl_sft"), HOSTILE, Console(file=output, width=50, **options))
    shown = output.getvalue()
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert (plain != shown) == colours
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain)
    assert "<script>" in plain
    assert "[bold]x[/bold]" in plain.replace("\n", "")
    if colours:
        assert all(len(line) <= 50 for line in plain.splitlines())
        assert "masked: read, not learned" in plain
    else:
        assert re.search(r"^\[key ×[\d.]+\] s", plain, re.MULTILINE)
        assert re.search(r'^\[dropped\] .*"where"', plain, re.MULTILINE)
        assert "[ordinary] Done.<|eot_id|>" in plain


def test_a_training_yaml_says_it_all() -> None:
    request = from_yaml(ROOT / "examples" / "yaml" / "tl_sft_tiny.yaml")
    assert (request.names, request.stage, request.cutoff_len) == (("lab_trajectories",), "tl_sft", 1024)
    assert request.tl_options["tl_w_max"] == 9


def test_the_command_shows_and_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "preview", "talks", "--dataset_dir", folder, "--template=llama3", "--model", folder / "tokenizer")
    run_command(monkeypatch, *words, "--count", 1)
    assert "talks, index 0" in capsys.readouterr().out
    run_command(monkeypatch, *words, "--html", tmp_path / "new" / "x.html", "--index", 1, "--count", 1)
    assert "talks, index 1" in (tmp_path / "new" / "x.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        run_command(monkeypatch, *words, "--index", 2, "--count", 1)
    assert end.value.code == 2
    assert "None of the 1 records shown can be used" in capsys.readouterr().err
    recipe = tmp_path / "run.yaml"
    recipe.write_text(f"dataset: talks\ndataset_dir: {folder}\ntemplate: llama3\nstage: ppo\n")
    for more, message in (
        (["--index", 4], "holds 4 records; --index 4 is beyond them"),
        (["--index", -1, "--count", "x"], "--index is -1; give a whole number of at least 0\n  - --count is 'x'"),
        (["--template", "lama3"], 'template "lama3" is unknown; did you mean'),
        (["--model", tmp_path], "holds no tokenizer that loads"),
        (["--stage", "dpo"], 'stage is "dpo"; --stage takes sft or tl_sft'),
        (["--yaml", recipe], 'stage is "ppo"'),
        (["--yaml", tmp_path / "none.yaml"], "none.yaml cannot be read (No such file or directory)"),
        (["--yaml", tmp_path], "cannot be read (Is a directory)"),
        (["--cutof_len", 3], "did you mean --cutoff_len?"),
        (["--html", folder / "talks.json" / "x.html"], "is no folder; name a folder"),
    ):
        with pytest.raises(SystemExit) as end:
            run_command(monkeypatch, *words, *more)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(OptionError, match=r"name a file, or a data set(.|\n)*--template is missing(.|\n)*--model is"):
        preview(Request((), "", ""))
    with pytest.raises(OptionError, match="tl_w_max=0: give a number from 1"):
        look(folder, stage="tl_sft", tl_options={"tl_w_max": 0})
    recipe.write_text("a: [")
    with pytest.raises(DataError, match=r"run\.yaml is no YAML"):
        from_yaml(recipe)
    recipe.write_text("- 1")
    with pytest.raises(DataError, match="holds no options"):
        from_yaml(recipe)
