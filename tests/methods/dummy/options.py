"""The options of the type; annotations stay real objects, as HfArgumentParser resolves them elsewhere."""

from dataclasses import dataclass, field
from typing import Literal

from llamafactory_ext.options.values import Choice, Number


@dataclass
class DummyArguments:
    """Options of a type that trains nothing."""

    dummy_epochs: float = field(default=1.0, metadata={"help": "DUMMY: epochs of its only phase."})
    dummy_kind: Literal["idle", "asleep"] = field(default="idle", metadata={"help": "DUMMY: how it does nothing."})


RULES = {"dummy_epochs": Number(0, open_low=True), "dummy_kind": Choice(("idle", "asleep"))}
