"""The search for learning rates: the same trials for every method, none of them on a test item."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from cl.comparisons import METHODS, Here, options_of, plan_of, silent
from llamafactory_ext.cl.driver import run_plan
from llamafactory_ext.cl.report import as_markdown


def test_every_method_has_the_same_trials_and_shares_what_is_the_same(tiny_llama_dir: Path, tmp_path: Path) -> None:
    train = options_of(tmp_path, tiny_llama_dir)["train"]
    rate = train.pop("learning_rate")
    methods = {name: METHODS[name] for name in ("seq_lora", "replay", "data")}
    changes = {"methods": methods, "train": train, "order": ["numbers", "animals"], "evaluate": {"base": False}}
    search = {"learning_rates": ["1e-8", rate], "share": 0.34}
    plan = plan_of(tmp_path, tiny_llama_dir, search=search, **changes)
    here = Here()
    result = run_plan(plan, here, silent)
    trials = [line for line in here.done if line.startswith("train out/search/")]
    assert len(trials) == 2 * 2  # two rates; on a first task replay is plain LoRA
    searches = {name: method["search"] for name, method in result["methods"].items()}
    assert all(list(found["rates"]) == ["1e-08", "0.01"] and found["n"] == 2 for found in searches.values())
    assert searches["seq_lora"] == searches["replay"]
    kept = json.loads((tmp_path / "out/search/validation-1.json").read_text("utf-8"))
    learnt = [json.loads(path.read_text("utf-8")) for path in (tmp_path / "out/search").glob("*/data/task.json")]
    own, test = (json.loads((tmp_path / f"numbers/{name}.json").read_text("utf-8")) for name in ("train", "test"))
    assert all(sorted(map(str, [*kept, *part])) == sorted(map(str, own)) for part in learnt)
    assert not any(item in test for item in kept)
    for name, found in searches.items():
        best = max(found["rates"].values())
        assert found["chosen"] == next(float(r) for r, score in found["rates"].items() if score == best)  # the lowest
        for task in (1, 2):
            options = yaml.safe_load((tmp_path / f"out/{name}/seed-1/task-{task}/train.yaml").read_text("utf-8"))
            assert options["learning_rate"] == found["chosen"]
    assert "2 trials" in as_markdown(result)
    here = Here()
    assert run_plan(plan, here, silent) == result
    assert here.done == []
