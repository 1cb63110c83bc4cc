"""The demo keeps finished steps, reports failures with their log, and draws what it measured."""

import sys
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from rich.console import Console

from llamafactory_ext.errors import DataError, OptionError, UpstreamError
from llamafactory_ext.lab import jobs
from llamafactory_ext.lab.demo import demo
from llamafactory_ext.lab.jobs import EndedEarly, Setting, run_job, training_command
from llamafactory_ext.lab.methods import METHODS, PACKAGE_ROOT, Method
from llamafactory_ext.lab.report import COLUMNS, draw_chart, print_table


def tell(doing: str, steps: tuple[int, int] | None) -> None:
    """Ignores progress."""


def rows() -> list[dict[str, Any]]:
    scores = {key: {"n": 8, "right": 4, "accuracy": 0.5, "standard_error": 0.1768, "unparsable": 0} for key in COLUMNS}
    return [
        {"name": method.name, "label": method.label, "training_seconds": 3.0, "general": 0.5, "scores": scores}
        for method in METHODS
    ]


def test_base_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(PACKAGE_ROOT, tmp_path, 2, Event())
    first = run_job(METHODS[0], setting, tell)
    assert first["scores"]["math"]["n"] == 2
    monkeypatch.setattr(jobs, "_run", lambda *_: pytest.fail("ran again"))
    assert run_job(METHODS[0], setting, tell) == first


def test_failed_training_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; print('no such option', file=sys.stderr); sys.exit(3)"
    monkeypatch.setattr(jobs, "training_command", lambda *_: [sys.executable, "-c", code])
    setting = Setting(PACKAGE_ROOT, tmp_path, 2, Event())
    with pytest.raises(UpstreamError, match=r"exit code 3: no such option\nRead .*lora\.train\.log"):
        run_job(Method("lora", "LoRA", "lora_tiny.yaml"), setting, tell)


def test_failure_of_one_run_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(method: Method, setting: Setting, _: Any) -> dict[str, Any]:
        if method.name == "lora":
            raise UpstreamError("LoRA broke")
        setting.stop.wait(20)
        raise EndedEarly

    monkeypatch.setattr(jobs, "run_job", fail)
    with pytest.raises(UpstreamError, match="LoRA broke"):
        demo(tmp_path, workers=len(METHODS))
    assert not (tmp_path / "report.json").exists()


def test_only_the_resumable_method_keeps_what_it_began(tmp_path: Path) -> None:
    for method in (METHODS[1], METHODS[-1]):
        folder = tmp_path / method.name
        folder.mkdir()
        (folder / "mine").touch()
        with pytest.raises(OptionError, match="nothing of it is overwritten"):  # no demo began it
            jobs._clear_unless_resumable(method, folder, "a")
        (folder / "mine").unlink()
        (tmp_path / f"{method.name}.begun").write_text("an earlier one")
        for made_from, kept in (("a", False), ("a", method.resumes), ("b", False)):
            folder.mkdir(exist_ok=True)
            (folder / "part").touch()
            jobs._clear_unless_resumable(method, folder, made_from)
            assert (folder / "part").exists() == kept, (method.name, made_from)


def test_every_method_trains_an_existing_file_by_the_public_command() -> None:
    for method in METHODS[1:]:
        command = training_command(method, Path("out"))
        assert Path(command[0]).name == "llamafactory-cli"
        assert (PACKAGE_ROOT / command[2]).is_file()


def test_table_and_picture(tmp_path: Path) -> None:
    text = StringIO()
    print_table(rows(), Console(file=text, width=160))
    for expected in ("50.0 ± 17.7", "n=8", "CITI", "full fine-tuning"):
        assert expected in text.getvalue()
    draw_chart(rows(), tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_demo_outside_a_clone_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"citi_tiny\.yaml"):
        demo(tmp_path / "out", root=tmp_path)
    assert not (tmp_path / "out").exists()
