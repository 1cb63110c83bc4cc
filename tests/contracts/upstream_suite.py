"""LLaMA-Factory's own tests, run without and with the extension: the same ones must pass.

`make upstream-tests` calls it. The tests come from upstream's source distribution on PyPI, or from a checkout that
LLAMAFACTORY_SOURCE names, whose code then comes first on the path. The models and data sets they ask a hub for are
tiny random stand-ins in a folder under `runs/`, so nothing else is downloaded.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llamafactory_ext.upstream.patches.compat import version_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny import save_tiny_model, tiny_model

VERSION = "0.9.5"
MODEL = "llamafactory/tiny-random-Llama-3"
RECORDS = 100
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
DEMO_DATA: dict[str, dict[str, Any]] = {
    "alpaca_en_demo": {},
    "c4_demo": {"columns": {"prompt": "text"}},
    "dpo_en_demo": {
        "ranking": True,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "kto_en_demo": {
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "kto_tag": "label"},
        "tags": OPENAI_TAGS,
    },
    "system_chat": {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": OPENAI_TAGS | {"system_tag": "system"},
    },
}


def unpack_upstream(folder: Path, archive: Path | None) -> Path:
    """Upstream's source distribution, from PyPI unless given, unpacked below `folder`."""
    source = folder / f"llamafactory-{VERSION}"
    if not source.exists():
        if archive is None:
            packages = ["--no-deps", "--no-binary", ":all:", f"llamafactory=={VERSION}"]
            command = [sys.executable, "-m", "pip", "download", "--quiet", *packages, "--dest", str(folder)]
            subprocess.run(command, check=True)
            archive = folder / f"llamafactory-{VERSION}.tar.gz"
        with tarfile.open(archive) as package:
            package.extractall(folder, filter="data")
    return source


def checkout() -> Path | None:
    """The checkout that LLAMAFACTORY_SOURCE names; None without the variable.

    Raises:
        SystemExit: it is no checkout of LLaMA-Factory.
    """
    named = os.environ.get("LLAMAFACTORY_SOURCE")
    if not named:
        return None
    source = Path(named).resolve()
    missing = [part for part in ("src/llamafactory", "tests", "data") if not (source / part).is_dir()]
    if missing:
        sys.exit(f"LLAMAFACTORY_SOURCE={named} has no folder {', '.join(missing)}; name a clone of LLaMA-Factory.")
    return source


def make_models(work: Path) -> None:
    """The models the tests name, as folders where those names are relative paths."""
    base = save_tiny_model(work / MODEL, dtype=torch.float16)
    torch.manual_seed(1)
    lora = get_peft_model(tiny_model(), LoraConfig(task_type="CAUSAL_LM", target_modules=LORA_TARGETS))
    for name, parameter in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    lora.save_pretrained(work / f"{MODEL}-lora")
    pissa = save_tiny_model(work / f"{MODEL}-pissa", dtype=torch.float16)
    lora.save_pretrained(pissa / "pissa_init")
    valuehead = save_tiny_model(work / f"{MODEL}-valuehead", dtype=torch.float16)
    weights = load_file(base / "model.safetensors")
    width = weights["model.norm.weight"].numel()
    weights |= {"v_head.summary.weight": torch.zeros(1, width), "v_head.summary.bias": torch.zeros(1)}
    save_file(weights, valuehead / "model.safetensors", metadata={"format": "pt"})


def make_data(source: Path, work: Path) -> None:
    """The data sets the tests name: cut from upstream's demos, or made up."""
    demo = work / "llamafactory" / "demo_data"
    demo.mkdir(parents=True)
    chats = [
        [
            {"role": "system", "content": "Answer briefly."},
            {"role": "user", "content": f"What is {i} plus {i}?"},
            {"role": "assistant", "content": f"It is {2 * i}."},
            {"role": "user", "content": "And one more?"},
            {"role": "assistant", "content": f"Then it is {2 * i + 1}."},
        ]
        for i in range(RECORDS)
    ]
    for name in DEMO_DATA:
        if name == "system_chat":
            records: list[Any] = [{"messages": messages} for messages in chats]
        elif name == "c4_demo":
            lines = (source / "data" / "c4_demo.jsonl").read_text("utf-8").splitlines()
            records = [json.loads(line) for line in lines]
        else:
            records = json.loads((source / "data" / f"{name}.json").read_text("utf-8"))
        (demo / f"{name}.json").write_text(json.dumps(records[:RECORDS]), "utf-8")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.json\n" for name in DEMO_DATA)
    (demo / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", "utf-8")
    entry = {"hf_hub_url": "llamafactory/demo_data"}
    info = {name: entry | {"subset": name} | settings for name, settings in DEMO_DATA.items()}
    tiny = work / "llamafactory" / "tiny-supervised-dataset"
    tiny.mkdir()
    (tiny / "train.json").write_text((demo / "alpaca_en_demo.json").read_text("utf-8"), "utf-8")
    # `hf_hub_download` looks only into the hub's cache.
    cache = work / "hub" / "datasets--llamafactory--demo_data"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40, "utf-8")
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "dataset_info.json").write_text(json.dumps(info), "utf-8")


def run_suite(source: Path, work: Path, switch: str) -> dict[str, str]:
    """Outcome of every upstream test (passed, failed, error, skipped) with the kill switch at `switch`."""
    report = work / f"report_{switch}.xml"
    variables = {
        "LLAMAFACTORY_EXT": switch,
        "HF_HUB_CACHE": str(work / "hub"),
        "HF_DATASETS_CACHE": str(work / f"datasets_{switch}"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONDONTWRITEBYTECODE": "1",  # a checkout stays as it is
    }
    if source == checkout():
        paths = [str(source / "src"), os.environ.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=no", "--rootdir", str(source / "tests")]
    command = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", str(source / "tests")]
    subprocess.run(command, cwd=work, env=os.environ | variables, check=False, stdout=subprocess.DEVNULL)
    outcomes = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = next(iter(kinds), "passed")
    return outcomes


def main() -> None:
    """Run both suites, print the numbers, exit 1 when the sets of passed tests differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/upstream_suite"), help="where everything is put")
    parser.add_argument("--sdist", type=Path, default=None, help="upstream's .tar.gz, in place of a download")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = checkout() or unpack_upstream(options.folder.resolve(), options.sdist)
    version = version_of(source / "src" / "llamafactory")
    work = options.folder.resolve() / f"work-{version}"
    if not work.exists():
        make_models(work)
        make_data(source, work)
    passed = {}
    for switch, name in (("0", "without"), ("1", "with")):
        outcomes = run_suite(source, work, switch)
        passed[name] = {test for test, outcome in outcomes.items() if outcome == "passed"}
        counts = {kind: list(outcomes.values()).count(kind) for kind in sorted(set(outcomes.values()))}
        print(f"{name} the extension: {counts}", flush=True)
    for test in sorted(passed["without"] ^ passed["with"]):
        print(f"passes only {'with' if test in passed['with'] else 'without'} the extension: {test}")
    if not passed["without"] or passed["without"] != passed["with"]:
        sys.exit("The extension changes what passes.")
    print(f"The same {len(passed['with'])} tests of LLaMA-Factory {version} pass without and with the extension.")


if __name__ == "__main__":
    main()
