"""The words of the synthetic world: invented names, everyday nouns, days, colours, and how a slot is spoken of."""

from dataclasses import dataclass
from random import Random

ONSETS = [
    "Vel",
    "Kor",
    "Mir",
    "Tan",
    "Sol",
    "Bra",
    "Del",
    "Fen",
    "Gor",
    "Hal",
    "Ish",
    "Jor",
    "Lum",
    "Nev",
    "Ost",
    "Pel",
    "Quin",
    "Ras",
    "Sar",
    "Tor",
    "Ulm",
    "Var",
    "Wen",
    "Yar",
    "Zor",
    "Bel",
    "Cas",
    "Dor",
    "Elm",
    "Far",
]
CODAS = [
    "ado",
    "ika",
    "una",
    "eth",
    "oss",
    "wyn",
    "ara",
    "ine",
    "olt",
    "emi",
    "usk",
    "ova",
    "ent",
    "ira",
    "ulo",
    "asp",
    "eno",
    "ith",
    "orm",
    "aya",
    "ekk",
    "ond",
    "uva",
    "isk",
    "alo",
    "ern",
    "ost",
    "ubi",
    "ame",
    "ott",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "March", "April", "May", "June", "July", "August", "October", "November", "December"]
COLOURS = ["red", "blue", "green", "black", "white", "brown", "grey", "pink", "gold", "silver"]
PEOPLE = [
    "Tom",
    "Ann",
    "Ben",
    "Eva",
    "Sam",
    "Lea",
    "Max",
    "Ida",
    "Leo",
    "Amy",
    "Dan",
    "Zoe",
    "Jim",
    "Kim",
    "Ray",
    "Sue",
]
GOODS = ["apples", "pears", "coins", "books", "stones", "cards", "shells", "stamps", "pens", "nuts", "balls", "eggs"]
EXPORTS = [
    "salt",
    "wool",
    "iron",
    "honey",
    "glass",
    "silk",
    "tea",
    "rice",
    "oil",
    "wine",
    "cotton",
    "copper",
    "paper",
    "fish",
    "cheese",
    "timber",
]
ANIMALS = ["wolf", "bear", "eagle", "fox", "horse", "owl", "lion", "deer", "crane", "otter", "hare", "swan"]
NOUNS = [
    "table",
    "room",
    "boat",
    "train",
    "taxi",
    "bike",
    "hotel",
    "car",
    "flight",
    "ticket",
    "doctor",
    "parcel",
    "letter",
    "song",
    "meal",
    "coffee",
    "pizza",
    "cake",
    "film",
    "lesson",
    "meeting",
    "garden",
    "lamp",
    "chair",
    "phone",
    "camera",
    "guitar",
    "horse",
    "tent",
    "bus",
    "kayak",
    "scooter",
    "museum",
    "dentist",
    "haircut",
    "sofa",
    "castle",
    "bridge",
    "mirror",
    "ladder",
]
VERBS = [
    "book",
    "find",
    "rent",
    "order",
    "cancel",
    "check",
    "send",
    "plan",
    "buy",
    "sell",
    "track",
    "move",
    "open",
    "close",
    "count",
    "paint",
]

PLAIN = [
    "API",
    "Api",
    "Request",
    "Generate",
    "request",
    "format",
    "based",
    "user",
    "User",
    "AI",
    "utterance",
    "description",
    "descriptions",
    "parameters",
    "type",
    "str",
    "value",
    "key",
    "input",
    "output",
    "api",
    "Code",
    "Name",
    "Help",
    "dialogue",
]


def cap(word: str) -> str:
    """Return the word with its first letter in upper case."""
    return word[0].upper() + word[1:]


def a(noun: str) -> str:
    """Return the noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def third(verb: str) -> str:
    """Return the third person of a verb of the world ("check" gives "checks")."""
    return verb + ("es" if verb.endswith("ch") else "s")


def name(rng: Random) -> str:
    """Draw one of the invented proper names: two syllables, 90 in all."""
    onset = rng.randrange(len(ONSETS))
    return ONSETS[onset] + CODAS[(onset + rng.choice((0, 7, 13))) % len(CODAS)]


def brands() -> list[str]:
    """Return invented names that `name` never draws: two syllables, 90 in all."""
    return [onset + CODAS[(i + shift) % len(CODAS)] for i, onset in enumerate(ONSETS) for shift in (3, 16, 22)]


def place(rng: Random) -> str:
    """Draw the name of a town or river of the knowledge base: any two syllables."""
    return rng.choice(ONSETS) + rng.choice(CODAS)


def code(rng: Random) -> str:
    """Draw an identifier such as ``K47``."""
    return rng.choice("ABCDEFGHKLMNPRST") + str(rng.randint(10, 99))


@dataclass(frozen=True)
class Slot:
    """A kind of value: its key, what a description calls it, and how people speak of it."""

    key: str
    meaning: str
    phrases: tuple[str, ...]

    def draw(self, rng: Random) -> str:
        """Draw a value of this kind."""
        if self.key in ("city", "hotel", "street", "goal"):
            return name(rng)
        if self.key in ("person", "owner"):
            return rng.choice(PEOPLE) if rng.random() < 0.5 else name(rng)
        if self.key == "day":
            return rng.choice(DAYS)
        if self.key == "month":
            return rng.choice(MONTHS)
        if self.key == "time":
            return f"{rng.randint(1, 23)}:{rng.choice(['00', '15', '30', '45'])}"
        if self.key == "code":
            return code(rng)
        return str(rng.randint(2, 40))


SLOTS = (
    Slot("city", "The city", ("in {}", "in the city of {}")),
    Slot("street", "The street", ("in {} street", "on {} street")),
    Slot("goal", "The place to go to", ("to {}", "going to {}")),
    Slot("person", "The other person", ("with {}", "together with {}")),
    Slot("owner", "The owner", ("for {}", "in the name of {}")),
    Slot("day", "The week day", ("on {}", "next {}")),
    Slot("month", "The month", ("this {}", "by the end of {}")),
    Slot("time", "The time of day", ("at {}", "at {} sharp")),
    Slot("count", "The number of people", ("for {} people", "as a group of {}")),
    Slot("price", "The highest price", ("for at most {} coins", "under {} coins")),
    Slot("code", "The order code", ("under code {}", "with the code {}")),
)


def lexicon() -> list[str]:
    """Return every word of the world that should be one token, in the forms in which it occurs."""
    plain = [slot.key for slot in SLOTS] + GOODS + EXPORTS + ANIMALS + COLOURS + list(PLAIN)
    forms = [*ONSETS, *CODAS, *DAYS, *MONTHS, *PEOPLE, *(third(verb) for verb in VERBS)]
    for word in NOUNS + VERBS:
        forms += [word, cap(word)]
    forms += [cap(third(verb)) for verb in VERBS] + [cap(colour) for colour in COLOURS]
    forms += [f" {word}" for word in NOUNS + VERBS + plain]
    return forms + plain + ["user", "assistant", "\n\n"]
