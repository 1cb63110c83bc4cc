"""Prediction files: round trip, and what is said about each way in which one can be broken."""

import json
import os
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Prediction, read_predictions
from llamafactory_ext.metrics.predictions import MOST_DEPTH, NO_HASHES

LINES = [
    Prediction("a:0", "rotbench", "p0", "m", "Action: f").to_line(),
    Prediction("a:1", "rotbench", "p1", "m", "é\n\u2028", ({"role": "user", "content": "x"},)).to_line(),
    Prediction("a:2", "rotbench", "p2", "m", "").to_line(),
]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_round_trip(tmp_path: Path) -> None:
    file = read_predictions(write(tmp_path / "p.jsonl", "".join(LINES)), "rotbench")
    assert [prediction.to_line() for prediction in file.predictions] == LINES
    assert file.notes == ()
    assert file.whole_bytes == file.path.stat().st_size


def test_a_cut_last_line_is_left_out_and_named(tmp_path: Path) -> None:
    whole = "".join(LINES)
    for cut in (1, 5, len(LINES[2]) - 1):
        file = read_predictions(write(tmp_path / "p.jsonl", whole.encode()[:-cut]))
        assert len(file.predictions) == (3 if cut == 1 else 2)
        if cut > 1:
            assert "p.jsonl, line 3: cut off" in file.notes[0]
            assert "2 whole predictions kept" in file.notes[0]
            assert file.whole_bytes == len("".join(LINES[:2]).encode())


def test_equal_records_count_once(tmp_path: Path) -> None:
    file = read_predictions(write(tmp_path / "p.jsonl", LINES[0] * 2 + LINES[1]))
    assert [prediction.id for prediction in file.predictions] == ["a:0", "a:1"]
    assert "line 2: repeats line 1" in file.notes[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LINES[0] + "{broken}\n" + LINES[1], ["line 2: malformed JSON", "1 predictions before it are whole"]),
        (LINES[0].encode() + b'{"id": "\xff"}\n', ["line 2: not UTF-8"]),
        (LINES[0] + LINES[0].replace("Action: f", "Action: g"), ["line 2", "'a:0'", "on line 1"]),
        (LINES[0].replace("rotbench", "bfcl"), ["line 1", "'bfcl', not of 'rotbench'"]),
        (LINES[0].replace('"prediction"', '"text"'), ['line 1: "prediction" is missing']),
        (LINES[1].replace('{"role": "user", "content": "x"}', "7"), ["line 1", '"messages" is no list of objects']),
        (LINES[0].replace("Action", "\\ud800"), ["line 1: half a surrogate pair"]),
        (LINES[0].replace("a:0", ""), ["line 1", '"id" is empty']),
        ("[]\n", ["line 1: a JSON object is expected"]),
        ("[" * 100_000 + "\n", ["line 1: malformed JSON"]),
        ("\n", ["holds no predictions"]),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes | str, words: list[str]) -> None:
    path = write(tmp_path / "p.jsonl", content)
    with pytest.raises(DataError) as caught:
        read_predictions(path, "rotbench")
    assert all(word in caught.value.message for word in [str(path), *words]), caught.value.message


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.jsonl", "there is no such prediction file"), (tmp_path, "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_predictions(path)


@pytest.mark.parametrize(
    ("line", "name"), [('{"id": "a:0", "prediction": "x"}', "a:0"), ('{"id": 7, "prediction": ""}', "7")]
)
def test_lines_of_other_tools(tmp_path: Path, line: str, name: str) -> None:
    """They are scored, with a note that nothing is known of their origin; no run of `infer` goes on with them."""
    path = write(tmp_path / "p.jsonl", f"{line}\n")
    file = read_predictions(path, "rotbench", foreign=True)
    assert [(found.id, found.benchmark, found.model_hash) for found in file.predictions] == [(name, "rotbench", "")]
    assert file.notes == (NO_HASHES,)
    with pytest.raises(DataError, match=r'line 1: "(id|benchmark)" is missing'):
        read_predictions(path, "rotbench")


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a:0", "prediction": "x", "benchmark": "rotbench"}',
        '{"id": "a:0", "prediction": "x", "model_hash": "m"}',
        '{"id": true, "prediction": "x"}',
        '{"prediction": "x"}',
        '{"id": "a:0", "text": "x"}',
    ],
)
def test_half_a_line_is_refused(tmp_path: Path, line: str) -> None:
    """A line that says a part of where it comes from is damaged, and one without an answer answers nothing."""
    with pytest.raises(DataError, match="is missing or no text"):
        read_predictions(write(tmp_path / "p.jsonl", f"{line}\n"), "rotbench", foreign=True)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("null", ""),
        ("42", "42"),
        ("-0.5", "-0.5"),
        ("NaN", "NaN"),
        ("true", "true"),
        ("[]", "[]"),
        ('[{"name": "f", "arguments": {}}]', '[{"name": "f", "arguments": {}}]'),
        ("1" + "0" * 400, "1" + "0" * 400),
        ('{"a": "\\u00e9"}', '{"a": "é"}'),
    ],
)
@pytest.mark.parametrize("origin", ["", ', "benchmark": "rotbench", "prompt_hash": "p", "model_hash": "m"'])
def test_an_answer_that_is_no_text_is_read_when_it_is_scored_and_told(
    written: str, text: str, origin: str, tmp_path: Path
) -> None:
    """Other tools write null beside tool calls; a run of `infer` goes on with texts alone."""
    path = write(tmp_path / "p.jsonl", f'{{"id": "a:0", "prediction": {written}{origin}}}\n')
    file = read_predictions(path, "rotbench", foreign=True)
    assert [found.prediction for found in file.predictions] == [text]
    assert [note for note in file.notes if "1 predictions are no texts" in note]
    with pytest.raises(DataError, match="is missing or no text"):
        read_predictions(path, "rotbench")


@pytest.mark.parametrize("depth", [1, 50, 96, 97, 98, 99, 150, 900, 960, 980, 985, 990, 995, 1000, 5_000, 100_000])
def test_what_is_read_can_be_written_again(depth: int, tmp_path: Path) -> None:
    """Nesting up to a stated depth is read; beyond it the line is named, also near the limits of Python itself."""
    path = tmp_path / "p.jsonl"
    record = (
        '{"id": "a", "benchmark": "b", "prompt_hash": "", "model_hash": "", "prediction": "", "messages": [{"x": %s}]}'
    )
    path.write_text(record % ("[" * depth + "]" * depth) + "\n")
    if 3 + depth <= MOST_DEPTH:
        (one,) = read_predictions(path).predictions
        assert json.loads(one.to_line())["id"] == "a"
    else:
        with pytest.raises(DataError, match=r"p\.jsonl, line 1: (lists and objects nested|malformed JSON)"):
            read_predictions(path)


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero", "/dev/null"])
def test_a_pipe_or_a_device_is_never_read(kind: str, tmp_path: Path) -> None:
    path = Path(kind) if kind.startswith("/") else tmp_path / kind
    if not kind.startswith("/"):
        os.mkfifo(path)
    with pytest.raises(DataError, match="which may never end"):
        read_predictions(path)
