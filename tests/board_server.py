"""LLaMA Board in a process of its own, as a user starts it, and a page of a headless browser on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import BIN, environment, free_port

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "src" / "llamafactory_ext" / "lab" / "model"
LAB = ("lab_tool", "lab_general", "lab_trajectories")
PATIENCE = 180  # seconds; generous, because other tests may run beside these
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chromium-headless-shell")


def find_browser() -> str | None:
    """A Chromium of the system, or the one that CHROMIUM names."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in BROWSERS if (path := shutil.which(name))), None)


def write_lab_data(folder: Path, count: int) -> None:
    """The first examples of the lab's data sets, as `data/` in `folder`."""
    (folder / "data").mkdir()
    info = json.loads((ROOT / "data" / "dataset_info.json").read_text("utf-8"))
    for name in LAB:
        records = json.loads((ROOT / "data" / f"{name}.json").read_text("utf-8"))[:count]
        (folder / "data" / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
    kept = {name: info[name] for name in LAB}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(kept), encoding="utf-8")


@contextmanager
def board(folder: Path, **variables: str) -> Iterator[str]:
    """The address of a Board that runs in `folder`; what it prints goes to `board.log` there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "BROWSER": "true"} | variables
    with (folder / "board.log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "llamafactory-cli"), "webui"],
            cwd=folder,
            env=environment(**settings),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(url, process, folder / "board.log")
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=30).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"LLaMA Board did not start:\n{log.read_text()}")


class Page:
    """The Board's page as a user sees it; fields are found by their labels."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(url)
        self.field("Model name").wait_for()

    def field(self, label: str) -> Any:
        named = re.compile(rf"^\s*{re.escape(label)}")  # what explains a field is part of its label
        return self.page.get_by_label(named).locator("visible=true").first

    def choose(self, label: str, *words: str) -> None:
        """Pick entries of a dropdown."""
        for word in words:
            self.field(label).click()
            self.field(label).fill(word)
            self.page.get_by_role("option", name=word, exact=True).locator("visible=true").first.click()

    def fill(self, label: str, text: str) -> None:
        """Replace the text of a field, and leave it."""
        self.field(label).fill(text)
        self.field(label).blur()

    def press(self, name: str) -> None:
        """A button, or the head of an accordion."""
        named = re.compile(rf"^\s*{re.escape(name)}\b")
        # By class: tabs are buttons too, and kept twice.
        self.page.locator("button.lg, button.label-wrap", has_text=named).locator("visible=true").first.click()

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def text(self, words: str) -> Any:
        return self.page.get_by_text(words).locator("visible=true").first
