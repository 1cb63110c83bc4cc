"""The examples of CITI by model family, as the Board lists them beside CITI's options."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "examples/yaml/families"


@dataclass(frozen=True)
class Example:
    """One current model of a family.

    Attributes:
        file: the YAML's name within `FOLDER`, without its ending.
        model_type: of the family's row in `families.py`.
        model: as the hub names it.
    """

    file: str
    model_type: str
    model: str


EXAMPLES = (
    Example("llama3", "llama", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    Example("mistral_small3", "mistral", "mistralai/Mistral-Small-24B-Instruct-2501"),
    Example("phi4_mini", "phi3", "microsoft/Phi-4-mini-instruct"),
    Example("qwen25", "qwen2", "Qwen/Qwen2.5-7B-Instruct"),
    Example("qwen3", "qwen3", "Qwen/Qwen3-4B-Instruct-2507"),
    Example("qwen3_moe", "qwen3_moe", "Qwen/Qwen3-30B-A3B-Instruct-2507"),
    Example("qwen3_5", "qwen3_5_text", "Qwen/Qwen3.5-4B"),
    Example("gemma2", "gemma2", "google/gemma-2-9b-it"),
    Example("gemma3", "gemma3_text", "google/gemma-3-1b-it"),
    Example("smollm3", "smollm3", "HuggingFaceTB/SmolLM3-3B"),
)


def listed() -> str:
    """Return the list as Markdown; it holds names alone, so it is the same in every language."""
    return "\n".join(f"- `{FOLDER}/{example.file}.yaml`: {example.model}" for example in EXAMPLES)
