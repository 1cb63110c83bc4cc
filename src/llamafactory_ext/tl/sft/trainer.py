"""The trainer of `tl_sft`: upstream's supervised trainer with weighted tokens and safe checkpoints."""

from __future__ import annotations

from typing import Any

from ...checkpoint.saving import SafeCheckpoints
from ...training.token_loss import TokenLoss
from ...upstream.pipeline.api import CustomSeq2SeqTrainer
from ..start import REPORT


class TlSftTrainer(SafeCheckpoints, TokenLoss, CustomSeq2SeqTrainer):
    """Minimises L_MAE and L_PKT (TL-Training, arXiv:2412.15495, sections 3.1 and 3.2).

    Which tokens are trained and with which weights w is in the data; the loss is sum(w nll) / sum(w) over the whole
    optimiser step. The paper sums without dividing; the released code divides so.
    """

    weighted = True
    carried = (REPORT,)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._set_up_loss(self.accelerator.unwrap_model(self.model), whole=not self._engine_saves)
