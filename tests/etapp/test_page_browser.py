"""The page in a real browser: tables, a trajectory that opens, no request, nothing that a model said runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from board_server import find_browser
from etapp.acting import saying
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.etapp.run import RunOptions, run

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed, and CHROMIUM names none")
SOURCE, GOLD = load(), load_gold()
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def acted(path: Path, make: Any) -> Path:
    return run(SOURCE, SOURCE.cases[:12], make, {}, RunOptions(quiet=True), path)


def test_the_page_in_a_browser(tmp_path: Path) -> None:
    gold = acted(tmp_path / "gold.jsonl", agent("gold", GOLD))
    bad = acted(tmp_path / "bad.jsonl", lambda *_: saying([("bake", {"x": HOSTILE})], HOSTILE))
    page = write(SOURCE, read_runs(SOURCE, [f"gold={gold}", f"bad={bad}"]), tmp_path / "page")[2]
    asked: list[str] = []
    faults: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 400, "height": 800})
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(page.as_uri())
        assert tab.title() == "Agents in ETAPP"
        assert (asked, faults) == ([page.as_uri()], [])
        assert tab.locator("table").first.locator("th").all_inner_texts() == ["figure", "gold", "bad"]
        assert tab.locator("table.heat").count() == 2
        assert tab.get_by_text("By domain").is_visible()
        first = tab.locator("details").first
        assert not first.locator("ol").is_visible()
        first.locator("summary").click()
        assert first.locator("ol li").count() == len(GOLD[SOURCE.cases[0].id]["calls"])
        assert first.locator("ol").is_visible()
        last = tab.locator("details").last
        last.locator("summary").click()
        assert last.locator("li.failed").is_visible()
        assert HOSTILE in last.locator("pre").inner_text()
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 400  # wide tables scroll by themselves, the page does not
        browser.close()
