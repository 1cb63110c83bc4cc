"""Names and notes of others in the report: text, never markup; wrong types are refused where the file is read."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.report.report import write
from llamafactory_ext.report.runs import read_runs
from security.readers import REPORT

EVIL = (
    '"><script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1)) `a|b` \x1b[31m\n# h\n'
    "![p](http://h/p)"
)


class Tags(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    figure = REPORT["figures"][0]  # type: ignore[index]
    record = {
        **REPORT,
        "notes": [EVIL],
        "model_hashes": [EVIL],
        "part": EVIL,
        "figures": [figure, {**figure, "name": EVIL}],
    }
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "r.json").write_text(json.dumps(record), encoding="utf-8")
    write(read_runs([f"{EVIL.replace('/', '').replace('=', '')}={tmp_path / 'in'}"]), tmp_path / "out", "Llama-3")
    tags = Tags()
    tags.feed((tmp_path / "out" / "report.html").read_text("utf-8"))
    assert not [tag for tag, _ in tags.found if tag in ("script", "a")]
    assert not [attributes for _, attributes in tags.found if any(name.startswith("on") for name in attributes)]
    assert all((attributes.get("src") or "").startswith("data:") for tag, attributes in tags.found if tag == "img")
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "](javascript" not in text.replace("\\]", "")
    assert "\n# h" not in text
    assert "![p](" not in text.replace("\\[", "").replace("\\]", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", '1" onmouseover="alert(1)'),
        ("parse_failures", "<b>"),
        ("n", -1),
        ("n", True),
        ("name", 7),
        ("value", "0.5"),
        ("value", float("nan")),
        ("standard_error", [1]),
    ],
)
def test_figures_have_types(field: str, value: Any, tmp_path: Path) -> None:
    figure = {**REPORT["figures"][0], field: value}  # type: ignore[index]
    (tmp_path / "r.json").write_text(json.dumps({**REPORT, "figures": [figure]}), encoding="utf-8")
    with pytest.raises(DataError, match="is no report of `llamafactory-ext score`"):
        read_runs([str(tmp_path / "r.json")])
