"""A judge or a teacher: any endpoint of OpenAI's chat completions, asked once per prompt and never twice.

Every reply is appended to a log as soon as it is there, so that an interrupted run goes on where it stopped and the
same predictions get the same figures again. The key comes from the environment and is in no log and no message.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..checkpoint.own import refuse_special, same_file
from ..errors import DataError, OptionError
from ..foreign import Answer, ForeignError, clean_key, count_of, exchange, hide, new_client, shown, shown_url

if TYPE_CHECKING:
    import httpx

_PREFIX = "LLAMAFACTORY_EXT_{}_"
_RETRIED = (408, 409, 425, 429)
_MOST_PRICE = 1_000_000  # dollars per million tokens; more is a slip of the hand
_SECONDS = 300.0  # for one reply, whole
_LONGEST_WAIT = 60.0
_FIRST_BYTES = b'{"key": "'  # of every line of a log


@dataclass(frozen=True)
class JudgeOptions:
    """Where the judge is and how it is asked.

    Attributes:
        url: the endpoint's base, such as https://api.openai.com/v1.
        model: its name there.
        key: sent as bearer token; "" sends none.
        temperature: 0.2 in ToolAlpaca's evaluation.
        max_tokens: of a reply.
        attempts: on failures that may pass: no connection, time-outs, 408, 409, 425, 429 and 5xx.
        prices: US dollars per million prompt and completion tokens; None leaves the cost out.
        who: what messages and the environment's variables call it: judge or teacher.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    temperature: float = 0.2
    max_tokens: int = 2048
    attempts: int = 7
    prices: tuple[float, float] | None = None
    who: str = "judge"

    @classmethod
    def from_environment(cls, who: str = "judge") -> JudgeOptions:
        """Make it from LLAMAFACTORY_EXT_JUDGE_URL, _MODEL, _KEY, and, for the cost, _PRICES ("2.5,10").

        Args:
            who: stands in the variables' names in place of JUDGE.

        Raises:
            OptionError: names every variable that is missing or malformed.
        """
        prefix = _PREFIX.format(who.upper())
        url, model = (os.environ.get(prefix + name, "").strip() for name in ("URL", "MODEL"))
        problems = []
        if urlsplit(url).scheme not in ("http", "https"):
            problems.append(f"{prefix}URL: set it to the endpoint's base, such as https://api.openai.com/v1")
        if not model:
            problems.append(f"{prefix}MODEL: set it to the model's name, such as gpt-4-0613")
        prices = None
        try:
            prices = prices_from_environment(who)
        except OptionError as error:
            problems.append(error.message)
        if problems:
            raise OptionError.listing(f"The {who} cannot be asked:", problems)
        key = os.environ.get(prefix + "KEY", "")
        try:
            key = clean_key(key, f"{prefix}KEY")
        except ValueError as error:
            raise OptionError(f"The {who} cannot be asked: {error}.") from None
        return cls(url.rstrip("/"), model, key, prices=prices, who=who)


def prices_from_environment(who: str = "judge") -> tuple[float, float] | None:
    """Return LLAMAFACTORY_EXT_JUDGE_PRICES, or another's: dollars per million prompt and completion tokens.

    Args:
        who: names the variable.

    Returns:
        None where it is unset.

    Raises:
        OptionError: it holds something else.
    """
    variable = f"{_PREFIX.format(who.upper())}PRICES"
    told = os.environ.get(variable, "").strip()
    try:
        numbers = [float(price) for price in told.split(",")] if told else []
    except ValueError:
        numbers = [math.nan]
    if len(numbers) not in (0, 2) or not all(0 <= price <= _MOST_PRICE for price in numbers):
        raise OptionError(
            f"{variable}: write two numbers up to {_MOST_PRICE:,}, dollars per million prompt and completion tokens, "
            "such as 2.5,10"
        )
    return (numbers[0], numbers[1]) if numbers else None


@dataclass(frozen=True)
class _Reply:
    text: str
    prompt_tokens: int
    completion_tokens: int


class Judge:
    """Asks, remembers, counts.

    Attributes:
        options: as given.
        log: the file of replies.
    """

    def __init__(self, options: JudgeOptions, log: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self.options = options
        self.log = log
        hide(options.key)
        self._sleep = sleep
        self._known = _read_log(log)
        self._used: dict[str, _Reply] = {}
        self._asked = 0
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        if find_spec("httpx") is None:
            raise OptionError(f"The {options.who} needs the package httpx; run `pip install httpx`.")

    def ask(self, prompt: str, attempt: int = 0) -> str:
        """Return the judge's reply to a prompt, from the log if it is there; several threads may ask.

        Args:
            prompt: what the judge reads.
            attempt: a further reply to the same prompt, such as after one that could not be read.

        Raises:
            OptionError: the endpoint refuses or stays silent; what was answered is kept in the log.
        """
        settings = [self.options.model, self.options.temperature, self.options.max_tokens]
        content = json.dumps([*settings, prompt, *([attempt] if attempt else [])])
        key = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in self._known:
            reply = self._request(prompt)
            with self._lock:
                if key not in self._known:  # another thread may have asked the same
                    self._asked += 1
                    self._keep(key, reply)
        with self._lock:
            self._used[key] = self._known[key]
        return self._known[key].text

    def _keep(self, key: str, reply: _Reply) -> None:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, **reply.__dict__}) + "\n")
        except OSError as error:
            raise DataError(
                f"{self.log} cannot be written ({error.strerror or error}); make room, or check the permissions. "
                f"{len(self._known)} replies are kept; the same command goes on."
            ) from None
        self._known[key] = reply

    def summary(self) -> dict[str, Any]:
        """Return model, tokens and cost of all replies that were used, whenever they were given."""
        prompt = sum(reply.prompt_tokens for reply in self._used.values())
        completion = sum(reply.completion_tokens for reply in self._used.values())
        prices = self.options.prices
        cost = None if prices is None else (prompt * prices[0] + completion * prices[1]) / 1e6
        return {
            "model": self.options.model,
            "temperature": self.options.temperature,
            "replies": len(self._used),
            "asked_now": self._asked,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost_usd": cost,
        }

    def _request(self, prompt: str) -> _Reply:
        import httpx

        with self._lock:
            if self._client is None:
                self._client = new_client(_SECONDS)
        body = {
            "model": self.options.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.options.temperature,
            "max_tokens": self.options.max_tokens,
        }
        headers = {"Authorization": f"Bearer {self.options.key}"} if self.options.key else {}
        problem = ""
        for attempt in range(self.options.attempts):
            wait = min(_LONGEST_WAIT, 2.0**attempt)
            try:
                address = f"{self.options.url}/chat/completions"
                response = exchange(self._client, "POST", address, body=body, headers=headers, seconds=_SECONDS)
            except httpx.HTTPError as error:
                problem = type(error).__name__
            except ForeignError as error:
                problem = str(error)
            except (UnicodeError, httpx.InvalidURL):
                raise self._failure("its URL or key holds characters that cannot be sent") from None
            else:
                if response.status_code == 200:
                    return self._reply(response)
                problem = f"HTTP {response.status_code}: {self._excerpt(response.text)}"
                if response.status_code not in _RETRIED and response.status_code < 500:
                    raise self._failure(problem)
                wait = _asked_wait(response.headers.get("retry-after"), wait)
            if attempt + 1 < self.options.attempts:
                self._sleep(wait)
        raise self._failure(f"{self.options.attempts} attempts failed, the last with {problem}")

    def _reply(self, response: Answer) -> _Reply:
        try:
            record = response.json()
            text = record["choices"][0]["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
            usage = record.get("usage") or {}
            tokens = [count_of(usage.get(name)) or 0 for name in ("prompt_tokens", "completion_tokens")]
            return _Reply(text or "", *tokens)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            shown = self._excerpt(response.text)
            raise self._failure(f"this is no chat completion: {shown}; is the URL the endpoint's base?") from None

    def _excerpt(self, text: str) -> str:
        """Return the beginning of a server's words, without the key, which some echo."""
        return shown(text)

    def _failure(self, problem: str) -> OptionError:
        return OptionError(
            f"The {self.options.who} {self.options.model} at {shown_url(self.options.url)} gave no "
            f"{'verdict' if self.options.who == 'judge' else 'answer'} "
            f"({problem}). {len(self._known)} replies are kept in {self.log}; run the same command again to go on."
        )


def _asked_wait(stated: str | None, otherwise: float) -> float:
    try:
        return min(_LONGEST_WAIT, max(0.0, float(stated or "")))
    except ValueError:
        return otherwise


def claim_log(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Make sure, before any work, that a log may be written: it is not there, or holds such replies alone.

    Raises:
        OptionError: it is read by the command, a folder, or a file of somebody else.
    """
    if any(same_file(path, source) for source in inputs):
        raise OptionError(f"{path}, the log of replies, is read by this command; name another --out.")
    if path.is_dir():
        raise OptionError(f"{path}, the log of replies, is a folder; name another --out.")
    try:
        _parse_log(path)
    except DataError as error:
        raise OptionError(f"{error.message} Nothing was written; or name another --out.") from None


def _read_log(path: Path) -> dict[str, _Reply]:
    """Return replies so far; a cut last line is cut off, so that the next one is whole."""
    known, cut = _parse_log(path)
    if cut is not None:
        with path.open("r+b") as file:
            file.truncate(cut)
    return known


def _parse_log(path: Path) -> tuple[dict[str, _Reply], int | None]:
    """Return the replies and, where the last line is a cut reply, where it begins; the file stays as it is."""
    known: dict[str, _Reply] = {}
    refuse_special(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); move it away.") from None
    start = content.rfind(b"\n") + 1
    for number, line in enumerate(content[:start].split(b"\n")[:-1], start=1):
        try:
            record: Mapping[str, Any] = json.loads(line.decode("utf-8"))
            reply = _Reply(str(record["text"]), int(record["prompt_tokens"]), int(record["completion_tokens"]))
            known[record["key"]] = reply
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: no reply of a judge or a teacher ({shown(str(error))}); delete the "
                "line, or move the file away."
            ) from None
    last = content[start:]
    if last and not (_FIRST_BYTES.startswith(last) or (last.startswith(_FIRST_BYTES) and not _is_whole(last))):
        raise DataError(f"{path}: its last line is no reply of a judge or a teacher; move the file away.")
    return known, start if last else None


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
