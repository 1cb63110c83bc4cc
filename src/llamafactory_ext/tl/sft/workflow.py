"""`llamafactory-cli train` with `stage: tl_sft`: data judged and weighed, the training, the report.

What it does: wiring only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ...checkpoint.atomic import write_json
from ...checkpoint.folders import sealing
from ...errors import OptionError
from ...training.parameters import RAISED, raise_to_float32
from ...training.same_data import check_same_base, check_same_data, content_hash
from ...training.stopping import Stop, how_to_resume
from ...training.token_weights import WEIGHTS_COLUMN
from ...upstream.pipeline.api import (
    accuracy_of,
    calculate_tps,
    create_modelcard_and_push,
    get_dataset,
    get_logger,
    load_model,
    loading_data,
    plot_evaluated,
    plot_loss,
)
from ...upstream.pipeline.channels import CarryingCollator
from ...upstream.pipeline.fitting import check_vocabulary
from ...upstream.pipeline.requests import in_order, request_records, request_weights
from ...upstream.pipeline.served import Served, check_served
from ...upstream.pipeline.session import begun
from ...upstream.pipeline.weights import take_notes, without_notes
from ..intake_report import check_intake, check_resumed, check_some_left, intake_lines, write_intake
from ..plan import check_plan_of_newest, plan_of, with_contents
from ..session import DatedSession
from ..start import REPORT, start_facts
from .examples import Settings
from .findings import Findings, as_dict, as_table, check_usable
from .trainer import TlSftTrainer

logger = get_logger("llamafactory.tl")  # below upstream's root logger, whose handlers print it


def run_tl_sft(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Train, and evaluate where asked, with MAE and PKT; the arguments are upstream's groups.

    Raises:
        ExtError: options or data do not fit; nothing was trained.
    """
    folder = Path(training_args.output_dir)
    run = _TlSft(model_args, data_args, training_args, finetuning_args, list(callbacks or []))
    with begun(run, lambda: how_to_resume(training_args, folder), logger.warning) as run.stop:
        run.run()


def training_rows(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> Any:
    """Return the rows that a run would train on, and say what becomes of the records.

    Raises:
        ExtError: options or data do not fit.
    """
    return _TlSft(model_args, data_args, training_args, finetuning_args, [])._data()["train_dataset"]


def settings_of(finetuning_args: Any) -> Settings:
    """Return what the options say about examples.

    Raises:
        OptionError: `tl_feedback_function` names no function.
    """
    options = [option.name for option in fields(Settings) if option.init]
    return Settings(**{name: getattr(finetuning_args, f"tl_{name}") for name in options})


def usable_settings(finetuning_args: Any, tokenizer: Any) -> Settings:
    """Return the settings that this tokenizer allows.

    Raises:
        OptionError: key tokens are asked for, and the tokenizer does not say where its tokens stand.
    """
    settings = settings_of(finetuning_args)
    if not settings.use_pkt or getattr(tokenizer, "is_fast", False):
        return settings
    about = f"The tokenizer {type(tokenizer).__name__} gives no character offsets, by which key tokens are found"
    if not finetuning_args.tl_skip_bad:
        raise OptionError(
            f"{about}; set use_fast_tokenizer: true or use a model with a fast tokenizer, or set tl_use_pkt: false"
        )
    logger.warning_rank0(f"{about}: training without PKT (tl_skip_bad: true).")
    return replace(settings, use_pkt=False)


def weighed_dataset(
    module: Mapping[str, Any], settings: Settings | None, action: str
) -> tuple[dict[str, Any], dict[str, Findings]]:
    """Return upstream's data sets without note rows, and what was found in each."""
    taken: dict[str, Any] = {}
    findings: dict[str, Findings] = {}
    for key, dataset in module.items():
        name = key.removesuffix("_dataset")
        if isinstance(dataset, Mapping):  # eval_on_each_dataset
            taken[key] = {}
            for part, rows in dataset.items():
                taken[key][part], findings[f"{name} {part}"] = take_notes(rows, settings, action)
        else:
            taken[key], findings[name] = take_notes(dataset, settings, action)
    return taken, findings


def report_findings(
    findings: Mapping[str, Findings],
    settings: Settings,
    training_args: Any,
    *,
    skip: bool,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Check that the examples can be used, print the table of the training data and write it into output_dir.

    Args:
        findings: of each data set.
        settings: that led to them.
        training_args: upstream's group of the options.
        skip: whether examples that cannot be used are left out.
        facts: what else the report keeps.

    Raises:
        DataError: examples cannot be used and may not be skipped, or none is left.
    """
    remark = check_usable(findings, skip)
    if remark is not None:
        logger.warning_rank0(remark)
    train = findings.get("train")
    if train is not None and not train.calls:
        used = train.intake.trained or train.examples  # without what cutoff_action leaves out
        logger.warning_rank0(
            f"Training data: none of the {used:,} examples holds a call of a known format; they are trained "
            "as by stage sft. Look at them with llamafactory-ext data check and data preview."
        )
    if train is not None and training_args.should_log:
        print(as_table(train, settings))
    if training_args.should_save:
        Path(training_args.output_dir).mkdir(parents=True, exist_ok=True)
        write_json(Path(training_args.output_dir) / REPORT, {**as_dict(findings, settings), **(facts or {})})


def report_intake(
    findings: Mapping[str, Findings], model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any
) -> None:
    """Say what becomes of the records, and keep it in output_dir/data_report.json.

    Raises:
        DataError: cutoff_action forbids what cutoff_len cuts, or the model lacks a token of the template.
    """
    intakes, action = {name: found.intake for name, found in findings.items()}, finetuning_args.cutoff_action
    highest = max((found.highest_id for found in intakes.values()), default=-1)
    for line in intake_lines(intakes, data_args.cutoff_len):
        logger.info_rank0(line)
    if training_args.should_save:
        write_intake(intakes, data_args.cutoff_len, action, Path(training_args.output_dir))
    check_intake(intakes, data_args.cutoff_len, action, finetuning_args.record_check)
    check_vocabulary(highest, model_args, data_args.template)


def _with_shards(training_args: Any, shards: int) -> Any:
    """Return a copy of the training arguments by which upstream makes streams of so many shards."""
    changed = copy(training_args)
    changed.dataloader_num_workers = shards
    return changed


@dataclass
class _TlSft(DatedSession):
    """One run; its parts are made when they are first needed."""

    callbacks: list[Any]
    stop: Stop = field(default_factory=Stop)
    content: str = ""

    def run(self) -> None:
        args = self.training_args
        plan = plan_of(self.model_args, self.data_args, args, self.finetuning_args)
        check_plan_of_newest(plan, args)
        data = self._data()
        model = load_model(self.tokenizer, self.model_args, self.finetuning_args, is_trainable=args.do_train)
        check_same_base(model, args)
        if args.do_train:
            plan = with_contents(plan, self.content, model, self.model_args, args)
        if args.do_train and raise_to_float32(model, args):
            logger.info_rank0(RAISED)
        trainer = TlSftTrainer(
            model=model,
            args=args,
            finetuning_args=self.finetuning_args,
            data_collator=self._collator(model),
            callbacks=[*self.callbacks, self.stop.callback],
            **accuracy_of(self.finetuning_args),
            **data,
            **self.tokenizers,
        )
        if args.do_train:
            trainer.plan = plan
            self._train(trainer)
        if args.do_eval:
            metrics = trainer.evaluate(metric_key_prefix="eval")
            trainer.log_metrics("eval", metrics)
            trainer.save_metrics("eval", metrics)
        create_modelcard_and_push(trainer, self.model_args, self.data_args, args, self.finetuning_args)

    def _served(self) -> Served:
        """Compare what is trained with what will be served, in the process that keeps the report."""
        if not self.training_args.should_save or not self.training_args.do_train:
            return Served()
        served = check_served(self.template, self.tokenizer, self.model_args, self.data_args, self.training_args)
        for line in served.lines():
            logger.warning_rank0(line)
        return served

    def _data(self) -> dict[str, Any]:
        args = self.training_args
        action = self.finetuning_args.cutoff_action
        if args.do_train and not args.overwrite_output_dir:
            check_resumed(Path(args.output_dir), action)
        template = self.template  # it may replace the tokenizer's end token
        settings = usable_settings(self.finetuning_args, self.tokenizer)
        asked = request_records(request_weights(self.data_args, settings), action)
        # Upstream cuts files into as many shards as there are workers, also into none, which would hold no record.
        with loading_data():
            module = self._rows(asked, _with_shards(args, max(1, args.dataloader_num_workers)))
        if self.data_args.streaming:
            data, findings = self._streamed(module, asked, settings, action)
        else:
            data, findings = weighed_dataset(module, settings, action)
        # The pass over a stream leaves its hash in the findings.
        check_same_data(
            {name: found.content for name, found in findings.items()} if self.data_args.streaming else data
        )
        if args.do_train:
            self.content = findings["train"].content or content_hash(data["train_dataset"])
        facts = start_facts(template, self.data_args.template, self._served().to_dict())
        report_findings(findings, settings, args, skip=self.finetuning_args.tl_skip_bad, facts=facts)
        report_intake(findings, self.model_args, self.data_args, args, self.finetuning_args)
        for key, rows in data.items():
            name = key.removesuffix("_dataset")
            if not isinstance(rows, Mapping):
                intake = findings[name].intake
                left = intake.trained if self.data_args.streaming else len(rows)
                check_some_left(name, intake, left, self.data_args.cutoff_len)
        return data

    def _rows(self, asked: Any, training_args: Any) -> dict[str, Any]:
        """Return upstream's preprocessed data sets, note rows included."""
        module: dict[str, Any] = get_dataset(
            self.template, self.model_args, asked, training_args, stage="sft", **self.tokenizers
        )
        return module

    def _streamed(
        self, module: Mapping[str, Any], asked: Any, settings: Settings, action: str
    ) -> tuple[dict[str, Any], dict[str, Findings]]:
        """Return the streams to train on, and what a pass over the same records in the files' order finds."""
        counted = module
        if not self.data_args.val_size:  # a part split off a shuffled stream is another one in the files' order
            counted = self._rows(in_order(asked), _with_shards(self.training_args, 1))
        _, findings = weighed_dataset(counted, settings, action)
        streams = {
            key: {part: without_notes(one) for part, one in rows.items()}
            if isinstance(rows, Mapping)
            else without_notes(rows)
            for key, rows in module.items()
        }
        return streams, findings

    def _collator(self, model: Any) -> CarryingCollator:
        return CarryingCollator(
            columns=(WEIGHTS_COLUMN,),
            template=self.template,
            model=model,
            # Packed examples have one length, and their positions are not padded by upstream's collator.
            pad_to_multiple_of=8 if self.training_args.do_train and not self.data_args.packing else None,
            label_pad_token_id=-100,
            block_diag_attn=self.model_args.block_diag_attn,
            neat_packing=self.data_args.neat_packing,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=self.model_args.compute_dtype,
            **self.tokenizers,
        )

    def _train(self, trainer: TlSftTrainer) -> None:
        result = trainer.train(resume_from_checkpoint=trainer.checkpoint_to_resume(logger.info_rank0))
        self.stop.check(trainer.state)
        with sealing(Path(self.training_args.output_dir), writes=self.training_args.should_save):
            trainer.save_model()
        if self.finetuning_args.include_effective_tokens_per_second:
            rate = calculate_tps(trainer.train_dataset, result.metrics, stage="sft")
            result.metrics["effective_tokens_per_sec"] = rate
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        if trainer.is_world_process_zero() and self.finetuning_args.plot_loss:
            evaluated = plot_evaluated(self.training_args, self.finetuning_args, trainer.eval_dataset)
            plot_loss(self.training_args.output_dir, keys=["loss", *evaluated])
        self.stop.check()
