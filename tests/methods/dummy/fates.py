"""What of upstream's options the type refuses, and what its own options contradict."""

from typing import Any

from llamafactory_ext.options.fates.row import Column, refused

COLUMN = Column(
    fates={"packing": refused("does not work with {method}, which sleeps between examples; remove it")},
    resumes_alone=True,
)


def conflicts(args: Any) -> list[str]:
    """Return the conflicts within the fine-tuning options."""
    if args.dummy_kind == "asleep" and args.dummy_epochs > 1:
        return [f"dummy_epochs={args.dummy_epochs:g} is too long for dummy_kind: asleep; lower it to 1"]
    return []
