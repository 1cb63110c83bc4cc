"""Asks RoTBench's own evaluator, in its own process: `python published_rotbench.py CHECKOUT ANSWERS`.

ANSWERS is a JSON file of [file of the checkout, place in it, answer]; prints for each [TS, PI, CF] as 0 or 1, or null
where the published script stops with an exception.
"""

import contextlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from typing import Any


def figures(published: Any, record: Any, text: str) -> list[int] | None:
    turns = [*record["conversations"][:-1], {"from": "assistant", "value": text}]
    found = []
    for judge in (published.ts_eval, published.pi_eval, published.cf_eval):
        published.check_list, published.cata_list = [], [[]] * 7
        try:
            judge([{**record, "conversations": turns}], [record])
        except Exception:
            return None
        found.append(published.check_list[0][0])
    return found


def main(checkout: str, answers_file: str) -> None:
    spec = importlib.util.spec_from_file_location("evaluate", Path(checkout, "Code", "Evaluation", "evaluate.py"))
    assert spec is not None
    assert spec.loader is not None
    published = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(published)
    files: dict[str, Any] = {}
    found = []
    with contextlib.redirect_stdout(io.StringIO()):
        for file, place, text in json.loads(Path(answers_file).read_text("utf-8")):
            if file not in files:
                files[file] = json.loads(Path(checkout, file).read_text("utf-8"))
            found.append(figures(published, files[file][place], text))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
