"""`llamafactory-ext etapp ...`: personalised, proactive tool use (ETAPP)."""

from __future__ import annotations

from pathlib import Path

from ..errors import OptionError


class Etapp:
    """ETAPP: run agents in the world of a user, check what they did, judge how they did it."""

    def cases(self, source: str = "mini", show: str = "") -> None:
        """List the cases, or show one of them.

        Args:
            source: mini, the world that comes with this package.
            show: the id of a case, to see its request, tools, key points and checks.
        """
        from ..etapp.listing import listed, shown

        print(shown(str(source), str(show)) if show else listed(str(source)))

    def demo(self, out: str = "runs/etapp") -> None:
        """Let scripted agents (gold, null, random) act in the mini world: run, check and report, without a model.

        Args:
            out: folder for the episodes, the checks of each agent, report.json and report.md.
        """
        from ..etapp.demo import REPORT, as_table, demo

        content = demo(Path(str(out)))
        print(as_table(content["agents"]))
        print(Path(str(out)) / REPORT)

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
    ) -> None:
        """Let a served model act in all cases; the same command goes on where it stopped.

        The sandbox is strict unless another is named: every tool sees what other tools changed, and each case has a
        world of its own. The key of the server comes from OPENAI_API_KEY.

        Args:
            model: as the server calls it.
            url: of the OpenAI-compatible server, up to and with /v1.
            out: the file of episodes, JSON lines.
            source: mini, the world that comes with this package.
            setting: given (the tools are offered) or retrieval (the model has to find them).
            strategy: fc (function calls), react (calls as text) or e-react (key points first, then react).
            sandbox: strict.
            trials: how often each case is run, for pass^k.
            cases: all, reasoning (the published subset for costly models), or a file with one id a line.
            turns: most replies in a case; the calls of the last are still executed.
            temperature: of the sampling; 0 takes the likeliest words.
            max_new_tokens: most tokens of one reply.
            faults: share of calls that fail as an unstable service does, for a test of robustness.
            seed: of faults and sampling.
            concurrency: cases at a time.
            retries: of a request after a failure that may pass.
            timeout: seconds of one request.
        """
        from ..etapp.cases import chosen, open_source
        from ..etapp.run import RunOptions
        from ..etapp.run import run as run_all
        from ..etapp.served import served
        from ..etapp.strategies import Limits
        from ..serving.infer.server import ChatServer

        numbers = {"trials": trials, "turns": turns, "max_new_tokens": max_new_tokens, "concurrency": concurrency}
        wrong = [f"--{name} {value} is no whole number" for name, value in numbers.items() if type(value) is not int]
        shares = {"temperature": temperature, "faults": faults, "timeout": timeout}
        wrong += [f"--{n} {v} is no number" for n, v in shares.items() if type(v) not in (int, float) or v < 0]
        if wrong:
            raise OptionError.listing("etapp run:", wrong)
        options = RunOptions(
            setting=setting,  # type: ignore[arg-type]
            strategy=strategy,  # type: ignore[arg-type]
            sandbox=sandbox,
            trials=trials,
            limits=Limits(turns=turns),
            faults=faults,
            seed=seed,
            concurrency=concurrency,
        )
        world = open_source(str(source))
        asked = chosen(world, str(cases))
        server = ChatServer(str(url), str(model), retries, timeout)
        try:
            server.check()
            ask = served(server, max_new_tokens, temperature, seed)
            settings = {"served_model": str(model), "temperature": temperature, "max_new_tokens": max_new_tokens}
            print(run_all(world, asked, ask, settings, options, Path(str(out))))
        finally:
            server.close()

    def check(self, predictions: str, source: str = "mini", out: str = "") -> None:
        """Check what agents did against what should have happened; no model is asked.

        Args:
            predictions: the file that `etapp run` wrote.
            source: where its cases come from: mini.
            out: the report, JSON; the verdicts of all cases land beside it. Default: beside the predictions.
        """
        from rich.console import Console

        from ..checkpoint.own import claim
        from ..etapp.cases import open_source
        from ..etapp.checking import read_acted, report_of
        from ..metrics.report import verdicts_path, write_report
        from .score import show

        path = Path(str(predictions))
        target = Path(str(out)) if out else path.with_name(f"{path.stem}.check.json")
        claim([target, verdicts_path(target)], inputs=[path])
        world = open_source(str(source))
        file, acted = read_acted(world, path)
        report = report_of(world, file, acted, len(world.cases))
        write_report(report, target)
        show(report, Console())
        print(f"{target}\n{verdicts_path(target)}")
