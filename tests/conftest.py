"""Shared fixtures and the environment of all tests: offline, one thread, deterministic."""

import os
import signal
import threading

# Before torch and transformers are imported anywhere, and inherited by every process a test starts.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="disabled",
    CUDA_VISIBLE_DEVICES="",
)

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from transformers import PreTrainedTokenizerFast

import tiny

settings.register_profile("repository", database=None, deadline=None, derandomize=True, print_blob=False)
settings.load_profile("repository")
torch.set_num_threads(1)
# A shell starts background jobs deaf to Ctrl-C, and their children would be so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Files of more than half a minute. They come first, so that none of them is what one worker waits for at the end.
SLOW = (
    *("examples/test_notebook.py", "invariants/test_kill.py", "invariants/test_writing_verbs.py"),
    *("training/test_machines.py", "checkpoint/test_resuming.py", "options/test_runs.py", "options/test_mistakes.py"),
    *("citi/run/test_resume.py", "citi/run/test_trainer.py", "tl/sft/test_training.py", "benchmarks/test_run.py"),
    *("training/test_engines.py", "tl/ppo/test_engines.py", "tl/ppo/test_environments.py", "board/test_browser.py"),
    *("contracts/test_commands_in_docs.py", "examples/test_scripts.py", "examples/test_table.py", "lab/test_demo.py"),
    *("security/test_hostile_servers.py", "methods/test_every_method.py", "examples/test_real_data.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow files first, in the order of the table; all else stays in its order."""
    tests = Path(__file__).parent
    rank = {tests / name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: rank.get(item.path, len(SLOW)))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return tiny.tiny_tokenizer()


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of a tiny random Llama; treat it as read-only."""
    return tiny.save_tiny_model(tmp_path_factory.mktemp("tiny_llama"))


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `dataset_dir` with the data set `tiny` of 16 marked records; treat it as read-only."""
    return tiny.write_tiny_data(tmp_path_factory.mktemp("tiny_data"), 16)


@pytest.fixture(scope="session")
def tiny_adapter_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MOLoRA adapter for `tiny_llama_dir` whose experts act; treat it as read-only."""
    from peft import get_peft_model

    from llamafactory_ext.molora import MoLoraConfig

    config = MoLoraConfig(target_modules=["down_proj", "q_proj"], r=4, alpha=64, init_weights=False)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny_adapter")
    get_peft_model(tiny.tiny_model(), config).save_pretrained(folder)
    return folder
