"""Folders of models with one thing wrong, of every kind: each row changes a copy of a right one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from odd_weights import INDEX, INDICES, TENSORS, WEIGHTS, headers, placed, with_index, with_tensors

NAN = float("nan")
VALUES: dict[str, Any] = {
    "null": None,
    "a text": "x",
    "a list": [1],
    "an object": {"a": 1},
    "1.5": 1.5,
    "true": True,
    "-1": -1,
    "0": 0,
    "huge": 10**12,
    "NaN": NAN,
    "empty": "",
}
EXTRA = (
    *("text_config", "vision_config", "audio_config", "quantization_config", "auto_map", "layer_types"),
    *("rope_scaling", "torch_dtype", "sliding_window", "citi", "num_labels", "n_layer", "num_experts", "pad_token_id"),
    *("_attn_implementation", "attn_implementation", "name_or_path", "is_encoder_decoder", "id2label"),
)
TYPES = (
    *(
        "bert",
        "bart",
        "bloom",
        "chatglm",
        "citi_nosuch",
        "clip",
        "falcon",
        "gemma3",
        "gpt2",
        "LLAMA",
        "llama ",
        "llava",
    ),
    *("mamba", "qwen2_vl", "qwen3_5", "rwkv", "t5", "vit", "whisper", "no_such_type", "encoder-decoder", "mixtral"),
)
QUANTIZERS: tuple[Any, ...] = (
    *("awq", "auto-round", "gptq", "bitsandbytes", "bitsandbytes_4bit", "hqq", "eetq", "aqlm", "quanto", "quark"),
    *("compressed-tensors", "fbgemm_fp8", "torchao", "bitnet", "vptq", "spqr", "fp8", "higgs", "mxfp4", "modelopt"),
    *("exl2", "gguf", "no_such_method", "", 3, None, [1], {"a": 1}),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "bare": {},
    "with bits": {"bits": 4, "group_size": 128},
    "with odd values": {"bits": "x", "group_size": [], "config_groups": 3, "modules_to_not_convert": 3},
    "in 4 bits": {"load_in_4bit": True},
    "in 8 bits": {"load_in_8bit": True},
}
FILES = (
    *("config.json", WEIGHTS, INDEX, "tokenizer.json", "tokenizer_config.json", "generation_config.json"),
    *("chat_template.jinja", "special_tokens_map.json"),
)
# Keys of the files beside config.json, each tried with all values.
BESIDE = {
    "tokenizer_config.json": (
        *("tokenizer_class", "model_max_length", "padding_side", "bos_token", "eos_token", "added_tokens_decoder"),
        *("chat_template", "auto_map", "extra_special_tokens", "backend"),
    ),
    "generation_config.json": ("eos_token_id", "do_sample", "temperature", "max_length", "suppress_tokens"),
}
Make = Callable[[Path], Any]


@dataclass(frozen=True)
class Odd:
    """One odd folder.

    Attributes:
        name: of the row.
        make: changes a copy of the right folder, in place.
        options: what the command says beside the folder.
    """

    name: str
    make: Make = field(hash=False)
    options: dict[str, Any] = field(default_factory=dict, hash=False)


def odd_models(right: dict[str, Any]) -> list[Odd]:
    """Return all rows.

    Args:
        right: the content of the right folder's config.json.
    """
    return [
        *_configurations(right),
        *(Odd(f"config.json {name}", partial(_written, "config.json", text)) for name, text in _texts(right).items()),
        *_places(),
        *(Odd(f"weights {name}", partial(_written, WEIGHTS, data)) for name, data in headers().items()),
        *(Odd(f"index {name}", partial(with_index, change)) for name, change in INDICES.items()),
        *(Odd(f"tensors {name}", partial(with_tensors, change)) for name, change in TENSORS.items()),
        *(
            Odd(
                f"quantized by {method} {name}",
                partial(_configured, {"quantization_config": {"quant_method": method} | own}),
            )
            for method in QUANTIZERS
            for name, own in SETTINGS.items()
        ),
        *_own_code(),
    ]


def _configurations(right: dict[str, Any]) -> Iterator[Odd]:
    for key in right:
        yield Odd(f"without {key}", partial(_without, key))
    for key in dict.fromkeys((*right, *EXTRA)):
        for name, value in VALUES.items():
            yield Odd(f"{key} {name}", partial(_configured, {key: value}))
    for file, keys in BESIDE.items():
        for key in keys:
            for name, value in VALUES.items():
                yield Odd(f"{file} {key} {name}", partial(_configured, {key: value}, name=file))
    for kind in TYPES:
        yield Odd(f"type {kind}", partial(_configured, {"model_type": kind}))
    nested: dict[str, Any] = {"itself": right, "wider": {"hidden_size": 64}, "of no type": {"model_type": [1]}}
    for name, value in nested.items():
        yield Odd(f"text_config {name}", partial(_configured, {"text_config": value}))
    for scope in ("text_config", "vision_config", "rope_parameters"):
        yield Odd(f"NaN within {scope}", partial(_configured, {scope: {"model_type": "llama", "rope_theta": NAN}}))


def _texts(right: dict[str, Any]) -> dict[str, str | bytes]:
    whole = json.dumps(right)
    return {
        "empty": "",
        "binary": bytes(range(256)),
        "with a BOM": b"\xef\xbb\xbf" + whole.encode(),
        "in UTF-16": whole.encode("utf-16"),
        "in Latin-1": json.dumps(right | {"x": "\u00e9"}, ensure_ascii=False).encode("latin-1"),
        "of brackets": "[" * 100_000,
        "nested": '{"a":' * 5_000 + "1" + "}" * 5_000,
        "nested less": '{"model_type": "llama", "a":' + '{"a":' * 400 + "1" + "}" * 401,
        "a number": "1",
        "a text": '"llama"',
        "null": "null",
        "a list": "[]",
        "with one bracket more": whole + "}",
        "with nothing but a type": '{"model_type": "llama"}',
        "with many digits": '{"model_type": "llama", "hidden_size": ' + "9" * 5_000 + "}",
        "of git-lfs": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "with a NUL": whole.replace("llama", "lla\\u0000ma"),
        "with half a character": whole.replace('"llama"', '"\\ud800"'),
    }


def _places() -> Iterator[Odd]:
    for file in FILES:
        yield Odd(f"{file} a folder", partial(placed, file, Path.mkdir))
        yield Odd(f"{file} a link to itself", partial(placed, file, lambda path: path.symlink_to(path.name)))
        yield Odd(f"{file} a link to nothing", partial(placed, file, lambda path: path.symlink_to("nowhere")))
        yield Odd(f"{file} a pipe", partial(placed, file, os.mkfifo))
        yield Odd(f"{file} gone", partial(placed, file, lambda path: None))
        for name, data in {
            "empty": b"",
            "binary": bytes(range(256)) * 3,
            "a list": b"[1, 2]",
            "null": b"null",
        }.items():
            yield Odd(f"{file} {name} inside", partial(_written, file, data))
    yield Odd("folder empty", lambda folder: [file.unlink() for file in folder.iterdir()])
    yield Odd("folder one too high", _one_lower)
    for name, change in {
        "gone": lambda path: None,
        "a file": lambda path: path.write_text("x"),
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a pipe": os.mkfifo,
    }.items():
        yield Odd(f"folder {name}", partial(_replaced, change))


_CODE = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}


def _own_code() -> Iterator[Odd]:
    maps: dict[str, Any] = {
        "a text": "x",
        "numbers": {"AutoConfig": 1},
        "missing": _CODE,
        "a name alone": {"AutoConfig": "Config"},
        "of a hub": {"AutoConfig": "a/b--own.Config"},
        "empty": {},
        "null": {"AutoConfig": None},
    }
    for trusted in (False, True):
        options = {"trust_remote_code": trusted}
        for kind in ("llama", "of_its_own"):
            for name, value in maps.items():
                change = {"model_type": kind, "auto_map": value}
                yield Odd(f"code {name} of a {kind}, {trusted}", partial(_configured, change), options)
        for name, text in {"malformed": "def (", "with a package": "import no_such_package_x", "empty": ""}.items():
            yield Odd(f"code {name}, {trusted}", partial(_coded, text), options)


def _coded(text: str, folder: Path) -> None:
    _configured({"model_type": "of_its_own", "auto_map": _CODE}, folder)
    (folder / "own.py").write_text(text)


def _configured(changes: dict[str, Any], folder: Path, name: str = "config.json") -> None:
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes))


def _without(key: str, folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(
        json.dumps({name: one for name, one in json.loads(file.read_text("utf-8")).items() if name != key})
    )


def _written(file: str, data: str | bytes, folder: Path) -> None:
    (folder / file).unlink(missing_ok=True)
    (folder / file).write_bytes(data if isinstance(data, bytes) else data.encode())


def _replaced(change: Callable[[Path], Any], folder: Path) -> None:
    shutil.rmtree(folder)
    change(folder)


def _one_lower(folder: Path) -> None:
    shutil.copytree(folder, folder / "model")
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
