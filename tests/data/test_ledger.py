"""Counting in bounded memory: notes and fingerprints go to disk and come back whole."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafactory_ext.data import ledger
from llamafactory_ext.data.convert import Request, convert
from llamafactory_ext.data.ledger import Note, Notes, Repeats
from llamafactory_ext.data.reading import iter_records
from llamafactory_ext.errors import DataError

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(texts=st.lists(st.sampled_from([str(n) for n in range(12)])), run=st.integers(1, 7), block=st.integers(1, 3))
def test_repeats_are_counted_across_runs(texts: list[str], run: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "_RUN", run)
        patch.setattr(ledger, "_BLOCK", block)
        repeats = Repeats()
        for text in texts:
            repeats.add(text)
        assert repeats.count() == len(texts) - len(set(texts))


@pytest.mark.parametrize("spool", [1, 1 << 20])
def test_notes_come_back_in_order_from_memory_or_disk(spool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_SPOOL_BYTES", spool)
    notes = Notes()
    expected = [Note("ä.json", f"line {n}\n", "odd" if n % 3 else "even\u2028") for n in range(50)]
    for number, note in enumerate(expected):
        notes.add(note)
        if number == 20:
            assert list(notes) == expected[:21]
    assert list(notes) == expected
    assert (len(notes), notes.counts) == (50, {"odd": 33, "even\u2028": 17})
    text = io.StringIO()
    notes.write_json(text, "  ")
    assert [Note(**note) for note in json.loads(text.getvalue())] == expected
    empty = io.StringIO()
    Notes().write_json(empty, "  ")
    assert json.loads(empty.getvalue()) == []


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("answer", ["It is so.", ""])
def test_memory_does_not_grow_with_the_number_of_records(
    limit: int, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list on one line, written whole, drawn from, or dropped but for one: ten times the records, one peak."""
    monkeypatch.setattr(ledger, "_RUN", 256)
    monkeypatch.setattr(ledger, "_SPOOL_BYTES", 1 << 12)
    monkeypatch.setattr("llamafactory_ext.data.reading._CHUNK_BYTES", 1 << 12)

    def peak(count: int) -> int:
        source = tmp_path / "x.json"
        records = [{"instruction": f"Say {n}. " * 9, "output": answer if n else "One."} for n in range(count)]
        source.write_text(json.dumps(records))
        del records
        tracemalloc.start()
        convert(Request("alpaca", source, tmp_path / "out", limit=limit))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(300)  # imports and caches
    assert peak(6000) < peak(600) + 100_000  # the larger file holds 700 kB more


def test_gzip_files_are_read_and_broken_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b'{"a": 1}\n{"a": 2}\n', mtime=0)
    path.write_bytes(whole)
    assert list(iter_records(path)) == [("line 1", {"a": 1}), ("line 2", {"a": 2})]
    for broken in (whole[:-9], b"no gzip at all", whole[:12] + b"\xff\xff\xff\xff" + whole[16:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a\.jsonl\.gz is no whole gzip file"):
            list(iter_records(path))
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": }\n'))
    with pytest.raises(DataError, match=r"line 2 column 7: malformed JSON"):
        list(iter_records(path))
