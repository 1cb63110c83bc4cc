"""Row 4: Router Pre-training by forward passes alone against the naive step."""

from __future__ import annotations

from measure import Figure, Row, peak_bytes, time_ratio, times
from setting import Setting, chosen
from steps import Citi, Naive, clean, upstream_checkpointing, worst


def run(setting: Setting) -> list[Row]:
    """Row 4."""
    base, batch = setting.model(), setting.batch()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=True)
    citi.enter("rp")
    naive, checkpointed = (Naive(base, adapted, like=citi) for _ in range(2))
    naive.enter("rp")
    checkpointed.enter("rp")
    upstream_checkpointing(checkpointed.model)
    calls = {
        "ours": clean(citi.model, citi.router_step, batch),
        "naive": clean(naive.model, naive.step, batch),
        "naive, checkpointed": clean(checkpointed.model, checkpointed.step, batch),
    }
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("4", "RP step, forward only with local router gradients / naive RP step")
    row.settings = setting.describe(base, memory, adapted=len(adapted))
    for other, time_goal, peak_goal in (("naive", 0.33, 0.05), ("naive, checkpointed", None, None)):
        row.figures += [
            time_ratio(f"time / {other}", "ours", other, found, time_goal),
            Figure(f"peak / {other}", memory["ours"] / memory[other], peak_goal),
        ]
    row.figures.append(Figure("gradients against autograd", gradient_error(), 1e-12, unit="relative error"))
    return [row]


def gradient_error() -> float:
    """The routers' gradients in float64 against autograd through the whole loss of the naive step."""
    base, batch = Setting.exact()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=True)
    citi.enter("rp")
    citi.router_step(batch)
    naive = Naive(base, adapted, like=citi)
    naive.enter("rp")
    naive.step(batch)
    ours = [layer.weights("default")[0].grad for layer in citi.layers.values()]
    return worst(ours, [loop.router.weight.grad for loop in naive.loops.values()])
