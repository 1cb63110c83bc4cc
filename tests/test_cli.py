"""The command `llamafactory-ext`: verbs, errors as messages, and what the doctor says."""

import sys
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext import cli
from llamafactory_ext.upstream import doctor
from llamafactory_ext.upstream.patches.features import Feature
from llamafactory_ext.upstream.patches.table import PATCHES
from processes import run

FEATURES = [str(feature) for feature in Feature]
NEEDED = {
    module: [str(feature) for patch in PATCHES if patch.module == module for feature in patch.needed_by]
    for module in {patch.module for patch in PATCHES}
}
HEALTHY: dict[str, Any] = {
    "active": True,
    "imports": {"torchvision": "", "torchaudio": ""} | dict.fromkeys(NEEDED, ""),
    "peft_method": True,
    "upstream": "LLaMA-Factory 0.9.5 (installed)",
    "too_old": False,
    "installations": ["0.9.5 in site-packages"],
    "features": FEATURES,
    "broken": {},
    "needed": NEEDED,
    "others": [],
    "unseen": [],
    "mixed": "",
}


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["llamafactory-ext", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_help_lists_the_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--help",)):
        assert call(monkeypatch, *words) == 0
        printed = capsys.readouterr().out
        assert all(verb in printed for verb in cli.VERBS)


def test_unknown_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "trian") == 2
    assert "There is no verb 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["data", "lab"])
def test_a_verb_of_several_lists_them(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("--help",), ("-h",)):
        assert call(monkeypatch, verb, *words) == 0
        printed = capsys.readouterr().out
        commands = [name for name in vars(cli.load_verb(verb)) if not name.startswith("_")]
        assert all(f"  {command} ".replace("_", "-") in printed for command in commands)
    assert call(monkeypatch, verb, f"{commands[0]}x") == 2
    assert f"has no command '{commands[0]}x'. Did you mean {commands[0]}?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_can_be_imported(verb: str) -> None:
    assert callable(cli.load_verb(verb))


def test_our_errors_are_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "room_with_an_error.py").write_text(
        "from llamafactory_ext.errors import DataError\n\n\nclass Data:\n    def convert(self):\n"
        "        raise DataError('tools.json is missing; correct the path.')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.VERBS, "data", ("room_with_an_error", "Data", ""))
    assert call(monkeypatch, "data", "convert") == 2
    assert capsys.readouterr().err == "DataError: tools.json is missing; correct the path.\n"


def test_missing_package(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = "import package_nobody_has\n\n\ndef data():\n    pass\n"
    (tmp_path / "room_with_a_need.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.VERBS, "data", ("room_with_a_need", "data", ""))
    assert call(monkeypatch, "data") == 2
    assert "needs the package package_nobody_has, which is not installed; run `pip install" in capsys.readouterr().err


def test_doctor_of_this_environment(tmp_path: Path) -> None:
    result = run(["llamafactory-ext", "doctor"], tmp_path)
    assert result.returncode == 0, result.stdout
    for name in FEATURES:
        assert name in result.stdout
    assert "broken" not in result.stdout


def states(findings: dict[str, Any]) -> dict[str, str]:
    return {check.what: check.state for check in doctor.probe_checks(HEALTHY | findings)}


def test_doctor_judges_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMAFACTORY_EXT", raising=False)
    assert set(states({}).values()) == {"ok"}
    assert states({"active": False})["hooks in a fresh process"] == "broken"
    assert states({"peft_method": False})["PEFT method MOLORA"] == "broken"
    assert states({"imports": {"torchaudio": "undefined symbol"}})["torchaudio with torch"] == "broken"
    monkeypatch.setenv("LLAMAFACTORY_EXT", "0")
    assert states({"active": False})["hooks in a fresh process"] == "off"


@pytest.mark.parametrize(
    ("torch", "expected"),
    [
        ("2.8.0", "pip install torch==2.8.0 torchvision torchaudio==2.8.0"),
        ("2.11.0", "pip install torch==2.11.0 torchvision torchaudio==2.11.0"),
        ("2.14.1", "pip install torch==2.14.1 torchvision torchaudio"),
        ("2.8.0+cu126", "torch+cu126 came from: pip install torch==2.8.0+cu126 torchvision torchaudio==2.8.0"),
        ("", "that belong together"),
        ("2.15.0a0+git1", "torch==2.15.0a0+git1 torchvision torchaudio"),
    ],
)
def test_what_belongs_to_torch_leaves_torch_alone(torch: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: torch)
    checks = doctor.probe_checks(HEALTHY | {"imports": {"torchaudio": "undefined symbol"}})
    (step,) = [check.next_step for check in checks if check.what == "torchaudio with torch"]
    assert step.endswith(expected)


def changed(findings: dict[str, Any]) -> dict[str, str]:
    """The lines of the doctor that differ from those of a healthy installation."""
    healthy = states({})
    return {what: state for what, state in states(findings).items() if healthy.get(what) != state}


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ({"broken": {"a.launch": ["is missing", [Feature.ERRORS]]}}, {"a.launch": "broken", Feature.ERRORS: "broken"}),
        (
            {"broken": {"a.run_sft": ["is missing", [Feature.CITI, Feature.TL_SFT]]}},
            {"a.run_sft": "broken", Feature.CITI: "broken", Feature.TL_SFT: "broken"},
        ),
        (
            {"imports": dict.fromkeys(NEEDED, "No module named 'llamafactory.hparams.new_args'")},
            {"import LLaMA-Factory": "broken"} | dict.fromkeys(FEATURES, "broken"),
        ),
        (
            {"imports": {"llamafactory.webui.interface": "No module named 'gradio'"}},
            {"import LLaMA-Factory": "broken", Feature.DATA_TAB: "broken", Feature.ADDRESS: "broken"},
        ),
        ({"too_old": True}, {"LLaMA-Factory": "broken"} | dict.fromkeys(FEATURES, "broken")),
        ({"installations": ["0.9.6 in a", "0.9.5 in b"]}, {"installations of LLaMA-Factory": "warning"}),
        ({"mixed": "states 0.9.6", "unseen": ["a.b"]}, {"files of LLaMA-Factory": "warning"}),
        ({"unseen": ["a.b"]}, {"code of LLaMA-Factory": "warning"}),
        ({"others": ["a.b (plugin.py)"]}, {"replaced by another package too": "warning"}),
    ],
    # The modules are a set, in another order in each worker.
    ids=["patch", "two features", "half a clone", "no gradio", "old", "two", "mixed", "unseen", "another plugin"],
)
def test_doctor_says_each_fault_once_and_what_works(findings: dict[str, Any], expected: dict[str, str]) -> None:
    assert changed(findings) == {str(what): state for what, state in expected.items()}


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("No module named 'pyaudioop'", "pip install audioop-lts"),
        ("No module named 'gradio'", "pip install gradio"),
        ("No module named 'yaml.cyaml'", "pip install pyyaml"),
        ("No module named 'llamafactory.hparams.new_args'", "update the whole clone"),
        ("cannot import name 'hparams' from 'llamafactory'", "update the whole clone"),
    ],
)
def test_the_step_for_a_module_that_is_missing(problem: str, expected: str) -> None:
    checks = doctor.probe_checks(HEALTHY | {"imports": dict.fromkeys(NEEDED, problem)})
    (step,) = [check.next_step for check in checks if check.what == "import LLaMA-Factory"]
    assert step.endswith(expected)


def test_doctor_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "run_probe", lambda: {"error": "No module named 'peft'"})
    with pytest.raises(SystemExit, match="1"):
        doctor.doctor()
    assert "No module named 'peft'" in capsys.readouterr().out


def test_every_problem_has_a_next_step() -> None:
    worst: dict[str, Any] = {
        "active": False,
        "imports": dict.fromkeys(HEALTHY["imports"], "does not load"),
        "peft_method": False,
        "too_old": True,
        "installations": ["one", "another"],
        "broken": {"a.b": ["is missing", FEATURES]},
        "others": ["a.b"],
        "mixed": "states",
    }
    for check in doctor.probe_checks(HEALTHY | worst):
        assert check.next_step or check.state not in ("broken", "warning"), check
