"""`llamafactory-ext etapp ...`: personalised, proactive tool use (ETAPP)."""

from __future__ import annotations

from pathlib import Path

from ..errors import OptionError
from .words import file_of, folder_of, refuse_numbers, switch, tell

_SECONDS = (0.001, 1_000_000)  # of a request
_PROMPTS = ("ours", "checkout")
_LEAST = ("min_procedure", "min_personalization", "min_proactivity")
_MOST, _MOST_SEED, _MOST_TOKENS = 1_000, 2**63 - 1, 10_000_000


class Etapp:
    """ETAPP: run agents in the world of a user, check what they did, judge how they did it."""

    def cases(self, source: str = "mini", show: str = "") -> None:
        """List the cases, or show one of them.

        Args:
            source: mini, the world that comes with this package, or the folder of your checkout of ETAPP.
            show: the id of a case, to see its request, tools, key points and checks.
        """
        from ..etapp.listing import listed, shown

        tell(shown(str(source), str(show)) if show else listed(str(source)))

    def inventory(self, source: str, out: str = "") -> None:
        """Tell what a checkout of ETAPP holds, what it lacks, and which cases that costs; nothing of it is copied.

        Args:
            source: the folder of your checkout.
            out: also write the list to this JSON file, with the hash of every file that was read.
        """
        from ..checkpoint.own import claim, own_json
        from ..etapp.checkout import Checkout
        from ..etapp.inventory import commit_of, prompts_lacking

        folder, target = folder_of("source", source), file_of("out", out) if out else None
        if target is not None:
            claim([target], inputs=[folder])
        checkout = Checkout(folder)
        found, lacking = checkout.source(), prompts_lacking(checkout)
        commit, counts = commit_of(checkout), f"{len(found.worlds)} users, {len(found.cases)} cases"
        tell(f"{source}: {counts}", commit, *found.notes, *lacking)
        if target is not None:
            degraded = {case.id: case.degraded for case in found.cases if case.degraded}
            lists = {"missing": checkout.missing(), "degraded": degraded, "sha256": checkout.hashes}
            own_json(target, {"source": found.sha256, "commit": commit, **lists, "prompts_lacking": lacking})

    def demo(self, out: str = "runs/etapp", source: str = "mini") -> None:
        """Let scripted agents (gold, null, random) act in the mini world: run, check and report, without a model.

        Args:
            out: folder for the episodes, the checks of each agent, report.json and report.md.
            source: mini, or mini-one-tool (the cases that fit a small context).
        """
        from ..etapp.demo import REPORT, as_table, demo

        folder = folder_of("out", out)
        content = demo(folder, str(source))
        tell(as_table(content["agents"]), folder / REPORT)

    def run(
        self,
        model: str,
        url: str,
        out: str,
        source: str = "mini",
        setting: str = "given",
        strategy: str = "fc",
        sandbox: str = "strict",
        trials: int = 1,
        cases: str = "all",
        turns: int = 20,
        temperature: float = 0.0,
        max_new_tokens: int = 1024,
        faults: float = 0.0,
        seed: int = 0,
        concurrency: int = 8,
        retries: int = 4,
        timeout: float = 300.0,
        wikipedia: str = "",
        prompts: str = "ours",
        embedder: str = "",
    ) -> None:
        """Let a served model act in all cases; the same command goes on where it stopped.

        The sandbox is strict unless another is named: every tool sees what other tools changed, and each case has a
        world of its own. The key of the server comes from OPENAI_API_KEY.

        Args:
            model: as the server calls it.
            url: of the OpenAI-compatible server, up to and with /v1.
            out: the file of episodes, JSON lines.
            source: mini, the world that comes with this package, mini-one-tool (its cases for a small context), or the
                folder of your checkout of ETAPP.
            setting: given (the tools are offered) or retrieval (the model has to find them).
            strategy: fc (function calls), react (calls as text) or e-react (key points first, then react).
            sandbox: strict, or reference (the published one, with its faults; its figures stand apart).
            trials: how often each case is run, for pass^k.
            cases: all, reasoning (the published subset for costly models), or a file with one id a line.
            turns: most replies in a case; the calls of the last are still executed.
            temperature: of the sampling; 0 takes the likeliest words.
            max_new_tokens: most tokens of one reply.
            faults: share of calls that fail as an unstable service does, for a test of robustness.
            seed: of faults and sampling; each further trial is sampled with the next.
            concurrency: cases at a time.
            retries: of a request after a failure that may pass.
            timeout: seconds of one request.
            wikipedia: JSON lines of title and text, for a checkout, which has no encyclopedia.
            prompts: ours, or checkout (the texts of your clone, with their example).
            embedder: of the search for tools, in the setting retrieval: a local copy of
                sentence-transformers/paraphrase-MiniLM-L3-v2, as published. Default: a search by words.
        """
        from dataclasses import replace

        from ..etapp.cases import chosen, open_source
        from ..etapp.checkout import Checkout
        from ..etapp.run import RunOptions, searching
        from ..etapp.run import run as run_all
        from ..etapp.served import served
        from ..etapp.strategies import Limits
        from ..etapp.wording import published
        from ..serving.infer.answers import check_out
        from ..serving.infer.server import ChatServer

        whole = {"trials": (trials, 1, _MOST), "turns": (turns, 1, _MOST), "concurrency": (concurrency, 1, _MOST)}
        whole |= {"max_new_tokens": (max_new_tokens, 1, _MOST_TOKENS), "retries": (retries, 0, _MOST)}
        real = {"temperature": (temperature, 0, 100), "faults": (faults, 0, 1), "timeout": (timeout, *_SECONDS)}
        refuse_numbers("etapp run", whole=whole | {"seed": (seed, 0, _MOST_SEED)}, real=real)
        target = file_of("out", out)
        options = RunOptions(
            setting=setting,  # type: ignore[arg-type]
            strategy=strategy,  # type: ignore[arg-type]
            sandbox=sandbox,
            trials=trials,
            limits=Limits(turns=turns),
            faults=faults,
            seed=seed,
            concurrency=concurrency,
            embedder=str(embedder),
        )
        world = open_source(str(source), str(wikipedia))
        if prompts not in _PROMPTS or (prompts == "checkout" and not world.folder):
            raise OptionError(f"--prompts {prompts}: choose ours or, with a checkout as --source, checkout.")
        if prompts == "checkout":
            options = replace(options, wording=published(Checkout(Path(world.folder))))
        asked = chosen(world, str(cases))
        check_out(target)
        if embedder:
            options = searching(options, folder_of("embedder", embedder))
        modes = f"sandbox {sandbox}, tools {setting}, strategy {strategy}"
        tell(f"{modes}: {len(asked)} cases, {trials} times each", is_note=True)
        if trials > 1 and not temperature:
            tell("--temperature 0: trials may all be the same; pass^k tells more of a sampled model", is_note=True)
        server = ChatServer(str(url), str(model), retries, timeout)
        try:
            server.check()
            ask = served(server, max_new_tokens, temperature, seed, stops=sandbox != "reference")
            settings = {"served_model": str(model), "temperature": temperature, "max_new_tokens": max_new_tokens}
            tell(run_all(world, asked, ask, settings, options, target))
        finally:
            server.close()

    def check(self, predictions: str, source: str = "mini", out: str = "") -> None:
        """Check what agents did against what should have happened; no model is asked.

        Args:
            predictions: the file that `etapp run` wrote.
            source: where its cases come from, as in `etapp run`.
            out: the report, JSON; the verdicts of all cases land beside it. Default: beside the predictions.
        """
        from .etapp_scoring import check

        check(predictions, str(source), out)

    def judge(
        self,
        predictions: str,
        source: str = "mini",
        mode: str = "strict",
        samples: int = 1,
        limit: int = 0,
        concurrency: int = 8,
        estimate: bool = False,
        out: str = "",
        prompts: str = "ours",
        min_procedure: float = 4,
        min_personalization: float = 4,
        min_proactivity: float = 3,
    ) -> None:
        """Ask a judge how well each case went: procedure, personalisation, proactivity, with key points.

        The endpoint comes from LLAMAFACTORY_EXT_JUDGE_URL, _MODEL, _KEY and _PRICES. Replies are kept beside the
        report, and the same command goes on where it stopped.

        Args:
            predictions: the file that `etapp run` wrote.
            source: where its cases come from, as in `etapp run`.
            mode: how replies are read: strict, or official (as the published code does, quirks included).
            samples: how often each case is judged, for the judge's spread.
            limit: judge so many cases alone; 0 for all.
            concurrency: requests at a time.
            estimate: only tell what it would take.
            out: the report, JSON; the verdicts of all cases land beside it. Default: beside the predictions, under a
                name of its own for another mode or prompt. No report of another judge, or on more cases, is replaced.
            prompts: ours, or checkout (the published judge's text, of your clone as --source).
            min_procedure: least final score of an episode that counts as good.
            min_personalization: least final score of an episode that counts as good.
            min_proactivity: least final score of an episode that counts as good.
        """
        from .etapp_scoring import judge

        least = (min_procedure, min_personalization, min_proactivity)
        whole = {"samples": (samples, 1, _MOST), "concurrency": (concurrency, 1, _MOST), "limit": (limit, 0)}
        refuse_numbers("etapp judge", whole=whole, real=dict(zip(_LEAST, ((one, 0, 5) for one in least), strict=True)))
        only_estimate = switch("estimate", estimate)
        judge(predictions, str(source), mode, samples, limit, concurrency, only_estimate, out, prompts, least)

    def agree(self, human: str, verdicts: str) -> None:
        """Compare the judge's final scores with people's.

        Args:
            human: JSON lines with "id", "procedure", "personalization" and "proactivity", each 0 to 5.
            verdicts: the verdicts that `etapp judge` wrote beside its report.
        """
        from ..etapp.agreement import agreement

        tell(agreement(file_of("human", human), file_of("verdicts", verdicts)))

    def report(self, *runs: str, source: str = "mini", out: str = "runs/etapp_report") -> None:
        """Put runs side by side: figures with intervals, paired differences, every trajectory, as one page.

        Args:
            runs: [NAME=]FILE that `etapp run` wrote; the reports of judges beside it belong to it.
            source: where the cases come from, as in `etapp run`.
            out: folder for report.md, report.json and report.html.
        """
        from .etapp_scoring import report

        report([str(word) for word in runs], str(source), out)

    def split(self, out: str, train: int, source: str = "mini", seed: int = 0, by: str = "instruction") -> None:
        """Divide the cases by instruction or by user, for training on some and testing on others.

        Args:
            out: folder for train.txt and test.txt, ids one a line, as `etapp run --cases` takes them.
            train: how many instructions, or users, are for training.
            source: where the cases come from, as in `etapp run`.
            seed: of the draw.
            by: instruction (both parts have all users) or user (both parts have all instructions).
        """
        from ..checkpoint.own import claim, claim_plain
        from ..etapp.cases import open_source
        from ..etapp.export import split, write_lists

        refuse_numbers("etapp split", whole={"train": (train, 1), "seed": (seed, 0, _MOST_SEED)}, real={})
        folder = folder_of("out", out)
        paths = [folder / "train.txt", folder / "test.txt"]
        claim_plain(folder)
        claim(paths)
        parts = split(open_source(str(source)), train, seed, str(by))
        write_lists(paths, parts)
        for path, ids in zip(paths, parts, strict=True):
            tell(f"{path}: {len(ids)} cases")

    def export_sft(
        self,
        predictions: str,
        out: str,
        source: str = "mini",
        verdicts: str = "",
        min_procedure: float = 4,
        min_personalization: float = 4,
        min_proactivity: float = 3,
        checks: str = "pass",
        no_thought: bool = False,
        cases: str = "all",
        held_out: str = "",
    ) -> None:
        """Write training data of good episodes, with their entry in dataset_info.json beside it.

        Args:
            predictions: the file that `etapp run` wrote.
            out: the data file, such as data/etapp_sft.json.
            source: where the cases come from, as in `etapp run`.
            verdicts: the verdicts that `etapp judge` wrote beside its report; without it no scores count.
            min_procedure: least final score of the judge.
            min_personalization: least final score of the judge.
            min_proactivity: least final score of the judge.
            checks: pass (every condition of a case holds) or any.
            no_thought: leave out what the model says before its calls.
            cases: export these alone: all, reasoning, or a file with one id a line.
            held_out: list of cases for testing, none of which may be exported.
        """
        from .etapp_scoring import export_sft

        least = (min_procedure, min_personalization, min_proactivity)
        real = dict(zip(_LEAST, ((one, 0, 5) for one in least), strict=True))
        refuse_numbers("etapp export-sft", whole={}, real=real)
        bare = switch("no_thought", no_thought)
        export_sft(predictions, out, str(source), verdicts, least, str(checks), bare, str(cases), held_out)

    def serve(
        self,
        source: str = "mini",
        setting: str = "given",
        host: str = "127.0.0.1",
        port: int = 8010,
        wikipedia: str = "",
    ) -> None:
        """Serve the worlds over HTTP, for agents of other programs; the header X-Case names the case.

        Args:
            source: where the cases come from, as in `etapp run`.
            setting: given or retrieval.
            host: address to listen at; there is no password, so keep it to this machine.
            port: to listen at; 0 takes a free one.
            wikipedia: JSON lines of title and text, for a checkout, which has no encyclopedia.
        """
        from ..etapp.cases import open_source
        from ..etapp.serve import make_server

        refuse_numbers("etapp serve", whole={"port": (port, 0, 65535)}, real={})
        server = make_server(open_source(str(source), str(wikipedia)), str(setting), str(host), port)
        bound = server.server_address[1]
        tell(f"http://{host}:{bound}: POST {{name, arguments}} with the header X-Case; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()
