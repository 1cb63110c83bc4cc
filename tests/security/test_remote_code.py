"""Code in a model's folder is never run, whoever loads it and whatever somebody types when asked."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llamafactory_ext

SOURCE = Path(llamafactory_ext.__file__).parent
CODE = "from pathlib import Path\nPath({marker!r}).write_text('run')\nraise SystemExit('the code of the folder')\n"
PROGRAMS = {
    "infer --backend hf": """
from llamafactory_ext.serving.infer.hf import HfBackend
from llamafactory_ext.serving.infer.options import InferOptions
HfBackend(InferOptions.of({"dataset": "x", "out": "y", "backend": "hf", "model": sys.argv[1]}))
""",
    "--embedder": """
from llamafactory_ext.metrics.benchmarks.api_bank.search import Embedder
Embedder(Path(sys.argv[1]))
""",
    "lab evaluate": """
from llamafactory_ext.lab.evaluate import evaluate
evaluate(Path(sys.argv[1]), None, 1)
""",
    "data preview": """
from llamafactory_ext.upstream.pipeline.encoding import ExampleEncoder
ExampleEncoder(sys.argv[1], "llama3", 64)
""",
}


@pytest.fixture
def hostile(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """A model whose configuration names code of its own for everything that can be loaded."""
    folder = shutil.copytree(tiny_llama_dir, tmp_path / "hostile")
    (folder / "own.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own_kind", "auto_map": dict.fromkeys(kinds, "own.Own")}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize("name", PROGRAMS)
def test_code_of_a_model_is_not_run(name: str, hostile: Path, tmp_path: Path) -> None:
    """A yes on the standard input, which transformers asks for where nothing is said, changes nothing."""
    program = f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(SOURCE.parent)!r})\n{PROGRAMS[name]}"
    command = [sys.executable, "-c", program, str(hostile)]
    done = subprocess.run(command, cwd=tmp_path, input="y\n" * 9, capture_output=True, text=True, check=False)
    assert not (tmp_path / "marker").exists(), done.stderr[-500:]
    assert "[y/N]" not in done.stdout + done.stderr
    assert "the code of the folder" not in done.stderr


def test_every_call_says_so() -> None:
    """Each loader of transformers in our sources says trust_remote_code, or hands on what upstream's options say."""
    silent = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            function = node.func if isinstance(node, ast.Call) else None
            if not isinstance(function, ast.Attribute) or function.attr != "from_pretrained":
                continue
            owner = ast.unparse(function.value)
            words = {keyword.arg for keyword in node.keywords}  # type: ignore[union-attr]
            if owner.startswith("Auto") and not words & {"trust_remote_code", None}:
                silent.append(f"{path.name}: {owner}")
    assert silent == []
