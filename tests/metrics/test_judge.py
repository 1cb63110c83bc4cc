"""The judge client: retries, resuming, counting, and a key that is seen nowhere."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics.judge import Judge, JudgeOptions
from metrics.judge_stub import YES, Stub, judge_stub

pytestmark = pytest.mark.fast

KEY = "sk-very-secret"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with judge_stub() as stub:
        yield stub


@pytest.fixture
def waits() -> list[float]:
    return []


def judge(stub: Stub, log: Path, waits: list[float] | None = None, attempts: int = 4) -> Judge:
    options = JudgeOptions(stub.url, "judge-1", KEY, attempts=attempts, prices=(10.0, 20.0))
    return Judge(options, log, (waits if waits is not None else []).append)


def test_asks_once_and_resumes(stub: Stub, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    first = judge(stub, log)
    assert [first.ask("a"), first.ask("b"), first.ask("a")] == [YES] * 3
    assert len(stub.bodies) == 2
    with log.open("a", encoding="utf-8") as file:
        file.write('{"key": "cut')
    second = judge(stub, log)
    assert (second.ask("a"), second.ask("c")) == (YES, YES)
    assert len(stub.bodies) == 3
    assert judge(stub, log).ask("c") == YES
    assert len(log.read_text("utf-8").splitlines()) == 3
    summary = second.summary()
    assert (summary["replies"], summary["asked_now"], summary["prompt_tokens"]) == (2, 1, 200)
    assert summary["cost_usd"] == pytest.approx((200 * 10 + 20 * 20) / 1e6)


def test_what_is_sent(stub: Stub, tmp_path: Path) -> None:
    judge(stub, tmp_path / "log").ask("the prompt")
    (body,) = stub.bodies
    assert (body["path"], body["model"], body["temperature"]) == ("/v1/chat/completions", "judge-1", 0.2)
    assert body["messages"] == [{"role": "user", "content": "the prompt"}]
    assert stub.keys == [f"Bearer {KEY}"]


def test_retries_with_back_off(stub: Stub, tmp_path: Path, waits: list[float]) -> None:
    stub.answers = [(429, "", {"Retry-After": "7"}), (503, "", {}), (500, "", {"Retry-After": "soon"}), YES]
    assert judge(stub, tmp_path / "log", waits).ask("a") == YES
    assert waits == [7.0, 2.0, 4.0]


def test_gives_up_and_says_what_was_kept(stub: Stub, tmp_path: Path, waits: list[float]) -> None:
    stub.answers = [YES, (503, f"overloaded, {KEY}", {})]
    asked = judge(stub, tmp_path / "log", waits)
    asked.ask("a")
    with pytest.raises(OptionError) as caught:
        asked.ask("b")
    assert all(words in caught.value.message for words in ("4 attempts failed", "HTTP 503", "1 replies are kept"))
    assert waits == [1.0, 2.0, 4.0]
    assert KEY not in caught.value.message


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, f'{{"error": "bad key {KEY}"}}', {}), "HTTP 401"),
        ((404, "no such model", {}), "no such model"),
        ((200, "<html>hello</html>", {}), "no chat completion"),
        ((200, '{"choices": []}', {}), "no chat completion"),
    ],
)
def test_refusals_are_not_retried(
    stub: Stub, tmp_path: Path, waits: list[float], answer: tuple[int, str, dict[str, str]], words: str
) -> None:
    stub.answers = [answer]
    with pytest.raises(OptionError, match=words) as caught:
        judge(stub, tmp_path / "log", waits).ask("a")
    assert (len(stub.bodies), waits) == (1, [])
    assert KEY not in caught.value.message


def test_no_server(stub: Stub, tmp_path: Path, waits: list[float]) -> None:
    options = JudgeOptions("http://user:password@127.0.0.1:1/v1", "judge-1", KEY, attempts=2)
    with pytest.raises(OptionError, match="ConnectError") as caught:
        Judge(options, tmp_path / "log", waits.append).ask("a")
    assert "password" not in caught.value.message


def test_the_key_is_seen_nowhere(stub: Stub, tmp_path: Path) -> None:
    asked = judge(stub, tmp_path / "log")
    asked.ask("a")
    assert KEY not in (tmp_path / "log").read_text("utf-8")
    assert KEY not in repr(asked.options)
    assert KEY not in str(asked.summary())


def test_a_damaged_log_is_named(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"key": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="log, line 1"):
        judge(stub, tmp_path / "log")


def test_options_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "MODEL", "KEY", "PRICES"):
        monkeypatch.delenv(f"LLAMAFACTORY_EXT_JUDGE_{name}", raising=False)
    with pytest.raises(OptionError) as caught:
        JudgeOptions.from_environment()
    assert "JUDGE_URL" in caught.value.message
    assert "JUDGE_MODEL" in caught.value.message
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_URL", "http://localhost:8000/v1/")
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_MODEL", "m")
    monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_PRICES", "2.5, 10")
    assert JudgeOptions.from_environment() == JudgeOptions("http://localhost:8000/v1", "m", prices=(2.5, 10.0))
    for wrong in ("2.5", "a,b"):
        monkeypatch.setenv("LLAMAFACTORY_EXT_JUDGE_PRICES", wrong)
        with pytest.raises(OptionError, match="two numbers"):
            JudgeOptions.from_environment()
