"""Pickles, tables, encyclopedias and templates made to harm: a line of ours, and never much memory."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest

from etapp.small_checkout import make
from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp import tables
from llamafactory_ext.etapp.cases import open_source
from llamafactory_ext.etapp.clone_form import check_template
from llamafactory_ext.etapp.pickles import read_plain
from llamafactory_ext.etapp.tables import parse_table

pytestmark = pytest.mark.fast


def within_itself() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


def laughing() -> Any:
    found: list[Any] = ["ha"]
    for _ in range(30):
        found = [found] * 10
    return found


HOSTILE = {
    "a far place in memory": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "many steps": b"\x80\x02" + b"N0" * 1_100_000 + b"N.",
    "within itself": pickle.dumps(within_itself()),
    "lists of the same lists": pickle.dumps(laughing()),
    "deep": b"\x80\x02" + b"]" * 50 + b"a" * 49 + b".",
    "very deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a key that is a number": pickle.dumps({1: 2}),
    "a key that is a tuple": pickle.dumps({("a",): 2}),
    "a long number": pickle.dumps(10**2000),
    "cut": pickle.dumps({"a": [1, 2]})[:-3],
    "a long text that is not there": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.",
    "a stack that is empty": b"\x80\x0400000.",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_take_no_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(HOSTILE[name])
    child = os.fork()
    if child == 0:  # in a process of its own that may take one gigabyte more than it has
        code = 1
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
            read_plain(path)
        except DataError as error:
            code = 0 if str(path) in error.message else 2
        except BaseException:
            code = 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("text", ["a\n" + "1\n" * 102, ",".join("a" * 30) + "\n" + (",".join("1" * 30) + "\n") * 30])
def test_hostile_tables_are_read_to_a_size_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 100)
    monkeypatch.setattr(tables, "MOST_CELLS", 900)
    with pytest.raises(DataError, match="too many rows or columns"):
        parse_table(text)
    assert len(parse_table("a\n" + "1\n" * 100)) == 100


HEAD = "id,title,artist\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "1,a,b\n2,c\n", "row 2: 2 cells in 3 columns"),
        (HEAD + "1\n", "row 1: 1 cells in 3 columns"),
        (HEAD + '1,a,"b\n', "ends within a cell in quotes"),
        (HEAD + '1,a,b\n2,"c', "ends within a cell in quotes"),
        (HEAD + '"', "ends within a cell in quotes"),
        ('"id', "ends within a cell in quotes"),
        (HEAD + "1,a,b,c\n", "row 1: 4 cells in 3 columns"),
        ("", "has no columns"),
    ],
)
def test_a_cut_table_is_refused(text: str, told: str) -> None:
    with pytest.raises(DataError, match=rf"the table.* {told}"):
        parse_table(text)


@pytest.mark.parametrize(
    "text", ["1,a,b\n", "1,a,b", "1,,\n\n", '1,"a\nb",c\n', '1,"a""b",c\n2,d"e,f\n', "1,a,\x02\r\n"]
)
def test_a_whole_table_is_read(text: str) -> None:
    assert parse_table(HEAD + text)[0]["id"] == 1
    assert parse_table(HEAD).columns == ("id", "title", "artist")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no entry"),
        ("\n", "line 1: it is no JSON"),
        ('{"title": "a"}', "must be texts"),
        ("[1]", "must be texts"),
        ("[" * 60, "no JSON"),
        ("[" * 64 + "]" * 64, "must be texts"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 64 deep"),
        ('{"title": "a", "text": {"b": ' + "[" * 63 + "]" * 63 + "}}", "nested more than 64 deep"),
        ("\xff", "no JSON"),
    ],
)
def test_odd_encyclopedias(text: str, match: str, tmp_path: Path) -> None:
    folder, file = make(tmp_path / "clone"), tmp_path / "wiki.jsonl"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=match):
        open_source(str(folder), str(file))


@pytest.mark.parametrize("name", ["fifo", "folder", "none"])
def test_an_encyclopedia_that_is_no_file(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name):
        open_source(str(make(tmp_path / "clone")), str(tmp_path / name))


@pytest.mark.parametrize(
    "text", ["{query.__class__}", "{query!r}", "{query:>999999999}", "{0}", "{}", "{other}", "{query[0]}", "{", "}"]
)
def test_a_template_has_plain_places_alone(text: str) -> None:
    with pytest.raises(DataError, match="--prompts checkout: here"):
        check_template(text, ("query",), "here")


def test_a_template_with_its_places() -> None:
    check_template("a {query} {{b}}", ("query",), "here")
