"""Asks ToolAlpaca's own agent and evaluation script, in their own process.

`python published_toolalpaca.py CHECKOUT parse TEXTS` prints, for each text of a JSON list, [action, input] as read by
the agent, or null where it reads no action. `... judge CASES` runs the evaluation script once for each case, an API in
its form with the judge's reply under "reply"; prints for each [prompt or null, "P and R" as it read them or null where
it stops]. Stands in for langchain's classes and for the endpoint.
"""

import contextlib
import importlib.util
import io
import json
import runpy
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any


def stand_in(name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


def parsed(checkout: Path, texts: list[str]) -> list[Any]:
    stand_in("langchain")
    stand_in("langchain.agents")
    stand_in("langchain.agents.agent", AgentOutputParser=object)
    stand_in("langchain.schema", AgentAction=lambda *read: read[:2], AgentFinish=lambda *_: None)
    spec = importlib.util.spec_from_file_location("custom_parser", checkout / "agent" / "custom_parser.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser, found = module.CustomMRKLOutputParser(), []
    for text in texts:
        try:
            found.append(parser.parse(text))
        except ValueError:
            found.append(None)
    return found


def judged(checkout: Path, case: dict[str, Any], folder: Path) -> tuple[str | None, list[str] | None]:
    asked: list[str] = []

    def endpoint(messages: list[dict[str, str]], **_: Any) -> Any:
        asked.append(messages[0]["content"])
        return {"choices": [{"message": {"content": case["reply"]}}]}

    stand_in("utils", openai_chat_completions=endpoint)
    (folder / "api.json").write_text(json.dumps([case]), encoding="utf-8")
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    words = ["-temp", str(checkout / "prompts" / "Evaluation.txt"), "-api", str(folder / "api.json"), "-out", str(out)]
    sys.argv = ["evaluation.py", *words]
    try:
        runpy.run_path(str(checkout / "evaluation.py"), run_name="__main__")
    except KeyError:
        return asked[0], None
    (made,) = json.loads(out.read_text("utf-8"))[case["Name"]]
    words = [made.get("process_correctness", ""), made.get("final_response_correctness", "")]
    return (asked[0] if asked else None), words


def main(checkout: str, what: str, file: str) -> None:
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    given = json.loads(Path(file).read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        if what == "parse":
            found: list[Any] = parsed(Path(checkout), given)
        else:
            found = [judged(Path(checkout), case, Path(folder)) for case in given]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
