"""Makes MOLORA a method that PEFT knows, so that saving, loading and `get_peft_model` need nothing else."""

from __future__ import annotations

from peft.utils import PeftType, register_peft_method

NAME = "MOLORA"


def register() -> None:
    """Register MOLoRA with PEFT; a second call does nothing."""
    if NAME not in PeftType.__members__:
        # PEFT's list of methods is a closed enum and `register_peft_method` takes only its members.
        member = str.__new__(PeftType, NAME)
        member._name_, member._value_ = NAME, NAME
        PeftType._member_map_[NAME] = member
        PeftType._value2member_map_[NAME] = member
        PeftType._member_names_.append(NAME)
        type.__setattr__(PeftType, NAME, member)

    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from .config import MoLoraConfig
    from .model import MoLoraModel

    if PeftType(NAME) not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=NAME.lower(), config_cls=MoLoraConfig, model_cls=MoLoraModel, prefix="molora_")


register()  # `_registration.py` imports this module for it
