"""PEFT's own common tests, of the installed version, run against `MoLoraConfig` on tiny local models.

`make upstream-tests` calls it. The tests come from PEFT's source distribution, which pip takes from the package index
and checks; nothing of them is kept in this repository. Without an index it says so and runs nothing.
"""

import argparse
import collections
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from peft_models import make_models

MODULES = (
    "config",
    "custom_models",
    "decoder_models",
    "encoder_decoder_models",
    "feature_extraction_models",
    "seq_classifier",
)
REFUSALS = Path(__file__).with_name("peft_refusals.json")


def unpack(folder: Path, version: str, archive: Path | None) -> Path | None:
    """PEFT's source distribution unpacked below `folder`; None where pip cannot have it."""
    source = folder / f"peft-{version}"
    if not (source / "tests").exists():
        if archive is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            command += [f"peft=={version}", "--dest", str(folder)]
            found = subprocess.run(command, check=False, capture_output=True, text=True)
            if found.returncode:
                print(f"SKIPPED: PEFT's tests are not to be had: {(found.stderr.strip().splitlines() or ['?'])[-1]}")
                return None
            archive = folder / f"peft-{version}.tar.gz"
        with tarfile.open(archive) as package:
            package.extractall(folder, filter="data")
    if not (source / "tests" / "testing_common.py").exists():
        print(f"SKIPPED: the source distribution of PEFT {version} has no tests/testing_common.py.")
        return None
    (source / "tests" / "__init__.py").touch()  # its modules import each other as a package
    return source


def run(source: Path, models: Path, outcomes: Path, chosen: str, sample: int) -> None:
    """Run the modules in the folder of the models, whose names are then paths."""
    variables = {
        "PYTHONPATH": os.pathsep.join([str(source), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "PEFT_SUITE_OUTCOMES": str(outcomes),
        "PEFT_SUITE_SAMPLE": str(sample),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-p", "peft_plugin", "--rootdir", str(source), "-c", os.devnull]
    command += ["-k", chosen] if chosen else []
    command += [str(source / "tests" / f"test_{name}.py") for name in MODULES]
    subprocess.run(command, cwd=models, env=os.environ | variables, check=False, stdout=subprocess.DEVNULL)


def judge(outcomes: dict[str, dict[str, str]]) -> list[str]:
    """Print the counts; return what is neither passed, skipped by the suite nor an expected refusal."""
    expected = json.loads(REFUSALS.read_text("utf-8"))
    counts: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    wrong = []
    for test, found in outcomes.items():
        outcome, text = found["outcome"], found["text"]
        name = test.rpartition("::")[2]
        row = next((row for row in expected if re.search(row["test"], name) and re.search(row["message"], text)), None)
        if row is not None and (outcome == "refused" or (outcome == "failed" and row.get("ours") is False)):
            outcome = "refused well"
            reasons[row["reason"]] += 1
        elif outcome not in ("passed", "skipped"):
            wrong.append(f"{test}\n    {text}")
        counts[outcome] += 1
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("passed", "refused well", "skipped")), flush=True)
    for reason, count in reasons.most_common():
        print(f"  {count} refused: {reason}")
    return wrong


def main() -> None:
    """Run the suite, print the numbers, exit 1 at anything that was not to be expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/peft_suite"), help="where everything is put")
    parser.add_argument("--sdist", type=Path, default=None, help="PEFT's .tar.gz, in place of a download")
    parser.add_argument("-k", default="", dest="chosen", help="pytest's expression for some of the tests")
    parser.add_argument("--sample", type=int, default=0, help="rows of each test; 0 runs all of them")
    options = parser.parse_args()
    folder = options.folder.resolve()
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version("peft")
    source = unpack(folder, version, options.sdist)
    if source is None:
        return
    make_models(models)
    file = folder / f"outcomes-{version}.json"
    file.unlink(missing_ok=True)
    run(source, models, file, options.chosen, options.sample)
    if not file.exists():
        sys.exit(f"PEFT's tests of {version} could not be collected; run pytest with -p peft_plugin to see why.")
    print(f"PEFT {version}, its own tests with MoLoraConfig: ", end="")
    if wrong := judge(json.loads(file.read_text("utf-8"))):
        sys.exit("\n".join([f"{len(wrong)} tests failed:", *wrong]))


if __name__ == "__main__":
    main()
