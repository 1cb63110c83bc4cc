"""Two general abilities of the world: arithmetic word problems and small programs."""

from random import Random

from . import words
from .example import Example


def math(rng: Random) -> Example:
    """Return an arithmetic word problem, solved in steps; the numbers and the operations are its identity."""
    who, other = rng.sample(words.PEOPLE, 2)
    goods = rng.choice(words.GOODS)
    kind = rng.choice(("add", "sub", "mul", "addsub", "muladd", "mulsub"))
    if kind in ("add", "sub", "addsub"):
        x, y = rng.randint(2, 25), rng.randint(2, 15)
        if kind == "sub" and y > x:
            x, y = y, x
    else:
        x, y = rng.randint(2, 9), rng.randint(2, 9)
    more = rng.choice((f"{who} gets {{}} more", f"{who} buys {{}} {goods}", f"{other} gives {who} {{}} {goods}"))
    less = rng.choice((f"{who} loses {{}} of them", f"{who} sells {{}} {goods}", f"{who} gives {{}} to {other}"))
    each = rng.choice((f"{who} has {x} boxes with {y} {goods} each", f"{x} bags of {who} hold {y} {goods} each"))
    first = rng.choice((f"{who} has {x} {goods}", f"{who} finds {x} {goods}"))
    if kind == "add":
        told, steps, total = [first, more.format(y)], [f"{x}+{y}={x + y}"], x + y
    elif kind == "sub":
        told, steps, total = [first, less.format(y)], [f"{x}-{y}={x - y}"], x - y
    elif kind == "mul":
        z, told, steps, total = 0, [each], [f"{x}*{y}={x * y}"], x * y
    elif kind == "addsub":
        z = rng.randint(2, min(x + y, 15))
        told, total = [first, more.format(y), less.format(z)], x + y - z
        steps = [f"{x}+{y}={x + y}", f"{x + y}-{z}={total}"]
    elif kind == "muladd":
        z = rng.randint(2, 15)
        told, total = [each, more.format(z)], x * y + z
        steps = [f"{x}*{y}={x * y}", f"{x * y}+{z}={total}"]
    else:
        z = rng.randint(2, min(x * y, 15))
        told, total = [each, less.format(z)], x * y - z
        steps = [f"{x}*{y}={x * y}", f"{x * y}-{z}={total}"]
    ask = rng.choice((f"How many {goods} does {who} have now?", f"How many {goods} are there now?"))
    # A lone product has 64 items, too few to hold some out: its identity takes in the owner and the goods.
    key = f"{kind} {' '.join(steps)}" + (f" {who} {goods}" if kind == "mul" else "")
    return Example("math", ". ".join(told) + f". {ask}", f"{', '.join(steps)}. Answer: {total}", key)


def _digits(rng: Random, low: int, high: int) -> list[int]:
    return [rng.randint(0, 9) for _ in range(rng.randint(low, high))]


def _program(rng: Random) -> tuple[str, str]:
    """Draw a short program and what it prints."""
    var, other = rng.sample("abcdknstuvwxyz", 2)
    kind = rng.randrange(9)
    if kind < 6:
        values = _digits(rng, 3, 5)
        head = f"{var} = {values}\n"
        i = rng.randrange(3)
        body, out = (
            (f"print(max({var}))", str(max(values))),
            (f"print(min({var}))", str(min(values))),
            (f"print(len({var}))", str(len(values))),
            (f"print({var}[{i}])", str(values[i])),
            (f"print({var}[-1])", str(values[-1])),
            (f"print({var}[::-1])", str(values[::-1])),
        )[kind]
        return head + body, out
    x, y = rng.randint(1, 12), rng.randint(1, 9)
    if kind == 6:
        sign, total = rng.choice((("+", x + y), ("-", max(x, y) - min(x, y))))
        x, y = (max(x, y), min(x, y)) if sign == "-" else (x, y)
        return f"{var} = {x}\n{other} = {var} {sign} {y}\nprint({other})", str(total)
    if kind == 7:
        yes, no = rng.sample(words.COLOURS, 2)
        return f"{var} = {x}\nif {var} > {y}:\n    print('{yes}')\nelse:\n    print('{no}')", yes if x > y else no
    start, stop = rng.randint(0, 4), rng.randint(5, 9)
    return f"for {var} in range({start}, {stop}):\n    print({var})", "\n".join(map(str, range(start, stop)))


def _write(rng: Random) -> tuple[str, str]:
    """Draw a wish and the line of code that grants it."""
    var, word, value = rng.choice("abcdknstuvwxyz"), words.name(rng), rng.randint(2, 99)
    function = f"{rng.choice(words.VERBS)}_{rng.choice(words.NOUNS)}"
    kind = rng.randrange(6)
    if kind == 0:
        return f"Write code that sets {var} to {value}.", f"{var} = {value}"
    if kind == 1:
        return f"Write code that prints the name {word}.", f"print('{word}')"
    if kind == 2:
        values = _digits(rng, 2, 5)
        return f"Write code that makes the list {var} of {' '.join(map(str, values))}.", f"{var} = {values}"
    if kind == 3:
        return f"Write code that calls {function} on {word}.", f"{function}('{word}')"
    if kind == 4:
        stop = rng.randint(2, 99)
        return f"Write a loop over {var} below {stop} that calls {function}.", (
            f"for {var} in range({stop}):\n    {function}({var})"
        )
    keys = rng.sample(words.SLOTS, rng.randint(1, 3))
    pairs = [(slot.key, slot.draw(rng)) for slot in keys]
    given = " and ".join(f"{key} {value}" for key, value in pairs)
    arguments = ", ".join(f"{key}='{value}'" for key, value in pairs)
    return f"Write code that calls {function} with {given}.", f"{function}({arguments})"


def code(rng: Random) -> Example:
    """Return a short program whose output is asked for, or a line of code that is described."""
    if rng.random() < 0.65:
        program, output = _program(rng)
        ask = rng.choice(("What does this print?", "Give the output of this program."))
        return Example("code", f"{ask}\n{program}", output, program)
    wish, line = _write(rng)
    return Example("code", wish, line, wish)
