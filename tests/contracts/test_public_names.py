"""The names that users rely on import from where they always did, and take the arguments they always took."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

pytestmark = pytest.mark.fast

# By module: each name with the arguments it takes; a class is named alone.
NAMES = {
    "llamafactory_ext.molora": {"MoLoraConfig": None, "MoLoraLinear": None},
    "llamafactory_ext.duo": {"DataAdapterConfig": None, "DataAdapterLinear": None},
    "llamafactory_ext.citi.importance": {"score_components": "model batches"},
    "llamafactory_ext.citi.selection": {
        "select_components": "tool_scores general_scores top bottom",
        "Selection": None,
    },
    "llamafactory_ext.citi.router_loss": {"router_loss": "gates_TE is_tool_T mask_T delta scope"},
    "llamafactory_ext.tl.feedback": {"feedback_error": "text rules"},
    "llamafactory_ext.tl.key_tokens": {"key_token_weights": "name other_names call tokenizer w_max variant"},
    "llamafactory_ext.tl.reward": {"tool_call_reward": "prediction reference tools variant"},
    "llamafactory_ext.toolcalls": {
        "Tool": None,
        "ToolCall": None,
        "parse_calls": "text",
        "render_calls": "calls",
    },
    "llamafactory_ext.metrics": {"score": "benchmark predictions references mode", "Report": None},
    "llamafactory_ext.data.preview": {"preview": "request", "Request": None},
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_the_name_is_there(module: str, name: str) -> None:
    found, expected = getattr(import_module(module), name), NAMES[module][name]
    if expected is None:
        assert inspect.isclass(found)
        return
    arguments = expected.split()
    assert list(inspect.signature(found).parameters)[: len(arguments)] == arguments
