"""One row per method: what every other room reads of it, in names that are imported when first needed.

Standard library only: interpreter start-up loads this file by its path, before the package. A method
is a folder with its code and a row here; CONTRIBUTING.md says how to add one. `llamafactory-ext doctor` reports rows
that do not hold together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Literal

Name = str  # "module:attribute"
Kind = Literal["finetuning_type", "stage"]
# A run's marks of tool and general data, by the columns of its rows: the code of a token, and the example's task.
MARKS_COLUMN: Final = "citi_marks"
TASK_COLUMN: Final = "citi_task"


def load(name: Name) -> Any:
    """Import what a row names.

    Args:
        name: as "module:attribute".
    """
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A checkpoint of a method's own kind.

    Attributes:
        title: as it is called in texts.
        peft: the module that registers the method with PEFT when it is imported.
        load: (model, model_args, finetuning_args, paths) -> the model with the adapter on it.
        check: (folder, its adapter_config.json) -> whether it is an adapter of the method.
        export: (model, tokenizer, processor, folder, shard size, adapter's folder) -> None.
        model_types: the exported types, {model_type: (configuration, model)}.
        prefix: what the names of the exported types' classes begin with, before the name of the family's class.
        vllm: the module that makes vLLM's classes of the exported types, in its `__getattr__`.
        vllm_check: (vLLM's configuration) -> None; raises OptionError.
    """

    title: str
    peft: str
    load: Name
    check: Name
    export: Name
    model_types: Name
    prefix: str = ""
    vllm: str = ""
    vllm_check: Name = ""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method; names left empty mean that it has no such thing.

    Attributes:
        name: value of `option` that chooses it.
        option: `finetuning_type` or `stage`.
        title: as it is called in texts.
        nearest: the value of `option` that upstream's own checks are shown.
        arguments: the dataclass of its options, read by the parser, `-h` and LLaMA Board's panel.
        rules: what each of them takes, by name.
        shared: options of it that other methods read too, each with the names of these.
        column: its `Column` of the table of upstream's options (options/fates/row.py).
        page: the file of docs/ about it.
        run: (upstream's five groups of options, callbacks) -> None.
        runs: which commands it runs: those that train, and also those that do not, "unless predicting" or
            "unless generating".
        alone: a stage that goes on from what a fine-tuning type has trained, and reads that type's options no more.
        check_options: (finetuning_args) -> problems, before upstream looks at them.
        check_training: (model_args, training_args, finetuning_args) -> problems.
        check_inference: (model_args) -> problems of chat, api, export and evaluation.
        check_model: (model on the meta device or None, finetuning_args) -> problems.
        of_model: (model's folder) -> the doctor's lines about it, and the row to try for a new architecture.
        examples: () -> its examples by model family, as Markdown, which LLaMA Board lists.
        check_data: (data sets' names, their folder) -> remarks; raises DataError.
        marks: whether it needs the mark of tool or general data on every example.
        weigher: (raw options by name) -> the settings by which the tokens of an example weigh.
        trial: (copy of finetuning_args, the run's) -> its number of steps or None; makes a dry run's copy small.
        works: (model, groups, tokens, tokens of a micro-batch) -> what trains, for an estimate without weights.
        lengths: (four groups) -> tokens of each example, likewise.
        phased: whether it trains in phases that a sealed folder each keeps (training/phased.py).
        begins: the file in output_dir that says that what comes before the phases is done.
        replaces: upstream's options that its phases replace by their own.
        curves: the figures that its log and LLaMA Board show (training/curves.py).
        verbs: files of commands/ that are about it.
        old_files: names of files, without `.json`, of which earlier versions may have left `.NAME.json.tmp`.
        adapter: of its checkpoints; None where upstream loads and exports them.
    """

    name: str
    option: Kind
    title: str
    nearest: str
    arguments: Name
    rules: Name
    run: Name
    column: Name = ""
    page: str = ""
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runs: Literal["training", "unless predicting", "unless generating"] = "training"
    alone: bool = False
    check_options: Name = ""
    check_training: Name = ""
    check_inference: Name = ""
    check_model: Name = ""
    of_model: Name = ""
    examples: Name = ""
    check_data: Name = ""
    marks: bool = False
    weigher: Name = ""
    trial: Name = ""
    works: Name = ""
    lengths: Name = ""
    phased: bool = False
    begins: str = ""
    replaces: tuple[str, ...] = ()
    curves: Name = ""
    verbs: tuple[str, ...] = ()
    old_files: tuple[str, ...] = ()
    adapter: Adapter | None = None

    @property
    def shown(self) -> str:
        """The option that chooses the method, as messages show it."""
        return f"{self.option}: {self.name}"

    def runs_with(self, training_args: Any) -> bool:
        """Return whether the method's own workflow runs a command.

        Args:
            training_args: upstream's group of the options.
        """
        if self.runs == "unless generating":
            return not training_args.predict_with_generate
        return bool(training_args.do_train or (self.runs == "unless predicting" and not training_args.do_predict))


METHODS: tuple[Method, ...] = (
    Method(
        name="citi",
        option="finetuning_type",
        title="CITI",
        nearest="lora",
        arguments="llamafactory_ext.citi.options:CitiArguments",
        rules="llamafactory_ext.citi.options:RULES",
        run="llamafactory_ext.citi.run.workflow:run_citi",
        column="llamafactory_ext.citi.fates:COLUMN",
        page="citi.md",
        check_options="llamafactory_ext.citi.conflicts:finetuning_conflicts",
        check_training="llamafactory_ext.citi.conflicts:training_conflicts",
        check_inference="llamafactory_ext.citi.conflicts:inference_conflicts",
        check_model="llamafactory_ext.citi.run.early:early_problems",
        of_model="llamafactory_ext.citi.model_checks:model_checks",
        examples="llamafactory_ext.citi.examples:listed",
        check_data="llamafactory_ext.data.checks.check:check_datasets",
        trial="llamafactory_ext.citi.estimate:trial",
        works="llamafactory_ext.citi.estimate:works",
        lengths="llamafactory_ext.citi.estimate:lengths",
        replaces=("learning_rate", "num_train_epochs"),
        marks=True,
        phased=True,
        begins="selection.json",
        verbs=("analyse", "data", "data_help", "examples", "importance"),
        old_files=("citi",),
        curves="llamafactory_ext.citi.curves:CURVES",
        adapter=Adapter(
            title="MOLoRA",
            peft="llamafactory_ext.molora.registration",
            check="llamafactory_ext.citi.adapter:is_ours",
            load="llamafactory_ext.citi.adapter:load_adapter",
            export="llamafactory_ext.citi.export:export_citi",
            model_types="llamafactory_ext.citi.exported:MODEL_TYPES",
            prefix="Citi",
            vllm="llamafactory_ext.citi.vllm.models",
            vllm_check="llamafactory_ext.citi.vllm.checks:check",
        ),
    ),
    Method(
        name="data",
        option="finetuning_type",
        title="DATA",
        nearest="lora",
        arguments="llamafactory_ext.data_method.options:DataMethodArguments",
        rules="llamafactory_ext.data_method.options:RULES",
        run="llamafactory_ext.data_method.workflow:run_data",
        column="llamafactory_ext.data_method.fates:COLUMN",
        page="continual.md",
        check_options="llamafactory_ext.data_method.conflicts:finetuning_conflicts",
        check_training="llamafactory_ext.data_method.conflicts:training_conflicts",
        check_inference="llamafactory_ext.data_method.conflicts:inference_conflicts",
        check_model="llamafactory_ext.data_method.estimate:early_problems",
        lengths="llamafactory_ext.data_method.estimate:lengths",
        curves="llamafactory_ext.data_method.curves:CURVES",
        adapter=Adapter(
            title="DATA",
            peft="llamafactory_ext.duo.registration",
            check="llamafactory_ext.data_method.adapter:is_ours",
            load="llamafactory_ext.data_method.adapter:load_adapter",
            export="llamafactory_ext.data_method.export:export_data",
            model_types="llamafactory_ext.data_method.exported:MODEL_TYPES",
            prefix="Data",
            vllm="llamafactory_ext.data_method.vllm.models",
            vllm_check="llamafactory_ext.data_method.vllm.checks:check",
        ),
    ),
    Method(
        name="tl_sft",
        option="stage",
        title="TL-Training",
        nearest="sft",
        arguments="llamafactory_ext.tl.sft.options:TlArguments",
        rules="llamafactory_ext.tl.sft.options:RULES",
        shared={"tl_call_format": ("tl_ppo",), "tl_skip_bad": ("tl_ppo",)},
        run="llamafactory_ext.tl.sft.workflow:run_tl_sft",
        column="llamafactory_ext.tl.sft.fates:COLUMN",
        page="tl_training.md",
        runs="unless generating",
        check_options="llamafactory_ext.tl.conflicts:stage_conflicts",
        check_training="llamafactory_ext.tl.conflicts:function_conflicts",
        lengths="llamafactory_ext.tl.sft.estimate:lengths",
        verbs=("data", "data_help"),
        weigher="llamafactory_ext.tl.sft.weighing:settings_from",
    ),
    Method(
        name="tl_ppo",
        option="stage",
        title="TL-Training",
        nearest="sft",
        arguments="llamafactory_ext.tl.ppo.options:TlPpoArguments",
        rules="llamafactory_ext.tl.ppo.options:RULES",
        run="llamafactory_ext.tl.ppo.workflow:run_tl_ppo",
        column="llamafactory_ext.tl.ppo.fates:COLUMN",
        page="tl_training.md",
        runs="unless predicting",
        alone=True,
        check_training="llamafactory_ext.tl.conflicts:ppo_conflicts",
        curves="llamafactory_ext.tl.ppo.curves:CURVES",
        verbs=("tl",),
        trial="llamafactory_ext.tl.ppo.estimate:trial",
        works="llamafactory_ext.tl.ppo.estimate:works",
        lengths="llamafactory_ext.tl.ppo.estimate:lengths",
    ),
    Method(
        name="skintern",
        option="stage",
        title="SKIntern",
        nearest="sft",
        arguments="llamafactory_ext.skintern.options:SkinternArguments",
        rules="llamafactory_ext.skintern.options:RULES",
        run="llamafactory_ext.skintern.workflow:run_skintern",
        column="llamafactory_ext.skintern.fates:COLUMN",
        page="skintern.md",
        check_options="llamafactory_ext.skintern.plan:check_options",
        check_training="llamafactory_ext.skintern.plan:check_training",
        lengths="llamafactory_ext.skintern.estimate:lengths",
        phased=True,
        verbs=("skintern",),
    ),
)


def methods(option: Kind | None = None) -> tuple[Method, ...]:
    """Return the rows, or those that one option chooses."""
    return tuple(row for row in METHODS if option in (None, row.option))


def names(option: Kind | None = None) -> tuple[str, ...]:
    """Return the methods' names, or those of one option."""
    return tuple(row.name for row in methods(option))


def row_of(name: object, option: Kind | None = None) -> Method | None:
    """Return the row of a name, None for any other text."""
    return next((row for row in methods(option) if row.name == name), None)


def chosen(finetuning_type: object, stage: object) -> tuple[Method, ...]:
    """Return the rows that two options choose: of the fine-tuning type, then of the stage."""
    found = (row_of(finetuning_type, "finetuning_type"), row_of(stage, "stage"))
    return tuple(row for row in found if row is not None)


def worker(finetuning_type: object, stage: object) -> Method | None:
    """Return the row whose workflow runs: the type's, unless the stage goes on alone; None where neither is ours."""
    rows = chosen(finetuning_type, stage)
    return next((row for row in rows if row.alone), rows[0] if rows else None)


def counted(number: float, word: str) -> str:
    """Return a number with its word: "1 epoch", "1.5 epochs"."""
    return f"{number:g} {word}{'' if number == 1 else 's'}"


def listed(words: tuple[str, ...]) -> str:
    """Return words as a sentence has them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def titles(option: Kind | None = None) -> str:
    """Return the methods' titles, each once, as a sentence has them."""
    return listed(tuple(dict.fromkeys(row.title for row in methods(option))))
