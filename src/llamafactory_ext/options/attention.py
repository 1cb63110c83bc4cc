"""What `flash_attn` cannot do here, known before a model is loaded: one sentence each, with the next step."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

FLASH = ("fa2", "fa3")
FIRST_WITH_FA3 = (0, 9, 6)


@dataclass(frozen=True)
class KnownBad:
    """A version of a package in which an option crashes.

    Attributes:
        package: its name on the package index.
        version: the version.
        option: the option's name.
        value: its value.
        what: what happens.
        install: the nearest versions that are right, as pip takes them.
    """

    package: str
    version: str
    option: str
    value: str
    what: str
    install: str

    @property
    def installed(self) -> bool:
        """Whether this version is installed here."""
        try:
            return version(self.package) == self.version
        except PackageNotFoundError:
            return False

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return f"pip install '{self.package}{self.install}'"


KNOWN_BAD = (
    KnownBad(
        "transformers",
        "5.6.0",
        "flash_attn",
        "fa2",
        "crashes in the first forward pass of every model without attention sinks (s_aux is None)",
        "==5.5.4",
    ),
)


def known_bad() -> list[KnownBad]:
    """Return the combinations of the table that are installed here."""
    return [row for row in KNOWN_BAD if row.installed]


def attention_conflicts(
    model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, upstream: str
) -> list[str]:
    """Return conflicts of `flash_attn` with what is installed and with other options.

    Args:
        model_args: upstream's options of the model.
        data_args: upstream's options of the data; only training looks at them.
        training_args: transformers' options; None where nothing is trained.
        finetuning_args: upstream's options of the method.
        upstream: the version of LLaMA-Factory.
    """
    asked = _asked(model_args)
    problems = [
        f"{row.option}: {row.value} {row.what} under {row.package} {row.version}; {row.next_step}, or set "
        f"{row.option}: sdpa"
        for row in known_bad()
        if (row.option, row.value) == ("flash_attn", asked)
    ]
    if asked == "fa3" and _numbers(upstream) < FIRST_WITH_FA3:
        problems.append(f"flash_attn: fa3 is not known to LLaMA-Factory {upstream}; set flash_attn: fa2 or sdpa")
    elif asked in FLASH and training_args is not None and training_args.do_train:
        problems += _training_problems(asked, model_args, data_args, training_args, finetuning_args)
    return problems


def attention_remarks(model_args: Any, data_args: Any, training_args: Any) -> list[str]:
    """Say where the same options train otherwise than under torch's own attention."""
    alone = data_args.packing and not data_args.neat_packing and training_args.per_device_train_batch_size == 1
    if _asked(model_args) not in FLASH or not training_args.do_train or not alone:
        return []
    return [
        "packing with one row per batch: under FlashAttention the examples of a row do not see each other, under "
        "flash_attn: sdpa they do; neat_packing: true keeps them apart under either."
    ]


def _asked(model_args: Any) -> str:
    return str(getattr(model_args.flash_attn, "value", model_args.flash_attn))


def _training_problems(
    asked: str, model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any
) -> list[str]:
    half = training_args.bf16 or training_args.fp16 or getattr(finetuning_args, "pure_bf16", False)
    problems = []
    if not half and model_args.quantization_bit is None:
        problems.append(
            f"flash_attn: {asked} computes in 16 bits only; set bf16: true or fp16: true, or flash_attn: sdpa"
        )
    if not data_args.neat_packing:
        return problems
    if asked == "fa3":
        problems.append("neat_packing does not work with flash_attn: fa3, which takes no mask; set flash_attn: fa2")
        return problems
    sizes = ["per_device_train_batch_size"]
    if training_args.do_eval:
        sizes.append("per_device_eval_batch_size")
    for name in sizes:
        if (size := getattr(training_args, name)) != 1:
            problems.append(
                f"{name}: {size} does not work with neat_packing and flash_attn: fa2, which take one packed row at a "
                f"time; set {name}: 1, and gradient_accumulation_steps or cutoff_len for larger steps"
            )
    return problems


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:3]
    return tuple(int(part) for part in parts if part.isdigit())
