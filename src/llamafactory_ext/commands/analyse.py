"""`llamafactory-ext analyse ...`: the analyses of CITI's paper on a model of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import OptionError
from .words import names_in, refuse_numbers

_DEVICES = ("cpu", "cuda")


class Analyse:
    """The analyses of CITI's paper: what tool training moves, which components matter, where routers send tokens."""

    def icc(
        self,
        yaml: str,
        trained: str,
        out: str = "runs/analyse",
        inputs: int = 1000,
        module: str = "mlp",
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """Compare how training moves the hidden states of each ability with how it moves those of tool use.

        Args:
            yaml: a training YAML: base model, template, data with tasks and marks.
            trained: folders of trained models or adapters, with commas between them; NAME=DIR names one.
            out: folder of icc.json, icc.png and of finished parts; the same command goes on.
            inputs: "final inputs" of each task.
            module: whose input is read, by its name within a decoder layer.
            seed: decides which examples and where their answers are cut.
            device: cpu or cuda.
        """
        from ..analyse.icc import icc

        refuse_numbers("analyse icc", whole={"inputs": (inputs, 1), "seed": (seed, 0)}, real={})
        result = icc(Path(str(yaml)), _named(trained), Path(str(out)), inputs, str(module), seed, _device(device))
        for name, tasks in result["models"].items():
            for task, found in tasks.items():
                if task != result["tool"]:
                    known = [value for value in found["cosine"] if value is not None]
                    mean = f"{sum(known) / len(known):+.3f}" if known else "none: nothing moved"
                    print(f"{name}: {task} with {result['tool']}: mean cosine over the layers {mean}")
        print(f"Written: {Path(str(out)) / 'icc.json'}, {Path(str(out)) / 'icc.png'}")

    def overlap(self, file: str, out: str = "runs/analyse", seed: int = 0) -> None:
        """Compare the rankings of components between abilities: Jaccard index of high, moderate and low thirds.

        Args:
            file: an importance.json that a CITI run wrote.
            out: folder of overlap.json and overlap.png.
            seed: of the rankings by chance that stand beside.
        """
        from ..analyse.overlap import overlap

        refuse_numbers("analyse overlap", whole={"seed": (seed, 0)}, real={})
        result = overlap(Path(str(file)), Path(str(out)), seed)
        for group, found in result["groups"].items():
            pairs = [found[one][other] for one in found for other in found if one < other]
            print(f"{group}: mean Jaccard index of {len(pairs)} pairs of tasks {sum(pairs) / len(pairs):.3f}")
        print(f"by chance: {result['random']:.3f}")
        print(f"Written: {Path(str(out)) / 'overlap.json'}, {Path(str(out)) / 'overlap.png'}")

    def replace(
        self,
        yaml: str,
        trained: str,
        importance: str,
        out: str = "runs/analyse",
        shares: Any = (20, 50),
        examples: int = 200,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """Measure each ability after its most or least important components took the weights of tool training.

        Args:
            yaml: a training YAML: base model, template, held-out data with tasks.
            trained: folder of the model or LoRA adapter that was trained on tools.
            importance: an importance.json of the base, with these tasks.
            out: folder of replace.json, replace.png and of finished parts; the same command goes on.
            shares: of the components, in per cent, with commas between them.
            examples: of each task.
            seed: decides which ones.
            device: cpu or cuda.
        """
        from ..analyse.replace import replace

        refuse_numbers("analyse replace", whole={"examples": (examples, 1), "seed": (seed, 0)}, real={})
        result = replace(
            Path(str(yaml)),
            Path(str(trained)),
            Path(str(importance)),
            Path(str(out)),
            _shares(shares),
            examples,
            seed,
            _device(device),
        )
        variants = list(next(iter(result["table"].values())))
        print(f"{'nats a token':<20}" + "".join(f"{variant:>10}" for variant in variants))
        for task, row in result["table"].items():
            print(f"{task[:19]:<20}" + "".join(f"{row[variant]:>10.4f}" for variant in variants))
        print(f"Written: {Path(str(out)) / 'replace.json'}, {Path(str(out)) / 'replace.png'}")

    def routers(
        self,
        yaml: str,
        adapter: str,
        out: str = "runs/analyse",
        inputs: int = 100,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """Show where the routers of a CITI adapter send the tokens of tools and of general data.

        Args:
            yaml: a training YAML: base model, template, held-out data with marks.
            adapter: what citi trained.
            out: folder of routers.json, routers.png and of finished parts; the same command goes on.
            inputs: examples of each mark.
            seed: decides which ones.
            device: cpu or cuda.
        """
        from ..analyse.routers import routers

        refuse_numbers("analyse routers", whole={"inputs": (inputs, 1), "seed": (seed, 0)}, real={})
        result = routers(Path(str(yaml)), Path(str(adapter)), Path(str(out)), inputs, seed, _device(device))
        first = result["gate_0"]
        print(f"Mean of gate 0 over {len(result['gates'])} routers: {first['tool']:.3f} on tool tokens, ", end="")
        print(f"{first['general']:.3f} on general tokens")
        print(f"Written: {Path(str(out)) / 'routers.json'}, {Path(str(out)) / 'routers.png'}")

    def components(
        self, out: str = "runs/components", seeds: int = 1, limit: int = 400, minutes: float | None = None
    ) -> None:
        """Train the most important, the least important or random components of the lab's tiny model for tool use.

        Args:
            out: folder of components.json, components.png and of one JSON per finished run, which is not run again.
            seeds: trainings of each of the six rows.
            limit: held-out items per set.
            minutes: begin no further run after so many minutes; the same command goes on.
        """
        from ..lab.components import components

        refuse_numbers(
            "analyse components",
            whole={"seeds": (seeds, 1), "limit": (limit, 1)},
            real={} if minutes is None else {"minutes": (minutes, 0)},
        )
        found = components(Path(str(out)), seeds, limit, minutes or 0)
        for row in found["rows"]:
            wrong = ", ".join(f"{name} {count}" for name, count in row["mistakes"].items() if count)
            shares = [f"{key} {row[key]['mean']:5.1f} %" for key in ("tools", "general")]
            print(f"{row['label']:<14}{', '.join(shares)}: {wrong}")


def _device(device: object) -> str:
    if device not in _DEVICES:
        raise OptionError(f"--device {device}: give cpu or cuda.")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise OptionError("--device cuda: no CUDA device is here; give cpu.")
    return str(device)


def _named(value: str) -> dict[str, Path]:
    """Return the folders by name; one without a name has that of its folder."""
    found: dict[str, Path] = {}
    for word in names_in(value):
        name, has_name, folder = word.partition("=")
        path = Path(folder if has_name else word)
        name = name if has_name else path.name
        if not name or name in found or name == "base":
            raise OptionError(
                f"--trained {word}: its name {name!r} is taken or empty; give each folder another, as NAME=DIR."
            )
        found[name] = path
    if not found:
        raise OptionError("--trained names no folder; give what was trained from the base.")
    return found


def _shares(value: object) -> tuple[float, ...]:
    try:
        shares = tuple(float(word) / 100 for word in names_in(value))
    except ValueError:
        shares = ()
    if not shares or not all(0 < share <= 1 for share in shares):
        raise OptionError(f"--shares {value}: give shares in per cent, above 0 and up to 100, such as 20,50.")
    return shares
