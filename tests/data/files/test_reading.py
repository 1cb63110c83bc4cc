"""Reading JSON and JSONL: values equal `json.loads`, errors carry line and column, memory stays bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafactory_ext.data.files import reading
from llamafactory_ext.data.files.reading import iter_records
from llamafactory_ext.errors import DataError

pytestmark = pytest.mark.fast

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
RECORDS = st.lists(st.dictionaries(st.text(), VALUES), min_size=1, max_size=6)
QUICK = settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path: Path, text: str | bytes, list_key: str | None = None) -> list[tuple[str, Any]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(iter_records(path, list_key))


@QUICK
@given(records=RECORDS, chunk=st.integers(1, 40), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_a_list_reads_as_json_loads_does_whatever_the_chunk(
    records: list[Any], chunk: int, indent: int | None, ascii_only: bool, tmp_path: Path
) -> None:
    text = json.dumps(records, indent=indent, ensure_ascii=ascii_only)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK_BYTES", chunk)
        got = read(tmp_path / "a.json", text.encode("utf-8", "surrogatepass") if ascii_only else text)
        wrapped = read(tmp_path / "b.json", json.dumps({"x": [1, {"Data": 2}], "Data": records, "y": None}), "Data")
    assert got == wrapped == [(f"index {i}", record) for i, record in enumerate(records)]


@QUICK
@given(records=RECORDS, suffix=st.sampled_from([".json", ".jsonl"]))
def test_lines_read_as_json_loads_does(records: list[Any], suffix: str, tmp_path: Path) -> None:
    text = "\n".join(json.dumps(record) for record in records)
    assert read(tmp_path / f"a{suffix}", text) == [(f"line {i}", record) for i, record in enumerate(records, start=1)]


def test_byte_order_marks_and_blank_lines_are_no_matter(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": 2}\n') == [
        ("line 1", {"a": 1}),
        ("line 3", {"a": 2}),
    ]
    assert read(tmp_path / "a.json", b'\xef\xbb\xbf\n [{"a": 1}]\n') == [("index 0", {"a": 1})]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.json", '[\n {"a": 1},\n {"a" 2}\n]', "line 3 column 7: malformed JSON"),
        ("a.json", '[{"a": 1},\n', "line 2 column 1: malformed JSON"),
        ("a.json", '[{"a": 1}', "line 1 column 10: malformed JSON"),
        ("a.json", '[{"a": 1},]', "line 1 column 11: malformed JSON"),
        ("a.json", '[{"a": "no end}]', "line 1 column 8: malformed JSON (Unterminated string"),
        ("a.json", '[{"a": "no end}]\n', "line 1 column 17: malformed JSON (Invalid control character"),
        ("a.json", '[{"a": 1}] 3', "line 1 column 12: malformed JSON (Extra data"),
        ("a.json", '{"a": 1', "malformed JSON"),
        ("a.json", "hello", "line 1 column 1: malformed JSON"),
        ("a.json", '{\n"a": 1\n}', "one JSON object; write a list"),
        ("a.json", "[" * 100_000, "malformed JSON"),
        ("a.jsonl", '{"a": 1}\n{"a": }\n', "line 2 column 7: malformed JSON"),
        ("a.json", '{"a": 1}\n{"a": }\n', "line 2 column 7: malformed JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2 column 8: not UTF-8"),
        ("a.json", b'[{"a": 1},\n{"a": "\xff"}]', "line 2 column 8: not UTF-8"),
        ("a.json", b'[{"a": "\xe4"}]', "line 1 column 9: not UTF-8"),
        ("a.json", "", "is empty"),
        ("a.jsonl", " \n\n", "is empty"),
        ("a.json", " [ ]\n", "holds no records"),
    ],
)
def test_errors_name_file_line_and_column(
    name: str, text: str | bytes, where: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CHUNK_BYTES", chunk)
    with pytest.raises(DataError) as error:
        read(tmp_path / name, text)
    assert f"{tmp_path / name}" in error.value.message
    assert where in error.value.message


def test_an_object_without_the_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='without the list "Data"'):
        read(tmp_path / "a.json", '{\n"Daten": []}', "Data")
    with pytest.raises(DataError, match="Expecting ':'"):
        read(tmp_path / "a.json", '{\n"Data" []}', "Data")


def test_missing_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"gone\.json does not exist"):
        list(iter_records(tmp_path / "gone.json"))
    with pytest.raises(DataError, match="is a folder"):
        list(iter_records(tmp_path))

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so the refusal is staged
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        list(iter_records(tmp_path / "a.json"))


def test_a_broken_record_early_in_a_large_file_is_found_before_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_CHUNK_BYTES", 256)
    path = tmp_path / "a.json"
    path.write_text('[{"a" 1}' + ', {"a": 1}' * 10_000 + "]")
    with path.open("rb") as handle:
        window = reading._Window(path, handle)
        window.peek()
        window.pos += 1
        with pytest.raises(DataError, match="line 1 column 7"):
            window.value()
        assert handle.tell() == 256
