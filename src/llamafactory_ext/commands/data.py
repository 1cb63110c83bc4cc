"""`llamafactory-ext data ...`: the verbs of this room for the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from .data_help import CHECK, CONVERT, MIX, PREVIEW, STATS, Verb
from .words import names_in

# What does the work is imported when a verb has checked its words: help must not wait for it.


class Data:
    """Convert the public data sets, mix them for CITI, check any data file and show what a model learns of it."""

    def convert(
        self,
        name: str = "",
        *extra: object,
        source: str = "",
        out: str = "data",
        dataset_name: str = "",
        split: str = "",
        limit: int = 0,
        seed: int = 42,
        task: str = "",
        **unknown: object,
    ) -> None:
        """Convert a public data set and enter it in dataset_info.json; `--help` lists them.

        Args:
            name: which converter.
            extra: nothing; more words are an error.
            source: folder with the published files, or one of them.
            out: LLaMA-Factory's dataset_dir.
            dataset_name: name of the entry and the file.
            split: train or test.
            limit: draw this many records without replacement; 0 takes all.
            seed: seed of the draw.
            task: the ability these examples stand for.
            unknown: nothing; other options are an error.
        """
        if _helped(CONVERT, extra, unknown, source=source, out=out, dataset_name=dataset_name, split=split, task=task):
            return
        from ..data.public import convert as conversion
        from .data_output import show_conversion

        if not name or not source:
            raise OptionError(
                f"data convert needs a name ({', '.join(conversion.FAMILIES)}) and --source FOLDER_OR_FILE: "
                "llamafactory-ext data convert api_bank --source DIR --out data"
            )
        request = conversion.Request(
            family=str(name),
            source=Path(str(source)),
            out=Path(str(out)),
            dataset_name=str(dataset_name),
            split=str(split),
            limit=limit,
            seed=seed,
            task=str(task),
        )
        show_conversion(conversion.convert(request))

    def mix(
        self,
        *extra: object,
        tool: str = "",
        general: str = "",
        per_general: int = 5000,
        dataset_name: str = "",
        dataset_dir: str = "data",
        seed: int = 42,
        expect: str = "",
        **unknown: object,
    ) -> None:
        """Mix tool data with a draw of each general data set.

        Args:
            extra: nothing; more words are an error.
            tool: data sets that are tool data.
            general: data sets that are general data.
            per_general: examples of each general data set.
            dataset_name: name of the mixture.
            dataset_dir: folder of dataset_info.json.
            seed: seed of the draws.
            expect: the SHA-256 that the result must have.
            unknown: nothing; other options are an error.
        """
        if _helped(
            MIX,
            extra,
            unknown,
            tool=tool,
            general=general,
            dataset_name=dataset_name,
            dataset_dir=dataset_dir,
            expect=expect,
        ):
            return
        from ..data.mix import Recipe, mix
        from .data_output import show_mixture

        recipe = Recipe(
            tool=names_in(tool),
            general=names_in(general),
            per_general=per_general,
            dataset_name=str(dataset_name),
            folder=Path(str(dataset_dir)),
            seed=seed,
            expect=str(expect),
        )
        show_mixture(mix(recipe))

    def check(
        self,
        what: str = "",
        *extra: object,
        dataset_dir: str = "data",
        template: str = "",
        model: str = "",
        cutoff_len: int = 2048,
        **unknown: object,
    ) -> None:
        """Tell everything that is wrong with a data file or the file of an entry.

        Args:
            what: a file, or a name in dataset_info.json.
            extra: nothing; more words are an error.
            dataset_dir: folder of dataset_info.json.
            template: template of the run.
            model: folder with the tokenizer.
            cutoff_len: as in the YAML.
            unknown: nothing; other options are an error.

        Raises:
            DataError: all errors at once.
        """
        if _helped(CHECK, extra, unknown, dataset_dir=dataset_dir, template=template, model=model):
            return
        problems = []
        if not what:
            problems.append("name a file, or a data set of dataset_info.json")
        if bool(template) != bool(model):
            problems.append("--template and --model go together: tokens are counted with both")
        if isinstance(cutoff_len, bool) or not isinstance(cutoff_len, int) or cutoff_len < 1:
            problems.append(f"--cutoff_len is {cutoff_len!r}; give a whole number of at least 1")
        if problems:
            raise OptionError.listing("data check:", problems)
        from ..data.checks.audit import audit
        from ..data.entries import DataEntry
        from .data_output import show_audit

        entry = DataEntry.found(str(what), Path(str(dataset_dir)))
        encode = None
        if template:
            from ..upstream.pipeline.encoding import ExampleEncoder  # only now: LLaMA-Factory takes seconds to load

            encode = ExampleEncoder(str(model), str(template), cutoff_len)
        result = audit(entry, encode)
        show_audit(entry, result, encoded=encode is not None)
        if result.lines():
            raise DataError("\n".join(["The data has errors:", *(f"  - {line}" for line in result.lines())]))

    def preview(
        self,
        what: str = "",
        *extra: object,
        yaml: str = "",
        dataset_dir: str = "",
        template: str = "",
        model: str = "",
        cutoff_len: int | None = None,
        stage: str = "",
        index: int = 0,
        count: int = 3,
        html: str = "",
        **unknown: object,
    ) -> None:
        """Show what the model sees of examples and what it learns from each token.

        Args:
            what: a file, or a name in dataset_info.json.
            extra: nothing; more words are an error.
            yaml: a training YAML whose options hold where none is given here.
            dataset_dir: folder of dataset_info.json.
            template: template of the run.
            model: folder with the tokenizer.
            cutoff_len: as in the YAML.
            stage: sft or tl_sft.
            index: number of the first record, from 0.
            count: how many records.
            html: write a web page there instead.
            unknown: nothing; other options are an error.
        """
        if _helped(
            PREVIEW,
            extra,
            unknown,
            yaml=yaml,
            dataset_dir=dataset_dir,
            template=template,
            model=model,
            stage=stage,
            html=html,
        ):
            return
        from rich.console import Console

        from ..checkpoint.own import claim
        from ..data.entries import DataEntry
        from ..data.preview.examples import preview, write_preview
        from ..data.preview.request import Request, from_yaml
        from ..data.preview.terminal import show_preview

        request = from_yaml(Path(str(yaml))) if yaml else Request(names=(), model="", template="")
        given = {
            "names": (str(what),) if what else (),
            "model": str(model),
            "template": str(template),
            "dataset_dir": str(dataset_dir),
            "cutoff_len": cutoff_len,
            "stage": str(stage),
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value not in ("", (), None)}
        request = replace(request, index=index, count=count, **changes)
        if html:
            sources = [DataEntry.found(name, Path(request.dataset_dir)).path for name in request.names]
            claim([Path(str(html))], inputs=[*sources, *([Path(str(yaml))] if yaml else [])], option="--html")
        examples = preview(request)
        title = f"{', '.join(request.names)} by template {request.template}"
        if html:
            write_preview(Path(str(html)), examples, title)
            print(f"Written: {html}")
        else:
            show_preview(examples, title, Console())
        if examples and all(example.problem for example in examples):
            raise DataError(
                f"None of the {len(examples)} records shown can be used; see all faults with llamafactory-ext data "
                "check NAME."
            )

    def stats(
        self,
        what: str = "",
        *extra: object,
        dataset_dir: str = "data",
        rules: str = "structured",
        function: str = "",
        out: str = "",
        **unknown: object,
    ) -> None:
        """Count calls by the error that their feedback reports.

        Args:
            what: files, or names in dataset_info.json.
            extra: nothing; more words are an error.
            dataset_dir: folder of dataset_info.json.
            rules: structured or reference.
            function: your own judge of feedback as module:function, in place of the rules.
            out: folder for the counts as JSON and the figure.
            unknown: nothing; other options are an error.
        """
        if _helped(STATS, extra, unknown, dataset_dir=dataset_dir, rules=rules, function=function, out=out):
            return
        names = names_in(what)
        if not names:
            raise OptionError("data stats: name a file with trajectories, or data sets of dataset_info.json")
        from ..checkpoint.own import claim, claim_plain
        from ..data.entries import DataEntry
        from ..tl.statistics import error_statistics
        from ..tl.statistics_files import FILES, write_statistics
        from .data_output import show_statistics

        entries = [DataEntry.found(name, Path(str(dataset_dir))) for name in names]
        twice = {entry.name for entry in entries if [other.name for other in entries].count(entry.name) > 1}
        if twice:
            raise OptionError(f"data stats: {', '.join(sorted(twice))} is named twice; count files of one name apart")
        if out:
            claim_plain(Path(str(out)))
            claim([Path(str(out)) / name for name in FILES], inputs=[entry.path for entry in entries])
        counted = [error_statistics(entry, str(rules), str(function) or None) for entry in entries]
        show_statistics(counted)
        if out:
            for path in write_statistics(Path(str(out)), counted):
                print(f"Written: {path}")


def _helped(verb: Verb, extra: tuple[object, ...], unknown: dict[str, object], **texts: object) -> bool:
    """Tell whether help was asked for and given; other words that no option takes are refused."""
    if {"help", "h"} & unknown.keys():
        print(verb.help())
        return True
    verb.refuse(extra, unknown, texts)
    return False
