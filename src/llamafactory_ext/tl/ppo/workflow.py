"""`llamafactory-cli train` with `stage: tl_ppo`: wiring only. The same command goes on from the newest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import set_seed
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from ...checkpoint.folders import remove_leftovers, sealing
from ...errors import CheckpointError, OptionError
from ...paths import is_folder
from ...training.engines import engine_of, start_communication
from ...training.parameters import total_size
from ...training.processes import digest
from ...training.same_data import check_same_base, check_same_data
from ...training.stopping import Stop, how_to_resume
from ...upstream.pipeline.api import (
    create_modelcard_and_push,
    get_logger,
    load_model,
    loading_data,
    plot_loss,
)
from ...upstream.pipeline.dialogues import encode_turn, load_dialogues
from ...upstream.pipeline.fitting import check_vocabulary
from ...upstream.pipeline.served import check_served
from ...upstream.pipeline.session import begun
from ...upstream.pipeline.templates import call_format_of
from ..environments.loading import environment_of
from ..intake_report import check_intake, check_resumed, intake_lines, write_intake
from ..plan import check_plan_of_newest, plan_of, with_contents
from ..session import DatedSession
from ..stages import PPO_STAGE
from ..start import keep_start, start_facts
from .acting import acting_of
from .answers import Drawer
from .critic import ActorCritic
from .episode_page import add_episodes
from .policy import load_policy
from .queries import make_queries
from .reference import Reference
from .rewards import Query, RewardFunction, tool_reward, user_reward
from .rollout.local import Sampling
from .rollout.server import ServerRollout
from .settings import check_batch, settings_of
from .tasks import Task, make_tasks
from .trainer import PpoTrainer

_PARTS = ("training", "evaluation")
logger = get_logger("llamafactory.tl")  # below upstream's root logger, whose handlers print it


def run_tl_ppo(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    generating_args: Any,
    callbacks: Sequence[Any] | None = None,
) -> None:
    """Train a policy by PPO with TL-Training's rewards (arXiv:2412.15495, section 3.3), or resume it.

    The arguments are upstream's groups. Responses are drawn as the `tl_` options say; `generating_args`, which belong
    to chat and prediction, are not used.

    Raises:
        ExtError: options, data or a checkpoint do not fit.
    """
    folder = Path(training_args.output_dir)
    session = DatedSession(model_args, data_args, training_args, finetuning_args)
    with begun(session, lambda: how_to_resume(training_args, folder), logger.warning) as stop:
        _run(session, list(callbacks or []), stop)


def _run(session: DatedSession, callbacks: list[Any], stop: Stop) -> None:
    model_args, data_args = session.model_args, session.data_args
    training_args, finetuning_args = session.training_args, session.finetuning_args
    plan = plan_of(model_args, data_args, training_args, finetuning_args)
    check_plan_of_newest(plan, training_args)
    tokenizer, template = session.tokenizer, session.template
    if training_args.do_train and not training_args.overwrite_output_dir:
        check_resumed(Path(training_args.output_dir), finetuning_args.cutoff_action)
    reward = reward_of(finetuning_args)
    queries, held_out = load_queries(
        model_args, data_args, training_args, finetuning_args, template, tokenizer, reward
    )
    if training_args.do_train:
        check_batch(len(queries), training_args, settings_of(finetuning_args))
    if not training_args.do_train and not held_out:
        raise OptionError("Nothing to do: set do_train: true, or do_eval: true with eval_dataset or val_size.")
    if training_args.do_train and training_args.should_save:
        served = check_served(template, tokenizer, model_args, data_args, training_args, one_turn=True)
        for line in served.lines():
            logger.warning_rank0(line)
        facts = start_facts(template, data_args.template, served.to_dict())
        keep_start(Path(training_args.output_dir), {"stage": PPO_STAGE, **facts})
    settle_measure(training_args, finetuning_args)
    start_communication(training_args)
    settings, spread = settings_of(finetuning_args), engine_of(training_args) is not None
    own_critic = finetuning_args.tl_critic == "own" if settings.has_critic else None
    loaded = []
    for _ in range(2 if own_critic and is_deepspeed_zero3_enabled() else 1):
        set_seed(training_args.seed)  # fresh adapters of policy and critic begin alike
        loaded.append(load_policy(load_model, tokenizer, model_args, training_args, finetuning_args))
    (policy, fresh), *twins = loaded
    check_same_base(policy, training_args)
    reference = None
    if settings.has_reference:
        reference = Reference(policy, finetuning_args.tl_reference, fresh=fresh, spread=spread)
    model = ActorCritic(
        policy,
        own_critic=own_critic,
        temperature=finetuning_args.tl_temperature or 1.0,
        twin=twins[0][0] if twins else None,
    )
    _say_model(model, reference)
    if training_args.ddp_find_unused_parameters is None:
        training_args.ddp_find_unused_parameters = False
    trainer = PpoTrainer(
        model=model,
        queries=queries,
        held_out=held_out,
        reward=reward,
        reference=reference,
        settings=settings,
        sampling=sampling_of(finetuning_args, template, tokenizer),
        server=_server_of(finetuning_args, training_args, policy),
        acting=acting_of(finetuning_args, template, tokenizer),
        say=logger.warning_rank0,
        shuffles=not finetuning_args.disable_shuffling,
        args=training_args,
        processing_class=tokenizer,
        callbacks=[*callbacks, stop.callback],
    )
    if training_args.do_train:
        trainer.plan = with_contents(plan, _hash_of(queries), policy, model_args, training_args)
        _train(trainer, finetuning_args, stop)
        _write_card(trainer, model_args, data_args, training_args, finetuning_args)
    if training_args.do_eval and held_out:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)


def prompts_of(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[Query]:
    """Return the queries that a run would train on, and say what becomes of the records.

    Raises:
        ExtError: options or data do not fit.
    """
    groups = (model_args, data_args, training_args, finetuning_args)
    session = DatedSession(*groups)
    return load_queries(*groups, session.template, session.tokenizer, reward_of(finetuning_args))[0]


def _write_card(trainer: PpoTrainer, *groups: Any) -> None:
    """Write upstream's model card, which is about the policy alone, and transcripts of episodes into it."""
    whole = trainer.model
    trainer.model = trainer.actor_critic.policy
    try:
        create_modelcard_and_push(trainer, *groups)
    finally:
        trainer.model = whole
    if trainer.acting is not None and trainer.args.should_save:
        add_episodes(Path(trainer.args.output_dir))


def settle_measure(args: Any, finetuning_args: Any) -> None:
    """Take the reward for what "best" means, where the command names nothing: there is no evaluation loss."""
    saving = getattr(args.save_strategy, "value", args.save_strategy)
    asked = args.load_best_model_at_end or saving == "best" or finetuning_args.early_stopping_steps is not None
    if asked and args.metric_for_best_model in (None, "loss"):
        args.metric_for_best_model, args.greater_is_better = "reward", True


def _train(trainer: PpoTrainer, finetuning_args: Any, stop: Stop) -> None:
    args = trainer.args
    result = trainer.train(resume_from_checkpoint=_checkpoint(trainer))
    stop.check(trainer.state)
    with sealing(Path(args.output_dir), writes=args.should_save):
        trainer.save_model()
    trainer.log_metrics("train", result.metrics)
    trainer.save_metrics("train", result.metrics)
    trainer.save_state()
    if args.should_save and finetuning_args.plot_loss:
        evaluated = ["eval_reward"] if args.eval_strategy != "no" else []
        kl = ["kl"] if trainer.reference is not None else []
        world = ["success", "turns", "response_tokens"] if trainer.acting is not None else []
        plot_loss(args.output_dir, keys=["loss", "reward", *kl, *world, *evaluated])
    stop.check()


def _checkpoint(trainer: PpoTrainer) -> str | None:
    """Return where an interrupted run goes on: a checkpoint that was named, or the newest in its folder."""
    args = trainer.args
    if args.resume_from_checkpoint:
        if not is_folder(Path(args.resume_from_checkpoint)):
            raise CheckpointError(f"resume_from_checkpoint={args.resume_from_checkpoint} does not exist.")
        return str(args.resume_from_checkpoint)
    if args.overwrite_output_dir:
        return None
    if args.should_save:
        remove_leftovers(Path(args.output_dir))
    found, skipped = trainer.newest_checkpoint()
    for line in skipped:
        logger.warning_rank0(line)
    if found is not None:
        logger.info_rank0(f"Resuming from {found}.")
    return None if found is None else str(found)


def load_queries(
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    template: Any,
    tokenizer: Any,
    reward: RewardFunction,
) -> tuple[list[Query], list[Query] | None]:
    """Return the queries of the training and of the evaluation data, each with a report of what was left out."""
    acts = finetuning_args.tl_environment is not None
    shared = {
        "longest": data_args.cutoff_len,
        "skip_bad": finetuning_args.tl_skip_bad,
        "call_format": call_format_of(template),
        "action": finetuning_args.cutoff_action,
    }
    encode = partial(encode_turn, template, tokenizer)
    with loading_data():
        train, evaluation = load_dialogues(model_args, data_args, training_args, whole_records=acts)
    found: list[list[Query] | None] = []
    intakes = {}
    for name, examples in zip(_PARTS, (train, evaluation), strict=True):
        if examples is None:
            found.append(None)
            continue
        made: list[Query]
        if acts:
            factory, seconds = environment_of(finetuning_args), finetuning_args.tl_environment_timeout
            tasks, faults = make_tasks(examples, encode, factory, seconds=seconds, **shared)
            made = list(tasks)
        else:
            last_only = finetuning_args.tl_turns == "last"
            made, faults = make_queries(examples, encode, reward, last_only=last_only, **shared)
        intakes["train" if name == "training" else "eval"] = faults.intake
        logger.info_rank0(f"{len(made):,} queries in the {name} data.")
        for line in faults.lines():
            logger.warning_rank0(f"Left out of the {name} data: {line}")
        found.append(made)
    for line in intake_lines(intakes, data_args.cutoff_len):
        logger.info_rank0(line)
    highest = max((intake.highest_id for intake in intakes.values()), default=-1)
    check_vocabulary(highest, model_args, data_args.template)
    check_same_data({name: _hash_of(part or []) for name, part in zip(_PARTS, found, strict=True)})
    if training_args.should_save:
        write_intake(intakes, data_args.cutoff_len, finetuning_args.cutoff_action, Path(training_args.output_dir))
    check_intake(intakes, data_args.cutoff_len, finetuning_args.cutoff_action, finetuning_args.record_check)
    return found[0] or [], found[1]


def _hash_of(queries: Sequence[Query]) -> str:
    records = [query.record for query in queries if isinstance(query, Task)]
    return digest([(query.ids, query.reference, query.tools) for query in queries] + ([records] if records else []))


def reward_of(args: Any) -> RewardFunction:
    """Return the reward that the options name."""
    if args.tl_reward_function:
        return user_reward(args.tl_reward_function)
    return tool_reward(args.tl_reward_variant, None if args.tl_call_format == "auto" else args.tl_call_format)


def sampling_of(args: Any, template: Any, tokenizer: Any) -> Sampling:
    """Return how responses are drawn, from the options and the template's end tokens."""
    return Sampling(
        max_tokens=args.tl_max_new_tokens,
        end_ids=frozenset(template.get_stop_token_ids(tokenizer)),
        pad_id=tokenizer.pad_token_id,
        temperature=args.tl_temperature,
        top_p=args.tl_top_p,
        top_k=args.tl_top_k,
        stop=tuple(text for text in (args.tl_stop or "").split("||") if text),
        rows=args.tl_rollout_batch_size,
        cache=args.tl_cache,
    )


def _server_of(args: Any, training_args: Any, policy: Any) -> Drawer | None:
    if args.tl_rollout == "hf":
        return None
    return ServerRollout(
        url=args.tl_rollout_url,
        timeout=args.tl_rollout_timeout,
        folder=Path(training_args.output_dir) / "rollout_adapter",
        policy=policy,
        publishes=training_args.process_index == 0,
    )


def _say_model(model: ActorCritic, reference: Reference | None) -> None:
    actor, critic = (
        total_size(weight for _, weight in part) for part in (model.actor_parameters(), model.critic_parameters())
    )
    kept = "none"
    if reference is not None:
        kept = (
            "the policy with its adapter off" if reference.adapter_off else f"a copy of {reference.copied:,} weights"
        )
    logger.info_rank0(f"PPO trains {actor:,} weights of the policy, {critic:,} of the critic; reference: {kept}.")
