"""Prompts exactly as each model family and each tool data set has them, as plain descriptions.

Nothing here knows LLaMA-Factory: `upstream/pipeline/templates.py` registers these templates there, serving and
evaluation use them directly.

    text = "".join(TEMPLATES["mistral_v02_api_bank"].render([Message("user", "Hi")], bos="<s>", eos="</s>"))
"""

from . import formats, styles
from .messages import Message
from .rendering import Template

_FORMATS = {
    "llama3": formats.LLAMA3,
    "llama31": formats.LLAMA31,
    "phi3": formats.PHI3,
    "phi3_nosystem": formats.PHI3_NOSYSTEM,
    "mistral_v02": formats.MISTRAL_V02,
}
_STYLES = {"api_bank": styles.API_BANK, "toolalpaca": styles.TOOLALPACA}
_TL_TABLES = {
    "tl_toolllama": (formats.TOOLLLAMA, styles.TOOLLLAMA),
    "tl_nexusraven": (formats.NEXUSRAVEN, styles.NEXUSRAVEN),
    "tl_chatglm4": (formats.CHATGLM4, styles.CHATGLM4),
    "tl_qwen2": (formats.CHATML, styles.QWEN2),
    "tl_llama31": (formats.LLAMA31, styles.LLAMA31),
    "tl_qwen25": (formats.QWEN25, styles.QWEN25),
    "tl_codellama2": (formats.TL_CODELLAMA2, styles.TL_CODELLAMA2),
}

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        *(
            Template(f"{model}_{data}", chat, style)
            for model, chat in _FORMATS.items()
            for data, style in _STYLES.items()
        ),
        *(Template(name, chat, style) for name, (chat, style) in _TL_TABLES.items()),
    )
}
"""All templates by name: three models with API-Bank's and ToolAlpaca's prompts, and TL-Training's Tables 6 to 13.

Table 12 (GPT models) is no text: the tools travel beside the messages in the request.
"""

__all__ = ["TEMPLATES", "Message", "Template"]
