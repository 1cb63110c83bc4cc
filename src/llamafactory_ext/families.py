"""One row per model family whose checkpoints our methods export, read from a model's config.json alone.

Standard library only. A row names classes of transformers and vLLM, which are imported when first needed: adding a
family is adding a row. `standing` says of any configuration whether an export exists and whether vLLM serves it, and
what stands in the way; `doctor`, the check before training, the export itself and vLLM's plugin all read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_VLLM = "vllm.model_executor.models."
ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP: Final = ("gate_proj", "up_proj", "down_proj")
# Blocks of config.json that say that a model sees or hears.
TOWERS: Final = {"vision_config": "a vision", "audio_config": "an audio"}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture; the models of a family differ in sizes only.

    Attributes:
        model_type: as config.json has it.
        models: who they are, for texts.
        templates: LLaMA-Factory's names for their chat templates; none where it has none of theirs.
        akin: names of other families' templates with the same marks.
        config: transformers' class of the configuration.
        model: transformers' class of the model; an exported type's name begins with the method's prefix.
        vllm: vLLM's class as "module:class"; empty where vLLM has none of its own.
        linears: the names of the linear modules of a layer, among which the methods choose.
        structure: what sets the layers apart from Llama's.
        experts: names of modules that hold the weights of all experts in one tensor. They are no linear modules: no
            method scores, adapts or tunes them.
        always_tied: vLLM's class takes the embeddings for the head, whatever config.json says.
        alike: vLLM's class asserts that all layers attend alike, in a window or without one.
        vllm_imports: packages that vLLM's class imports and vLLM does not always bring.
        unserved: why vLLM does not serve the exported type, where `vllm` is empty.
    """

    model_type: str
    models: str
    config: str
    model: str
    vllm: str = ""
    linears: tuple[str, ...] = (*ATTENTION, *MLP)
    structure: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    always_tied: bool = False
    alike: bool = False
    vllm_imports: tuple[str, ...] = ()
    unserved: str = ""
    templates: tuple[str, ...] = ()
    akin: tuple[str, ...] = ()

    @property
    def untied(self) -> str:
        """Say why vLLM cannot serve a model of which embeddings and head differ, where it cannot."""
        return f"vLLM's {self.model} takes the embeddings for the head, which differ; run the export with transformers"

    @property
    def unlike(self) -> str:
        """Say why vLLM cannot serve a model of which some layers attend in a window, where it cannot."""
        return f"vLLM's {self.model} takes no layers with a window beside others; run the export with transformers"

    @property
    def vllm_class(self) -> str:
        """The class of vLLM as "module:class" from the top; empty where there is none."""
        return self.vllm and f"{_VLLM}{self.vllm}"


FAMILIES: tuple[Family, ...] = (
    Family(
        model_type="llama",
        models="Llama 2 and 3.x, SmolLM2",
        templates=("llama2", "llama3", "smollm2"),
        config="LlamaConfig",
        model="LlamaForCausalLM",
        vllm="llama:LlamaForCausalLM",
    ),
    Family(
        model_type="mistral",
        models="Mistral, Mistral Small 3 (text)",
        templates=("mistral", "mistral_small"),
        config="MistralConfig",
        model="MistralForCausalLM",
        vllm="mistral:MistralForCausalLM",
        structure=("sliding window",),
    ),
    Family(
        model_type="phi3",
        models="Phi-3, Phi-4, Phi-4-mini",
        templates=("phi", "phi4", "phi4_mini"),
        config="Phi3Config",
        model="Phi3ForCausalLM",
        vllm="phi3:Phi3ForCausalLM",
        linears=("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        structure=("fused qkv", "fused gate_up", "sliding window"),
    ),
    Family(
        model_type="qwen2",
        models="Qwen2, Qwen2.5",
        templates=("qwen",),
        config="Qwen2Config",
        model="Qwen2ForCausalLM",
        vllm="qwen2:Qwen2ForCausalLM",
        alike=True,
        structure=("bias",),
    ),
    Family(
        model_type="qwen3",
        models="Qwen3",
        templates=("qwen3", "qwen3_nothink"),
        config="Qwen3Config",
        model="Qwen3ForCausalLM",
        vllm="qwen3:Qwen3ForCausalLM",
        alike=True,
        structure=("q/k norm",),
    ),
    Family(
        model_type="qwen3_moe",
        models="Qwen3-MoE",
        templates=("qwen3", "qwen3_nothink"),
        config="Qwen3MoeConfig",
        model="Qwen3MoeForCausalLM",
        vllm="qwen3_moe:Qwen3MoeForCausalLM",
        structure=("q/k norm", "mixture of experts"),
        experts=("experts",),
    ),
    Family(
        model_type="gemma2",
        models="Gemma 2",
        templates=("gemma2",),
        config="Gemma2Config",
        model="Gemma2ForCausalLM",
        vllm="gemma2:Gemma2ForCausalLM",
        always_tied=True,
        structure=("post-norm", "capped logits", "sliding window"),
    ),
    Family(
        model_type="gemma3_text",
        models="Gemma 3 (text)",
        templates=("gemma3",),
        akin=("gemma2",),
        config="Gemma3TextConfig",
        model="Gemma3ForCausalLM",
        vllm="gemma3:Gemma3ForCausalLM",
        structure=("post-norm", "q/k norm", "sliding window"),
    ),
    Family(
        model_type="smollm3",
        models="SmolLM3",
        akin=("smollm2",),
        config="SmolLM3Config",
        model="SmolLM3ForCausalLM",
        structure=("layers without rotary positions",),
        unserved="vLLM has no class of its own for SmolLM3; run the export with transformers",
    ),
    Family(
        model_type="qwen3_5_text",
        models="Qwen3.5, Qwen3.6 (text)",
        templates=("qwen3_5", "qwen3_5_nothink", "qwen3_6"),
        config="Qwen3_5TextConfig",
        model="Qwen3_5ForCausalLM",
        vllm="qwen3_5:Qwen3_5ForCausalLM",
        vllm_imports=("torchvision",),
        linears=(*ATTENTION, "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj", *MLP),
        structure=("hybrid", "q/k norm", "gated attention"),
    ),
)


@dataclass(frozen=True)
class Standing:
    """What an architecture allows; each reason is a sentence without full stop, with the next step.

    Attributes:
        model_type: as config.json has it.
        family: its row, or None.
        export: why a checkpoint on it cannot be exported; None where it can.
        serving: why vLLM does not serve the export; None where it does.
    """

    model_type: str
    family: Family | None
    export: str | None
    serving: str | None


def family_of(model_type: object) -> Family | None:
    """Return the row of a model type, None for any other."""
    return next((row for row in FAMILIES if row.model_type == model_type), None)


def strange_template(model_type: object, template: object) -> str | None:
    """Say that a template is another family's, in a sentence with the next step; None where that is not known.

    Templates of no family here, such as `alpaca`, say nothing about a model.

    Args:
        model_type: as config.json has it.
        template: LLaMA-Factory's name.
    """
    row, theirs = family_of(model_type), [other for other in FAMILIES if template in other.templates]
    if row is None or not theirs or template in (*row.templates, *row.akin):
        return None
    return (
        f"template: {template} has the marks of {' and of '.join(other.models for other in theirs)}, and the model is "
        f"one of {row.models}, to which they are new; unless that is meant, set its own ("
        f"{', '.join((*row.templates, *row.akin))})"
    )


def is_export(config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration is of an exported model: a family's type behind a method's, and its block.

    Args:
        config: the content of config.json.
    """
    method, _, model_type = str(config.get("model_type")).partition("_")
    return family_of(model_type) is not None and isinstance(config.get(method), Mapping)


def standing(config: Mapping[str, Any]) -> Standing:
    """Return what is known of an architecture from its configuration.

    Args:
        config: the content of config.json.
    """
    kind = config.get("model_type")
    towers = [tower for name, tower in TOWERS.items() if config.get(name) is not None]
    row = family_of(kind)
    if towers:
        problem = (
            f"{kind} has {' and '.join(towers)} tower, and only models of text alone are exported: take the text "
            "model of the family, or use the adapter without export"
        )
    elif is_export(config):
        problem = (
            f"{kind} is an export, whose adapters stay in it and take no others to a new one: name its base, or use "
            "the adapter without export"
        )
    elif row is None:
        problem = (
            f"there is no exported type for the architecture {kind}. Exported are {', '.join(_types())}; use the "
            "adapter without export, or add a row to families.py"
        )
    else:
        return Standing(row.model_type, row, None, row.unserved or unserved(row, config) or None)
    return Standing(str(kind), None, problem, problem)


def unserved(row: Family, config: Mapping[str, Any]) -> str:
    """Say why vLLM does not serve one model of a family that it serves; nothing where it does.

    Args:
        row: of the family.
        config: the content of config.json.
    """
    if row.always_tied and config.get("tie_word_embeddings") is False:
        return row.untied
    kinds = config.get("layer_types")
    mixed = isinstance(kinds, list) and len({*map(str, kinds)}) > 1
    return row.unlike if row.alike and mixed else ""


def _types() -> list[str]:
    return [row.model_type for row in FAMILIES]
