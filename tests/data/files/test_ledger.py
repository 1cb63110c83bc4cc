"""Counting in bounded memory: notes and fingerprints go to disk and come back whole."""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamafactory_ext.data.files import ledger
from llamafactory_ext.data.files.ledger import Note, Notes, Repeats
from llamafactory_ext.data.files.reading import iter_records
from llamafactory_ext.data.public.convert import Request, convert
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


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Counts allocations without the collector: one that empties the interpreter's free lists makes peaks differ."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("answer", ["It is so.", ""])
def test_memory_does_not_grow_with_the_number_of_records(
    limit: int, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list on one line, written whole, drawn from, or dropped but for one: far less than the file is ever held."""
    monkeypatch.setattr(ledger, "_RUN", 256)
    monkeypatch.setattr(ledger, "_BLOCK", 16)
    monkeypatch.setattr(ledger, "_SPOOL_BYTES", 1 << 12)
    monkeypatch.setattr("llamafactory_ext.data.files.reading._CHUNK_BYTES", 1 << 13)
    source = tmp_path / "x.json"

    def peak(count: int) -> int:
        records = [{"instruction": f"Say {n}. " * 60, "output": answer if n else "One."} for n in range(count)]
        source.write_text(json.dumps(records))
        del records
        with traced():
            convert(Request("alpaca", source, tmp_path / "out", limit=limit))
            return tracemalloc.get_traced_memory()[1]

    peak(300)  # imports and caches
    highest = peak(4000)
    assert source.stat().st_size > 2_400_000
    assert highest < 500_000  # half of what 4,000 short notes alone would take


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
