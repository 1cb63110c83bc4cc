"""Our hooks are active in every way to start LLaMA-Factory, and our errors end as one message everywhere.

A citi configuration with wrong options is the probe: only a process in which the hooks are active can name them.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from llamafactory.extras.packages import is_ray_available
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from llamafactory_ext.options.groups import option_names
from processes import BIN, environment, free_port, run, train_options, write_yaml

PROBLEMS = ("citi_top_ratio=7: give a number above 0 to 1", "citi_rnak is not an option; did you mean citi_rank?")


@pytest.fixture(scope="session")
def probe(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration `citi.yaml`, wrong in two options."""
    folder = tmp_path_factory.mktemp("probe")
    options = train_options(tiny_llama_dir, tiny_data_dir, folder / "out", citi_top_ratio=7, citi_rnak=3)
    write_yaml(folder / "citi.yaml", options)
    return folder


def check_refused(result: subprocess.CompletedProcess[str]) -> None:
    printed = result.stdout + result.stderr
    assert result.returncode != 0, printed
    assert "Traceback" not in printed, printed
    for problem in PROBLEMS:
        assert printed.count(problem) == 1, printed


def test_train_command_with_overrides(probe: Path) -> None:
    result = run(["llamafactory-cli", "train", "citi.yaml", "citi_phases=[mi,rp]"], probe)
    check_refused(result)
    assert result.returncode == 2
    assert "citi_phases=['mi', 'rp']: give one or more of rp,mi,uco in this order" in result.stderr


def test_lmf_and_help(probe: Path) -> None:
    result = run(["lmf", "train", "-h"], probe)
    assert result.returncode == 0, result.stderr
    for name in option_names():
        assert f"--{name}" in result.stdout
    assert "{lora,oft,freeze,full,citi,data}" in result.stdout
    assert "{pt,sft,rm,ppo,dpo,kto,tl_sft,tl_ppo,skintern}" in result.stdout


def test_torchrun_children(probe: Path) -> None:
    command = ["llamafactory-cli", "train", "citi.yaml"]
    check_refused(run(command, probe, FORCE_TORCHRUN="1", NPROC_PER_NODE="2"))


def test_accelerate_launch_of_a_users_script(probe: Path) -> None:
    script = probe / "train.py"
    script.write_text("from llamafactory.train.tuner import run_exp\nrun_exp()\n", encoding="utf-8")
    launch = [
        "accelerate",
        "launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    ]
    result = run([*launch, "--dynamo_backend", "no", "train.py", "citi.yaml"], probe)
    assert result.returncode != 0
    for problem in PROBLEMS:
        assert problem in result.stderr


def test_users_script(probe: Path) -> None:
    code = (
        "import yaml\nfrom llamafactory.train.tuner import run_exp\n"
        "run_exp(yaml.safe_load(open('citi.yaml', encoding='utf-8')))\n"
    )
    check_refused(run([sys.executable, "-c", code], probe))


def test_board_child(probe: Path, tiny_llama_dir: Path, tiny_data_dir: Path) -> None:
    script = Path(__file__).with_name("board_child.py")
    wrong = json.dumps({"citi_top_ratio": 7, "citi_rnak": 3})
    result = run([sys.executable, str(script), str(tiny_llama_dir), str(tiny_data_dir), wrong], probe)
    assert result.returncode == 0, result.stderr
    assert "'citi'" in result.stdout
    box = result.stdout.partition("box:")[2]
    assert "Exit code: 2" in box, result.stdout
    assert "Traceback" not in box
    for problem in PROBLEMS:
        assert problem in box


@pytest.mark.skipif(not is_ray_available(), reason="ray is not installed: pip install 'llamafactory_ext[dev]'")
def test_ray_worker(probe: Path) -> None:
    driver = Path(__file__).with_name("ray_driver.py")
    check_refused(run([sys.executable, str(driver), "citi.yaml"], probe, USE_RAY="1", CUDA_VISIBLE_DEVICES="0"))


def chat_options(model: Path, adapter: Path) -> dict[str, object]:
    return {
        "model_name_or_path": str(model),
        "adapter_name_or_path": str(adapter),
        "template": "llama3",
        "finetuning_type": "citi",
        "infer_dtype": "float32",
        "do_sample": False,
        "max_new_tokens": 8,
    }


def expected_reply(adapter: Path, question: str) -> str:
    """Greedy decoding by PEFT and transformers alone."""
    tokenizer = tiny.tiny_tokenizer()
    model = PeftModel.from_pretrained(tiny.tiny_model(), adapter).eval()
    messages = [{"role": "user", "content": question}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        tokens = model.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


def test_export(probe: Path, tiny_llama_dir: Path, tiny_adapter_dir: Path) -> None:
    options = chat_options(tiny_llama_dir, tiny_adapter_dir) | {"export_dir": "exported"}
    write_yaml(probe / "export.yaml", options)
    result = run(["llamafactory-cli", "export", "export.yaml"], probe)
    assert result.returncode == 0, result.stderr
    exported = AutoModelForCausalLM.from_pretrained(probe / "exported")
    adapted = PeftModel.from_pretrained(tiny.tiny_model(), tiny_adapter_dir).eval()
    ids = torch.arange(12)[None]
    torch.testing.assert_close(exported(ids).logits, adapted(input_ids=ids).logits)
    served, own = AutoTokenizer.from_pretrained(probe / "exported"), tiny.tiny_tokenizer()
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    assert served.apply_chat_template(messages, tokenize=False) == own.apply_chat_template(messages, tokenize=False)


def test_chat(probe: Path, tiny_llama_dir: Path, tiny_adapter_dir: Path) -> None:
    write_yaml(probe / "chat.yaml", chat_options(tiny_llama_dir, tiny_adapter_dir))
    result = run(["llamafactory-cli", "chat", "chat.yaml"], probe, stdin="What is 12 plus 30?\nexit\n")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert expected_reply(tiny_adapter_dir, "What is 12 plus 30?").strip()[:8] in result.stdout


def test_api(probe: Path, tiny_llama_dir: Path, tiny_adapter_dir: Path) -> None:
    write_yaml(probe / "api.yaml", chat_options(tiny_llama_dir, tiny_adapter_dir))
    port = free_port()
    log = (probe / "api.log").open("w")
    server = subprocess.Popen(
        [str(BIN / "llamafactory-cli"), "api", "api.yaml"],
        cwd=probe,
        env=environment(API_HOST="127.0.0.1", API_PORT=str(port)),
        stdout=log,
        stderr=log,
    )
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Say word 3."}], "do_sample": False}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        reply = None
        deadline = time.monotonic() + 900
        while reply is None and server.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    reply = json.load(response)["choices"][0]["message"]["content"]
            except OSError:
                time.sleep(0.3)
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()
    assert reply == expected_reply(tiny_adapter_dir, "Say word 3."), (probe / "api.log").read_text()
