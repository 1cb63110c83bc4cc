"""A broken patch switches off what needs it, and says so once; runs that are not ours never notice."""

import importlib
import inspect
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import pytest
from llamafactory.extras import env
from llamafactory.hparams import FinetuningArguments
from llamafactory.hparams import parser as upstream_parser
from llamafactory.train import tuner

from llamafactory_ext.errors import UpstreamError
from llamafactory_ext.upstream.patches import compat, features, patch, table
from llamafactory_ext.upstream.patches.arguments import extend_finetuning_arguments
from llamafactory_ext.upstream.patches.features import TRAINING, Feature, refusal, refusal_of_parts, require
from llamafactory_ext.upstream.patches.parsing import wrap_parse_group
from llamafactory_ext.upstream.patches.patch import Patch, switched, switched_class
from llamafactory_ext.upstream.patches.relies import Takes

pytestmark = pytest.mark.fast

RUN_SFT = "llamafactory.train.tuner.run_sft"
LAUNCH = "llamafactory.launcher.launch"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_told", [])
    monkeypatch.setattr(patch, "failures", dict(patch.failures))


def test_nothing_is_off_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert features.broken() == {}
    require(*TRAINING)
    assert capsys.readouterr().err == ""


def test_a_run_that_needs_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "VERSION", "0.9.7.dev3")
    patch.failures[RUN_SFT] = "is missing"
    for feature in TRAINING:
        with pytest.raises(UpstreamError) as caught:
            require(feature)
        said = caught.value.message
        assert said.startswith(f"{feature} does not work with LLaMA-Factory 0.9.7.dev3 (")
        assert f"{RUN_SFT} is missing. Runs without our methods are untouched." in said
        assert "`llamafactory-ext doctor`" in said
        assert "\n" not in said
    require(Feature.MODELS)


def test_a_run_that_does_not_need_it_says_what_is_off_once(capsys: pytest.CaptureFixture[str]) -> None:
    patch.failures[LAUNCH] = "is missing"
    for _ in range(2):
        require(Feature.CITI)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"off: {Feature.ERRORS}; everything else works" in line


def test_only_the_first_rank_says_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    patch.failures[LAUNCH] = "is missing"
    require(Feature.CITI)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", [{"finetuning_type": "citi"}, {"stage": "tl_sft"}, {"stage": "tl_ppo"}], ids=str)
def test_the_options_class_refuses_what_the_parser_cannot(given: dict[str, str]) -> None:
    patch.failures["llamafactory.hparams.parser._parse_args"] = "is missing"
    ((name, value),) = given.items()
    with pytest.raises(
        UpstreamError, match=f"^{name}: {value} does not work with LLaMA-Factory .*_parse_args is missing"
    ):
        FinetuningArguments(**given)
    assert FinetuningArguments(finetuning_type="lora").stage == "sft"


def test_many_problems_stay_one_line() -> None:
    patch.failures.update(dict.fromkeys([row.name for row in table.PATCHES], "is\nmissing"))
    error = refusal(Feature.CITI)
    assert error is not None
    assert "\n" not in error.message
    assert " more. Runs without" in error.message


@pytest.mark.parametrize(
    ("version", "too_old"),
    [("0.9.4", True), ("0.9.4.post1", True), ("0.8", True), ("0.9.5", False), ("0.9.6.dev0", False), ("1.0", False)],
)
def test_old_versions(version: str, too_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "VERSION", version)
    error = refusal(Feature.TL_SFT)
    assert (error is not None) == too_old
    if error is not None:
        assert f"needs LLaMA-Factory 0.9.5 or newer; this is LLaMA-Factory {version} (" in error.message


def test_the_version_is_read_from_the_code_that_would_be_loaded(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "llamafactory" / "extras"
    folder.mkdir(parents=True)
    (folder / "env.py").write_text('VERSION = "0.9.9"\n', "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    loaded, *others = compat.installations()
    assert loaded == compat.upstream_folder()
    assert tmp_path / "llamafactory" in others
    assert compat.version_of(tmp_path / "llamafactory") == "0.9.9"
    (folder / "env.py").write_text("VERSION = 1 +\n", "utf-8")
    assert compat.version_of(tmp_path / "llamafactory") == "of an unknown version"


def test_another_plugin_after_us_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tuner, "run_sft", lambda *args: None)
    require(Feature.CITI)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"another package has replaced {RUN_SFT} ({__file__}) as well" in line


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType("changed_module")
    made.convert = lambda name: f"upstream's {name}"  # type: ignore[attr-defined]
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]
    for kept in (patch.originals, patch.replacements):
        kept.pop("changed_module.convert", None)


def row(wrap: Any, **changes: Any) -> Patch:
    return Patch("changed_module", "convert", (Feature.CITI,), (Takes("name"),), "a test", wrap, **changes)


def failing(*_: Any) -> Any:
    raise RuntimeError("a fault of ours")


def test_a_wrapper_that_cannot_be_made_leaves_the_original(module: ModuleType) -> None:
    original = module.convert
    part = row(failing)
    part.apply(module)
    assert module.convert is original
    assert part.problem() == "cannot be replaced (RuntimeError: a fault of ours)"
    del module.convert
    part.apply(module)
    assert part.problem() == "is missing"


def test_calls_that_are_not_ours_reach_the_original(module: ModuleType) -> None:
    part = row(lambda original: failing, when=lambda call: call["name"] == "ours")
    part.apply(module)
    assert module.convert("theirs") == "upstream's theirs"
    with pytest.raises(RuntimeError, match="a fault of ours"):
        module.convert("ours")
    with pytest.raises(TypeError, match="argument"):
        module.convert()
    assert part.problem() == ""
    broken = switched(lambda name: name, failing, failing)
    assert broken("any") == "any"


def test_classes_that_are_switched_off_make_upstreams_objects() -> None:
    @dataclass
    class Base:
        name: str

    def extended(when: Any) -> Any:
        return switched_class(Base, type("Extended", (Base,), {}), when)

    kind = extended(lambda call: True)
    assert type(kind("a")) is kind
    for when in (lambda call: False, failing):
        assert type(extended(when)("a")) is Base
        assert extended(when)(name="b").name == "b"


def test_a_module_that_upstream_has_moved_is_named() -> None:
    gone = Patch("llamafactory.gone", "convert", (Feature.CITI,))
    assert gone.problem() == "cannot be found, as there is no module llamafactory.gone"


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (ModuleNotFoundError("No module named 'llamafactory.new'", name="llamafactory.new"), True),
        (ImportError("cannot import name 'a'\n", name="llamafactory.data"), True),
        (SyntaxError("invalid", ("/x/llamafactory/launcher.py", 1, 1, "", 1, 1)), True),
        (ModuleNotFoundError("No module named 'gradio'", name="gradio"), False),
        (ValueError("llamafactory"), False),
    ],
    ids=str,
)
def test_a_half_updated_clone(error: BaseException, ours: bool) -> None:
    found = refusal_of_parts(error, Feature.CITI)
    assert (found is not None) == ours
    if found is not None:
        assert found.message.startswith("finetuning_type: citi cannot start, as LLaMA-Factory ")
        assert "\n" not in found.message


def asked_for_an_attribute() -> Any:
    return object().use_new  # type: ignore[attr-defined]


def gave_an_argument() -> Any:
    return int(new=1)  # type: ignore[call-overload]


def used_a_name() -> Any:
    raise NameError("name 'new' is not defined")


def divided() -> Any:
    return 1 / 0


@pytest.mark.parametrize(
    ("fail", "where", "mixed", "ours"),
    [
        (asked_for_an_attribute, "llamafactory.train.tuner", "states version 1, but has the code of 2 in x", True),
        (gave_an_argument, "llamafactory.train.tuner", "states version 1, but has the code of 2 in x", True),
        (used_a_name, "llamafactory.data.loader", "states version 1, but has the code of 2 in x", True),
        (asked_for_an_attribute, "llamafactory.train.tuner", "", False),
        (asked_for_an_attribute, "transformers.trainer", "states version 1, but has the code of 2 in x", False),
        (divided, "llamafactory.train.tuner", "states version 1, but has the code of 2 in x", False),
    ],
)
def test_a_clone_of_two_versions_that_imports(
    fail: Callable[[], Any], where: str, mixed: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamafactory_ext.upstream.patches.seen.mixed", lambda *_: mixed)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        FunctionType(fail.__code__, {"__name__": where})()
    found = refusal_of_parts(caught.value, Feature.CITI)
    assert (found is not None) == ours
    if found is not None:
        assert found.message.startswith("finetuning_type: citi cannot go on, as LLaMA-Factory ")
        assert f" {mixed}; with or without llamafactory_ext: {type(caught.value).__name__}: " in found.message
        assert "\n" not in found.message


def test_a_module_that_was_imported_before_us(module: ModuleType) -> None:
    assert row(failing).problem() == "was imported before llamafactory_ext could replace it"


def test_an_option_of_our_name_in_upstreams_class() -> None:
    @dataclass
    class FinetuningArguments:
        stage: str = "sft"
        citi_rank: int = 1

    with pytest.raises(UpstreamError, match="it has options of our names: citi_rank"):
        extend_finetuning_arguments(FinetuningArguments)


def test_an_option_of_our_name_in_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "llamafactory.hparams.finetuning_args.FinetuningArguments"
    ours, original = patch.replacements[name], patch.originals[name]
    groups = [int, ours]
    monkeypatch.setattr(upstream_parser, "_TRAIN_ARGS", groups)
    monkeypatch.setattr(upstream_parser, "_INFER_ARGS", [ours])
    monkeypatch.setattr(upstream_parser, "_EVAL_ARGS", [ours])
    monkeypatch.setattr(upstream_parser, "_TRAIN_MCA_ARGS", [ours], raising=False)
    monkeypatch.setattr(upstream_parser, "_TRAIN_MBRIDGE_ARGS", [ours], raising=False)

    def parse(args: Any) -> Any:
        if ours in groups:
            raise ArgumentError(None, "conflicting option string: --cutoff_action")
        return (args,)

    assert wrap_parse_group(parse)("given") == ("given",)
    assert groups == [int, original]
    with pytest.raises(UpstreamError, match="as an option of ours has a namesake"):
        require(Feature.TL_SFT)


@pytest.mark.parametrize("row", table.PATCHES, ids=lambda row: row.name)
def test_a_replacement_is_a_function_of_the_same_kind(row: Patch) -> None:
    """Gradio, for one, streams what a generator function yields, and shows any other function's value as it is."""
    importlib.import_module(row.module)
    original, replacement = patch.originals[row.name], patch.replacements[row.name]
    for kind in (
        inspect.isgeneratorfunction,
        inspect.iscoroutinefunction,
        inspect.isasyncgenfunction,
        inspect.isclass,
    ):
        assert kind(replacement) == kind(original), kind.__name__
