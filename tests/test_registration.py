"""PEFT and transformers know our types, whichever package is imported first; neither is imported for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from processes import run

# Orders in which people import; each must end with both registrations.
ORDERS = (
    "import llamafactory_ext, peft, transformers",
    "import llamafactory_ext, transformers, peft",
    "import transformers, peft, llamafactory_ext",
    "import peft, llamafactory_ext",
    "import transformers, llamafactory_ext, peft",
    "from llamafactory_ext.molora import layer",
    "from llamafactory_ext.molora import MoLoraConfig",
    "from llamafactory_ext.molora import kernel",
    "from llamafactory_ext.duo import DataAdapterConfig",
    "from llamafactory_ext.serving import modeling",
    "from llamafactory_ext.serving import MODEL_TYPES",
    "from llamafactory_ext.citi import export",
    "import llamafactory_ext.upstream.patches.table",
    "import llamafactory_ext; from transformers.models.auto import modeling_auto",
    "import llamafactory.launcher, llamafactory_ext",
)
CHECK = """
import peft, warnings
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING as models
assert "citi_llama" in CONFIG_MAPPING
assert CONFIG_MAPPING["citi_llama"] in models
assert {"MOLORA", "DATA"} <= set(peft.PeftType.__members__)
"""


@pytest.mark.parametrize("order", ORDERS)
def test_every_order(order: str, tmp_path: Path) -> None:
    result = run([sys.executable, "-W", "default::ImportWarning", "-c", f"{order}\n{CHECK}"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "could not make itself known" not in result.stderr


def test_importing_the_package_imports_neither(tmp_path: Path) -> None:
    code = "import sys, llamafactory_ext; print(sorted({'torch', 'peft', 'transformers', 'numpy'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], tmp_path).stdout.strip() == "[]"


def test_a_failure_is_a_hidden_warning_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "peft.py").write_text("PeftType = None\n", encoding="utf-8")
    code = "import sys; sys.path.insert(0, '.'); import llamafactory_ext, peft; print(peft.PeftType)"
    plain = run([sys.executable, "-c", code], tmp_path)
    assert (plain.stdout.strip(), plain.stderr) == ("None", "")
    result = run([sys.executable, "-W", "default::ImportWarning", "-c", code], tmp_path)
    assert "could not make itself known to peft" in result.stderr
    assert "llamafactory-ext doctor" in result.stderr
