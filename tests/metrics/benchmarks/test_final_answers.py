"""What a chat reply gives as its answer: numbers in all dresses, a few words, code between prose."""

import textwrap
import time
from typing import Any

import pytest

from llamafactory_ext.metrics.benchmarks.chat_code import complete
from llamafactory_ext.metrics.benchmarks.final_answers import final_number, short_answers
from llamafactory_ext.metrics.thoughts import final_text

pytestmark = pytest.mark.fast

NUMBERS = [
    *("70,000", "70'000", "70’000", "70\u2009000", "70\u202f000", "70\u00a0000", "70 000", "70{,}000", r"70\,000"),
    *(
        "７００００",
        "７０，０００",
        "7e4",
        "7E+4",
        "7 x 10^4",
        r"7 \times 10^{4}",
        "70000.00",
        "70k",
        "$70,000",
        r"\$70{,}000",
    ),
    *("70,000 dollars", "70,000 km/h", "70000%"),
]
FRAMES = [
    *("{}", "#### {}", "So we have 3 and 5.\n#### {}\n\nProblem: Tom has 5 apples.", "#### {} as 2 and 3 show"),
    *(
        r"\boxed{{{}}}",
        r"The answer is \(\boxed{{{}}}\), in 4 steps.",
        r"\boxed{{x = {}}}",
        "**{}**",
        "The answer is **{}**.",
    ),
    *("The answer is {}. That took 4 steps.", "**Answer:** {}", "Final answer: {}", "35 * 2000 = {}"),
    *("<think>Perhaps #### 5.</think>It is {}", "<think>\n\\boxed{{5}}\n</think>\n\n{}", "a draft: 5</think>{}"),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(number: str, frame: str) -> None:
    assert final_number(frame.format(number)) == 70_000


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("- 5 apples", 5),
        ("#### -5", -5),
        ("It is −5.", -5),
        ("The answer is 7 (35% of 20).", 7),
        ("He has 7 apples (3 + 4).", 7),
        ("**Step 2:** 3 + 4 = 7. So he has 8.", 8),
        ("<think>It is 5", None),
        ("none", None),
        ("1,23,456", 123_456),
        ("0.5", 0.5),
        # Raised and lowered digits, and those in circles, are no digits of a number.
        ("18 m².", 18),
        ("18 m^2", 18),
        ("18 m^{2}", 18),
        ("18 ㎡", 18),
        ("18 m³ per s⁻¹", 18),
        ("#### 18²", 18),
        ("#### 18¹", 18),
        ("#### 18①", 18),
        ("It takes 18 H₂O", 18),
        ("x₁ = 18", 18),
        ("7 × 10⁴", 70_000),
        ("5 x 10⁻¹", 0.5),
        ("5²", 5),
        ("#### 5½", 5.5),
        ("#### 5 ½", 5.5),
        ("#### 1,205¾ kg", 1205.75),
        ("½", 0.5),
        ("#### -½", -0.5),
        ("5½ m²", 5.5),
        ("𝟏𝟖", 18),
        ("１８", 18),
        # A mark without a number leaves it to the one before, headings apart.
        ("#### 18\n\nLet me verify: 9*2 #### ok", 18),
        ("#### 18\n#### ok\n#### done", 18),
        ("#### $18\nCheck: 9 * 3 = 27 ####", 18),
        ("#### **18** eggs\n####\n", 18),
        ("#### 5\n#### 18", 18),
        (r"\boxed{5}" "\n#### 18\n#### ok", 18),
        ("#### 1. Eggs\n9 * 2 = 18\n#### End", 18),
        ("#### Step 1\n9 * 2 = 18\n#### End", 18),
    ],
)
def test_other_numbers(reply: str, number: float | None) -> None:
    assert final_number(reply) == number


@pytest.mark.parametrize(
    "reply",
    [
        *(
            "Paris",
            "The answer is: **Paris**.",
            "**Paris**",
            "Answer: Paris",
            "**Answer:** Paris",
            "\n\nParis\nQ: next",
        ),
        *(
            "<think>Rome</think>Paris",
            "The answer is Rome</think>\n\nParis",
            "The answer is Paris. It lies in France.",
        ),
        *(
            "Final answer:\nParis",
            r"\boxed{\text{Paris}}",
            'The correct answer is "Paris".',
            "The capital is **Paris**.",
        ),
        *("Let me see.\nThe answer is Paris", "<think>\nhm\n</think>\n\nParis."),
    ],
)
def test_short_answers(reply: str) -> None:
    assert "Paris" in [words.rstrip(".!") for words in short_answers(reply)]


@pytest.mark.parametrize("reply", ["Paris, France", "<think>Paris</think>Rome", "<think>Paris", "I do not know Paris"])
def test_no_short_answer(reply: str) -> None:
    assert "Paris" not in [words.rstrip(".!") for words in short_answers(reply)]


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("b<think>a", "b"),
        ("<Thinking>a</Thinking>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "b"),
        ("```\n'<think>'\n```", "```\n'<think>'\n```"),
        ("a < b", "a < b"),
    ],
)
def test_thoughts(text: str, final: str) -> None:
    assert final_text(text) == final


PROMPT = (
    'from typing import List\n\n\ndef add(a: int, b: int) -> int:\n    """Add.\n    >>> add(1, 2)\n    3\n    """\n'
)
WHOLE = "def add(a: int, b: int) -> int:\n    total = a + b\n    if total:\n        total = total\n    return total\n"
BODY = WHOLE.partition("\n")[2]
FLAT = textwrap.dedent(BODY)
WRONG = "def add(a, b):\n    return a - b\n"
ANSWERS = {
    "body": BODY,
    "body without the first blanks": BODY.lstrip(),
    "unindented body": FLAT,
    "body, then prose": f"{BODY}\nThis adds both.\nDone",
    "prose, then body": f"The body is:\n{BODY}\nThat is it.",
    "whole": WHOLE,
    "whole in prose": f"Sure! Here it is:\n\nimport math\n{WHOLE}\nThis adds both.\nDone",
    "whole after prose on its line": f"Sure! {WHOLE}",
    "prompt again": PROMPT + BODY,
    "decorated": f"import functools\n\n@functools.cache\n{WHOLE}",
    "fenced body": f"```python\n{BODY}```",
    "fenced unindented body": f"```\n{FLAT}```",
    "bash first": f"```bash\npip install x\n```\nThen\n```python\n{WHOLE}```",
    "usage first": f"```python\nadd(1, 2)  # 3\n```\n```python\n{WHOLE}```",
    "usage last": f"```python\n{WHOLE}```\nUsage:\n```python\nprint(add(1, 2) + 'x')\n```\n```\n3\n```",
    "ruby first": f"```ruby\ndef add(a, b)\n  a - b\nend\n```\n```\n{WHOLE}```",
    "draft, then final": f"```python\n{WRONG}```\nNo:\n```python\n{WHOLE}```",
    "draft in a thought": f"<think>\n```python\n{WRONG}```\n</think>\n```python\n{WHOLE}```",
    "draft before a closing tag": f"```python\n{WRONG}```\n</think>\n{WHOLE}",
    "draft in a thought, then a body": f"<think>{WRONG}</think>\n{BODY}",
    "unclosed": f"Here:\n```python\n{WHOLE}",
    "closed on a line of code": f"```python\n{WHOLE.rstrip()}```",
    "opened in prose": f"Code: ```python\n{WHOLE}```",
    "in a list": "1. Code:\n\n" + textwrap.indent(f"```python\n{WHOLE}```", "   "),
    "after a tab": "- x\n" + textwrap.indent(f"```py\n{WHOLE}```", "\t"),
    "quoted": textwrap.indent(f"```python\n{WHOLE}```", "> ", lambda line: True),
    **{
        f"fence {opening!r}": f"{opening}\n{WHOLE}{closing}"
        for opening, closing in (
            *((f"```{said}", "```") for said in ("python3", "py", "Python", " python", "python3.11", "{.python .x}")),
            ('```python title="a.py"', "```"),
            ("```python:a.py", "```"),
            ("~~~python", "~~~"),
            ("~~~", "~~~"),
            ("````python", "````"),
        )
    },
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ANSWERS)
def test_code(name: str, line_end: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(complete(ANSWERS[name].replace("\n", line_end), PROMPT, "add"), name, "exec"), names)
    assert names["add"](1, 2) == 3


@pytest.mark.parametrize("answer", [f"<think>\n```python\n{WHOLE}```", f"```ruby\n{WRONG}```"])
def test_no_code(answer: str) -> None:
    assert "total" not in complete(answer, PROMPT, "add")


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "answer to ", "#### ", "9 ", "**", "(= ", "-", "<think>", "```\n", "def add(", "~~~ x\n"]
)
def test_long_replies_are_read_quickly(piece: str) -> None:
    start = time.process_time()
    final_number(piece * 3_000)
    short_answers(piece * 3_000)
    complete(piece * 3_000, PROMPT, "add")
    assert time.process_time() - start < 5
