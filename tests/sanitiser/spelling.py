"""How a value is spelled: as its authority writes it, as people write it, and as encodings hide it."""

import base64
from dataclasses import dataclass

# Characters of the private use area stand for what later steps must neither escape nor count.
BACKSLASH = "\ue300"


@dataclass(frozen=True)
class Spelled:
    text: str
    name: str
    # Places that this spelling is at home in; all when empty.
    places: tuple = ()


WEIGHTS = {
    "native": 30,
    "other separator": 24,
    "case": 8,
    "no-break space": 3,
    "typographic dash": 3,
    "full-width": 4,
    "zero-width": 4,
    "percent": 3,
    "unicode escape": 3,
    "HTML entity": 3,
    "base64": 4,
    "hexadecimal": 2,
    "at and dot": 4,
}


def spell(rng, kind, value, label):
    """Spells a value in a way that it can be spelled."""
    while True:
        name = rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
        spelled = WAYS[name](rng, kind, value, label)
        if spelled is not None:
            return spelled


def native(_rng, _kind, value, _label):
    return Spelled(value.text, "native")


def other_separator(rng, _kind, value, _label):
    if not value.others or len(value.groups) < 2:
        return None
    separator = rng.choice(value.others)
    names = {"": "no separators", " ": "spaces", "-": "dashes", ".": "dots"}
    return Spelled(separator.join(value.groups), names[separator])


def case(rng, _kind, value, _label):
    if not value.any_case or value.text.upper() == value.text.lower():
        return None
    upper = value.text.upper()
    return Spelled(value.text.lower(), "small letters") if value.text == upper else Spelled(upper, "capitals")


def no_break_space(rng, _kind, value, _label):
    if len(value.groups) < 2 or " " not in (value.sep, *value.others):
        return None
    return Spelled(rng.choice("\u00a0\u202f").join(value.groups), "no-break space")


def typographic_dash(rng, _kind, value, _label):
    if len(value.groups) < 2 or "-" not in (value.sep, *value.others):
        return None
    return Spelled(rng.choice("\u2010\u2011\u2013").join(value.groups), "typographic dash")


# What people and models write; a key of a vendor is copied, never typed.
def is_typed(kind):
    return kind.group == "structured"


def full_width(_rng, kind, value, _label):
    if not is_typed(kind) or "\n" in value.text:
        return None
    return Spelled("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value.text), "full-width")


def zero_width(rng, kind, value, _label):
    if not is_typed(kind) or len(value.text) < 5 or "\n" in value.text:
        return None
    at = rng.randint(2, len(value.text) - 2)
    return Spelled(value.text[:at] + rng.choice("\u200b\u200d\u2060\u00ad") + value.text[at:], "zero-width")


def is_plain(value):
    return value.text.isascii() and all(c.isalnum() for c in value.text)


def percent(_rng, kind, value, _label):
    if is_plain(value) or not value.text.isascii() or "\n" in value.text or not is_typed(kind):
        return None
    return Spelled("".join(c if c.isalnum() else f"%{ord(c):02X}" for c in value.text), "percent", ("log", "chat", "url"))


def unicode_escape(_rng, kind, value, _label):
    if is_plain(value) or "\n" in value.text or not is_typed(kind):
        return None
    return Spelled(
        "".join(c if c.isascii() and c.isalnum() else f"{BACKSLASH}u{ord(c):04x}" for c in value.text),
        "unicode escape",
        ("log", "json", "python", "javascript"),
    )


def html_entity(rng, kind, value, _label):
    if is_plain(value) or "\n" in value.text or not is_typed(kind):
        return None
    form = rng.choice(("&#{};", "&#x{:x};"))
    return Spelled(
        "".join(c if c.isascii() and c.isalnum() or c == " " else form.format(ord(c)) for c in value.text),
        "HTML entity",
        ("chat", "log", "prose"),
    )


def encodable(kind, value, label):
    """A run that is shorter than this is not told from a word, so a short value is encoded with its name."""
    if kind.group == "contextual":
        return None
    tells_itself = kind.needs == "free" and not value.needs and not value.before and len(value.text) >= 16
    return (value.text if tells_itself else f"{label}: {value.before}{value.text}{value.after}").encode()


def as_base64(rng, kind, value, label):
    data = encodable(kind, value, label)
    if data is None:
        return None
    return Spelled(
        (base64.b64encode if rng.random() < 0.7 else base64.urlsafe_b64encode)(data).decode(),
        "base64",
        ("json", "yaml", "log", "chat", "env"),
    )


def as_hexadecimal(_rng, kind, value, label):
    data = encodable(kind, value, label)
    return None if data is None or len(data) > 200 else Spelled(data.hex(), "hexadecimal", ("json", "log", "chat"))


def at_and_dot(rng, kind, value, _label):
    if kind.name != "EMAIL":
        return None
    at, dot = rng.choice(((" [at] ", " [dot] "), (" at ", " dot "), ("(at)", "(dot)"), (" (at) ", "."), ("[at]", ".")))
    local, domain = value.text.split("@")
    return Spelled(local + at + domain.replace(".", dot), "at and dot", ("chat", "prose", "log", "email"))


WAYS = {
    "native": native,
    "other separator": other_separator,
    "case": case,
    "no-break space": no_break_space,
    "typographic dash": typographic_dash,
    "full-width": full_width,
    "zero-width": zero_width,
    "percent": percent,
    "unicode escape": unicode_escape,
    "HTML entity": html_entity,
    "base64": as_base64,
    "hexadecimal": as_hexadecimal,
    "at and dot": at_and_dot,
}
