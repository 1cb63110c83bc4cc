"""The table of call formats; each family has a file of its own."""

from . import (
    api_bank,
    command_r,
    deepseek,
    deepseek_v32,
    gemma4,
    glm4,
    glm4_moe,
    harmony,
    json_object,
    kimi_k2,
    lfm2,
    ling,
    llama31_function,
    marked_lists,
    messages,
    minimax1,
    minimax2,
    mistral,
    mistral_v11,
    nexusraven,
    python,
    pythonic,
    qwen,
    qwen3_coder,
    react,
    seed_oss,
    tool_use,
)
from .form import Format

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        python.FORMAT,
        api_bank.FORMAT,
        nexusraven.FORMAT,
        # Before `json`, which would take a tool_use of a known tool for a call without arguments.
        messages.TOOL_CALLS,
        messages.FUNCTION_CALL,
        tool_use.FORMAT,
        json_object.FORMAT,
        json_object.LLAMA3,
        qwen.FORMAT,
        mistral.FORMAT,
        react.FORMAT,
        glm4.FORMAT,
        glm4_moe.FORMAT,
        qwen3_coder.FORMAT,
        seed_oss.FORMAT,
        minimax1.FORMAT,
        minimax2.FORMAT,
        harmony.FORMAT,
        mistral_v11.FORMAT,
        deepseek.V3,
        deepseek.V31,
        deepseek_v32.FORMAT,
        kimi_k2.FORMAT,
        gemma4.FORMAT,
        llama31_function.FORMAT,
        messages.XLAM,
        command_r.FORMAT,
        marked_lists.GRANITE,
        marked_lists.INTERNLM2,
        marked_lists.PHI4,
        lfm2.FORMAT,
        ling.FORMAT,
        pythonic.PYTHONIC,
        pythonic.TOOL_CODE,
    )
}
# LLaMA-Factory's names for how a template writes calls (its option `tool_format`, the keys of its table `TOOLS`). Its
# `mistral` writes a JSON list, which its templates put behind "[TOOL_CALLS]".
UPSTREAM_FORMATS: dict[str, str] = {
    "default": "react",
    "gemma4": "gemma4",
    "glm4": "glm4",
    "glm4_moe": "glm4_moe",
    "lfm2": "lfm2",
    "ling": "ling",
    "llama3": "llama3",
    "minimax1": "minimax1",
    "minimax2": "minimax2",
    "mistral": "mistral",
    "qwen": "qwen",
    "qwen3_5": "qwen3_coder",
    "seed_oss": "seed_oss",
}

__all__ = ["FORMATS", "UPSTREAM_FORMATS", "Format"]
