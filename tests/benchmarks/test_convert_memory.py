"""The generated records are what the benchmark says of them, and figures are divided by those of the same case."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llamafactory_ext.data.public.convert import Request, convert

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from convert_memory import cases, ratios

pytestmark = pytest.mark.fast
COUNT = 20
WRITTEN = {"JSON list, all but one dropped": 1, "xLAM-60k": 18}
FINDINGS = {"Hermes function calling": 2}


@pytest.mark.parametrize("title", cases(0))
def test_the_records_of_a_case(title: str, tmp_path: Path) -> None:
    family, name, text, _ = cases(COUNT)[title]
    (tmp_path / name).write_text("".join(text), encoding="utf-8")
    result = convert(Request(family, tmp_path / name, tmp_path / "out"))
    assert result.read == {name: COUNT}
    assert result.written == WRITTEN.get(title, COUNT)
    assert len(result.findings) == FINDINGS.get(title, 0)


def test_ratios() -> None:
    rows = [
        {"case": case, "records": records, "peak_mib": peak, "rise_mib": rise}
        for case, records, peak, rise in (("a", 20, 150.0, 9.0), ("b", 10, 100.0, 4.0), ("a", 10, 100.0, 6.0))
    ]
    assert ratios(rows)["a"] == {"records": 2.0, "peak_mib": 1.5, "rise_mib": 1.5}
    assert ratios(rows)["b"]["peak_mib"] == 1.0
