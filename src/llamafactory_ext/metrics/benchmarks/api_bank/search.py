"""The sentence embeddings by which API-Bank's ToolSearcher finds tools.

The published evaluator asks sentence-transformers/paraphrase-MiniLM-L3-v2. The sandbox holds no model: the texts come
out of it, their embeddings go in. The package sentence-transformers is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import DataError

PUBLISHED_EMBEDDER = "sentence-transformers/paraphrase-MiniLM-L3-v2"
_PUBLISHED_SHAPE = (3, 384)  # layers and width
_LONGEST = 128  # tokens; what the published model cuts at, for folders that do not say
_AT_ONCE = 64


class Embedder:
    """A sentence-transformers model folder: a transformer and the mean of its last states over the tokens.

    Args:
        folder: with config.json, safetensors weights and the tokenizer.

    Raises:
        DataError: no such model, or one that pools in another way.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        hint = f"name a local copy of {PUBLISHED_EMBEDDER}"
        if not (folder / "config.json").is_file():
            raise DataError(f"--embedder {folder} holds no model (no config.json); {hint}.")
        pooling = _settings(folder / "1_Pooling" / "config.json")
        if not pooling.get("pooling_mode_mean_tokens", True):
            raise DataError(f"{folder}/1_Pooling/config.json: only the mean over the tokens is known; {hint}.")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            self._model = AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            ).eval()
        except (OSError, ValueError) as error:
            raise DataError(f"--embedder {folder} cannot be loaded ({str(error).splitlines()[0]}); {hint}.") from None
        self._longest = int(_settings(folder / "sentence_bert_config.json").get("max_seq_length") or _LONGEST)
        config = self._model.config
        shape = (getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None))
        self.note = f"ToolSearcher's calls were executed with the embeddings of {folder.name}" + (
            "." if shape == _PUBLISHED_SHAPE else f", which is not {PUBLISHED_EMBEDDER}: not the published verdicts."
        )

    def __call__(self, texts: Sequence[str]) -> dict[str, list[float]]:
        """Return embeddings of length 1, by text."""
        import torch

        found: dict[str, list[float]] = {}
        for first in range(0, len(texts), _AT_ONCE):
            part = list(texts[first : first + _AT_ONCE])
            inputs = self._tokenizer(
                part, padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
            )
            with torch.inference_mode():
                states_BTX = self._model(**inputs).last_hidden_state
            mask_BT1 = inputs["attention_mask"].unsqueeze(-1).to(states_BTX.dtype)
            mean_BX = (states_BTX * mask_BT1).sum(1) / mask_BT1.sum(1)
            found.update(zip(part, torch.nn.functional.normalize(mean_BX).tolist(), strict=True))
        return found


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); get the model again.") from None
    return settings if isinstance(settings, dict) else {}
