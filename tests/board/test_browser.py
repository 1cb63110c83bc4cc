"""LLaMA Board in a real browser: fill a panel, preview, train the embedded model, chat with what came out.

Needs a Chromium of the system (Debian: `apt-get install chromium`; CHROMIUM may name one elsewhere). Screenshots are
kept in runs/board/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from board_server import MODEL, ROOT, Page, board, find_browser, write_lab_data

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed, and CHROMIUM names none")
SCREENSHOTS = ROOT / "runs" / "board"
# A run of seconds: the tiny model needs no GPU.
QUICK = {
    "use_cpu": True,
    "logging_steps": 1,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "preprocessing_num_workers": 1,
    "overwrite_cache": True,
    "disable_gradient_checkpointing": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board")
    write_lab_data(path, 12)
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    """The page in its first state, with the embedded model chosen."""
    with board(folder) as url, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = Page(browser.new_page(viewport={"width": 1500, "height": 1000}), url)
        page.choose("Model name", "Custom")
        page.fill("Model path", str(MODEL))
        page.choose("Compute type", "fp32")
        yield page
        browser.close()


def run_for(page: Page, steps: int) -> None:
    page.press("Extra configurations")
    page.fill("Extra arguments", json.dumps({**QUICK, "max_steps": steps}))
    page.press("Extra configurations")


def shoot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def preview(page: Page) -> str:
    page.press("Preview command")
    page.text("llamafactory-cli train").wait_for()
    shown = page.page.locator("code").locator("visible=true").filter(has_text="llamafactory-cli train")
    return str(shown.first.inner_text())


def train(page: Page) -> None:
    page.press("Start")
    # Where the run's log stands: a notice of an earlier run may still be on the page.
    ended = page.page.locator(".prose", has_text=re.compile(r"^\s*(Finished|Failed)")).locator("visible=true").first
    ended.wait_for()
    assert ended.inner_text().strip().startswith("Finished"), ended.inner_text()


def chat(page: Page, run: str, question: str) -> str:
    """Load the checkpoint in the chat tab, ask, unload; what it answered."""
    page.choose("Checkpoint path", run)
    page.tab("Chat")
    page.press("Load model")
    page.page.get_by_placeholder("Input...").fill(question)
    page.press("Submit")
    reply = page.page.locator(".message.bot", has_text=re.compile(r"\S")).last
    reply.wait_for()
    answer = str(reply.inner_text())
    shoot(page, f"chat_{run}")
    page.press("Unload model")
    page.page.get_by_placeholder("Input...").wait_for(state="hidden")
    page.tab("Train")
    return answer


def export(page: Page, run: str, folder: str) -> None:
    page.choose("Checkpoint path", run)
    page.tab("Export")
    page.fill("Export dir", folder)
    page.press("Export")
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('textarea')].some(box => box.value === 'Model exported.')"
    )
    page.tab("Train")


def test_citi_from_the_panel_to_a_chat(page: Page, folder: Path) -> None:
    run_for(page, 20)  # long enough to be seen, and aborted, on a fast machine
    page.choose("Finetuning method", "citi")
    page.choose("Chat template", "llama3")
    page.choose("Dataset", "lab_tool", "lab_general")
    page.fill("Rank", "4")
    page.fill("Importance samples", "4")
    page.fill("Report samples", "2")
    page.fill("Output dir", "citi_run")
    command = preview(page)
    assert "--finetuning_type citi" in command
    assert "--citi_rank 4" in command
    assert "trust_remote_code" not in command
    page.press("Start")
    page.text(re.compile("^(Computing the importance|Phase )")).wait_for()
    page.press("Abort")
    page.text("Aborted. Start again").wait_for()
    assert not (folder / "saves" / "Custom" / "citi" / "citi_run" / "adapter_model.safetensors").exists()
    train(page)  # goes on
    page.text("All phases are complete").wait_for()
    rows = page.page.locator("table tr").locator("visible=true").all_inner_texts()
    states = [row.split("\t") for row in rows if row.startswith(("rp", "mi", "uco"))]
    assert [state[:3] for state in states] == [[phase, "done", "20/20"] for phase in ("rp", "mi", "uco")]
    assert all(0 <= float(weight) <= 1 for state in states for weight in state[4:])
    assert page.page.locator(".matplotlib img, img[alt*='plot' i]").locator("visible=true").count() == 1
    shoot(page, "citi")
    output = folder / "saves" / "Custom" / "citi" / "citi_run"
    assert json.loads((output / "manifest.json").read_text("utf-8"))["plan"]["citi_rank"] == 4
    assert chat(page, "citi_run", "Name the ruler of Fenaya.").strip()
    export(page, "citi_run", "exported")
    assert json.loads((folder / "exported" / "config.json").read_text("utf-8"))["model_type"] == "citi_llama"


def test_tl_sft_from_the_panel_to_a_chat(page: Page, folder: Path) -> None:
    run_for(page, 2)
    page.choose("Finetuning method", "full")
    page.choose("Chat template", "llama3_api_bank")
    page.choose("Stage", "TL-SFT")
    page.choose("Dataset", "lab_trajectories")
    page.fill("Largest weight", "5")
    page.fill("Output dir", "tl_run")
    command = preview(page)
    assert "--stage tl_sft" in command
    assert "--tl_w_max 5" in command
    assert "citi_" not in command
    page.tab("Data")
    page.choose("Dataset", "lab_trajectories")
    page.press("Preview token weights")
    page.page.locator(".lfx-preview .k").first.wait_for()
    shoot(page, "data")
    page.tab("Train")
    train(page)
    shoot(page, "tl_sft")
    output = folder / "saves" / "Custom" / "full" / "tl_run"
    assert (output / "model.safetensors").is_file()
    assert "lab_trajectories" in (output / "training_args.yaml").read_text("utf-8")
    assert chat(page, "tl_run", "Name the ruler of Fenaya.").strip()
