"""The runs of one cell of the version matrix, in the cell's own environment: prints one JSON line per run.

`version_matrix.py` starts it; the packages of the tests are not there. One process imports LLaMA-Factory, then every
command runs in a fork of it; `doctor`, and what compares runs with and without the extension, start fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

YAMLS = Path("examples/yaml")
LAB_MODEL = Path("src/llamafactory_ext/lab/model")
BIN = Path(sys.executable).parent
PROMPTS = ("Remind me of the call at noon.", "What is 12 plus 30?", "Say word three times.")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# An exception's last line, or a line of the log that says so itself.
CAUSE = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b.*|.*\[ERROR\|.*|.*\bbroken\b.*)$", re.MULTILINE)
SAMPLES = {"max_samples": 4, "per_device_train_batch_size": 4}  # 4 tool and 4 general examples: 2 steps a phase
CITI = {"citi_importance_samples": 2, "citi_mi_epochs": 1, "warmup_steps": 0, "logging_steps": 1}
PPO = {"tl_rollout_batch_size": 8, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}


class RunError(Exception):
    """A run did not do what it should; the text is one line."""


class Cell:
    """The runs, by name, and where they write."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.model = model_for(version("transformers"), folder)

    def train(self, name: str, yaml: str, **changes: Any) -> Path:
        """`llamafactory-cli train` on one of the repository's files with a few options changed."""
        output = self.folder / name
        options = {"model_name_or_path": self.model, "output_dir": output, **changes}
        words = [f"{key}={value}" for key, value in options.items()]
        self.forked(name, "train", str(YAMLS / yaml), *words)
        return output

    def forked(self, name: str, *words: str) -> None:
        """One command of `llamafactory-cli` in a fork; raises the cause when it does not end well."""
        process = self.start(name, *words)
        deadline = time.monotonic() + self.limit
        while (ended := os.waitpid(process, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
                raise RunError(f"no end after {self.limit} seconds")
            time.sleep(0.1)
        if ended[1] != 0:
            raise RunError(cause(self.log(name).read_text("utf-8", "replace")))

    def start(self, name: str, *words: str) -> int:
        """Fork, with the output in a file, and become `llamafactory-cli`."""
        if process := os.fork():
            return process
        os.setpgid(0, 0)
        with self.log(name).open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = ["llamafactory-cli", *words]
        code = 1
        try:
            import_module("llamafactory.cli").main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def fresh(self, name: str, *words: str, **variables: str) -> tuple[int, str]:
        """One command in a process of its own: exit status and what it printed."""
        command = [str(BIN / words[0]), *words[1:]]
        with self.log(name).open("w", encoding="utf-8") as log:
            try:
                done = subprocess.run(
                    command, stdout=log, stderr=log, env=os.environ | variables, timeout=self.limit, check=False
                )
            except subprocess.TimeoutExpired:
                raise RunError(f"no end after {self.limit} seconds") from None
        return done.returncode, self.log(name).read_text("utf-8", "replace")

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def doctor(self) -> None:
        status, text = self.fresh("doctor", "llamafactory-ext", "doctor")
        if status:
            raise RunError(cause(text))

    def lora(self) -> None:
        self.train("lora", "lora_tiny.yaml", **SAMPLES, max_steps=2, save_strategy="steps")

    def citi(self) -> None:
        output = self.train("citi", "citi_tiny.yaml", **SAMPLES, **CITI)
        for phase in ("rp", "mi", "uco"):
            (state,) = output.glob(f"phase-?-{phase}/trainer_state.json")
            if (steps := json.loads(state.read_text("utf-8"))["global_step"]) != 2:
                raise RunError(f"phase {phase} took {steps} steps, not 2")

    def tl_sft(self) -> None:
        self.train("tl_sft", "tl_sft_tiny.yaml", max_samples=16, max_steps=2)

    def tl_ppo(self) -> None:
        start = self.folder / "tl_sft"
        changes = {**PPO, "max_samples": 16, "max_steps": 2, "tl_max_new_tokens": 8}
        self.train("tl_ppo", "tl_ppo_tiny.yaml", model_name_or_path=start, **changes)

    def served(self) -> list[str]:
        """The options that name the trained adapter, as `export`, `chat` and `api` take them."""
        options = {
            "model_name_or_path": str(self.model),
            "adapter_name_or_path": str(self.folder / "citi"),
            "finetuning_type": "citi",
            "template": "llama3",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    def export(self) -> None:
        """Export CITI's adapter; its greedy answers are the adapter's, token by token."""
        self.forked("export", "export", *self.served(), "--export_dir", str(self.folder / "exported"))
        transformers, peft = import_module("transformers"), import_module("peft")
        models = transformers.AutoModelForCausalLM
        adapted = peft.PeftModel.from_pretrained(models.from_pretrained(self.model), self.folder / "citi").eval()
        exported = models.from_pretrained(self.folder / "exported").eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder / "exported")
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
            arguments = {"input_ids": ids, "max_new_tokens": 16, "do_sample": False}
            answers = [model.generate(**arguments).tolist() for model in (adapted, exported)]
            if answers[0] != answers[1]:
                raise RunError(f"the export answers {prompt!r} with other tokens than the adapter")

    def api(self) -> None:
        """Ask the adapter behind upstream's API, and end the server."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        os.environ |= {"API_HOST": "127.0.0.1", "API_PORT": str(port)}
        server = self.start("api", "api", *self.served())
        body = {"model": "tiny", "messages": [{"role": "user", "content": PROMPTS[0]}], "max_tokens": 8}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            deadline = time.monotonic() + self.limit
            while time.monotonic() < deadline:
                if os.waitpid(server, os.WNOHANG) != (0, 0):
                    server = 0
                    raise RunError(cause(self.log("api").read_text("utf-8", "replace")))
                try:
                    with urllib.request.urlopen(request, timeout=60) as response:
                        if json.load(response)["choices"][0]["message"]["role"] == "assistant":
                            return
                except OSError:
                    time.sleep(0.3)
            raise RunError(f"no answer after {self.limit} seconds")
        finally:
            if server:
                os.killpg(server, signal.SIGKILL)
                os.waitpid(server, 0)

    def board(self) -> None:
        """Build LLaMA Board's page; it lists CITI among the methods."""
        page = import_module("llamafactory.webui.interface").create_ui()
        if "citi" not in json.dumps(page.get_config_file(), default=str):
            raise RunError("the page does not list citi")

    def untouched(self) -> None:
        """A LoRA run without the extension and one with it: the same weights, bit for bit."""
        weights = []
        for switch in ("0", "1"):
            name = f"lora_{switch}"
            changes = {"model_name_or_path": self.model, "output_dir": self.folder / name, **SAMPLES}
            changes |= {"max_steps": 2, "save_strategy": "steps"}
            words = [f"{key}={value}" for key, value in changes.items()]
            command = ("llamafactory-cli", "train", str(YAMLS / "lora_tiny.yaml"), *words)
            status, text = self.fresh(name, *command, LLAMAFACTORY_EXT=switch)
            if status:
                raise RunError(f"LLAMAFACTORY_EXT={switch}: {cause(text)}")
            weights.append((self.folder / name / "adapter_model.safetensors").read_bytes())
        if weights[0] != weights[1]:
            raise RunError("LoRA's weights differ with and without the extension")

    def version(self) -> None:
        status, text = self.fresh("version", "llamafactory-cli", "version")
        if status:
            raise RunError(cause(text))

    def refused(self) -> None:
        """Our methods end in one line that names the version, without a traceback."""
        for yaml in ("citi_tiny.yaml", "tl_sft_tiny.yaml"):
            words = ("llamafactory-cli", "train", str(YAMLS / yaml), f"output_dir={self.folder / 'refused'}")
            status, text = self.fresh("refused", *words)
            lines = [line for line in text.splitlines() if line.strip()]
            if not status or "Traceback" in text or not lines[-1].startswith("UpstreamError: "):
                raise RunError(f"{yaml}: status {status}; {lines[-1] if lines else 'nothing printed'}")


def model_for(transformers: str, folder: Path) -> Path:
    """The embedded model; transformers 4 gets a copy that names its tokenizer as that version does."""
    if int(transformers.partition(".")[0]) > 4:
        return LAB_MODEL
    copy = folder / "model"
    shutil.copytree(LAB_MODEL, copy, dirs_exist_ok=True)
    settings = json.loads((copy / "tokenizer_config.json").read_text("utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (copy / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return copy


WARM = ("lora", "citi", "tl_sft", "tl_ppo", "export", "api", "board")
EXPECTED = {"all": ("doctor", *WARM), "plain": ("version", "untouched", "refused")}
AFTER = {"tl_ppo": "tl_sft", "export": "citi", "api": "citi"}  # what a run starts from


def cause(text: str) -> str:
    """The one line of an output that says why it ended."""
    text = ANSI.sub("", text)
    found = CAUSE.findall(text) or text.strip().splitlines() or ["nothing printed"]
    return re.sub(r"[\s│┃]+", " ", found[-1]).strip()[:300]  # a line of the doctor's table has borders


def main() -> None:
    """Run what is expected of this cell, one line of JSON for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where runs and logs go")
    parser.add_argument("--expect", choices=EXPECTED, required=True)
    parser.add_argument("--limit", type=int, default=1800, help="seconds for one run")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cell, failed = Cell(options.folder.resolve(), options.limit), set()
    for name in EXPECTED[options.expect]:
        start = time.monotonic()
        outcome = "ok"
        if (needed := AFTER.get(name)) in failed:
            outcome = f"not run: {needed} failed"
        else:
            outcome = attempt(getattr(cell, name), warm=name in WARM)
        failed |= {name} if outcome != "ok" else set()
        report = {"run": name, "outcome": outcome, "seconds": round(time.monotonic() - start, 1)}
        print("RESULT " + json.dumps(report), flush=True)


def attempt(run: Callable[[], None], warm: bool) -> str:
    """Return "ok", or the line that says what went wrong."""
    try:
        if warm:
            for module in ("llamafactory.cli", "llamafactory.train.tuner", "llamafactory.api.app"):
                import_module(module)
        run()
    except RunError as failure:
        return str(failure)
    except Exception as error:
        return re.sub(r"\s+", " ", f"{type(error).__name__}: {error}").strip()[:300]
    return "ok"


if __name__ == "__main__":
    main()
