"""What is planted: kinds of sensitive values, each with a maker of valid values, the names that stand beside it, and the locales
it is at home in. The kinds themselves are in national.py, personal.py and credentials.py.

A kind says how much a value tells by itself. `free`: form or check digit tell it, so it also comes without any name. `bare`:
it comes without a name as long as it keeps its separators. `always`: nothing tells it from an order number, so its name is
always there."""

from dataclasses import dataclass

STRUCTURED, SECRET, CONTEXTUAL = "structured", "secret", "contextual"


@dataclass(frozen=True)
class Value:
    """A value as its authority writes it."""

    groups: tuple  # what separators stand between
    sep: str = ""
    # Other separators that people write: "-", ".", " ", or "" for none, one after another in a tuple.
    others: tuple = ()
    # A variant of the kind, such as a vendor.
    what: str = ""
    # What stands around it and is no part of it.
    before: str = ""
    after: str = ""
    # Whether capitals and small letters say the same.
    any_case: bool = False
    # In place of the kind's.
    needs: str = ""
    key: str = ""
    label: str = ""

    @property
    def text(self):
        return self.sep.join(self.groups)


@dataclass(frozen=True)
class Kind:
    name: str
    group: str
    locales: tuple
    keys: tuple
    labels: dict
    needs: str
    make: object
    # Names by which a finder may call it beside `name`.
    also: tuple


KINDS = {}

# Locales for what is at home everywhere.
EVERYWHERE = (
    "en-US en-GB de-DE fr-FR it-IT es-ES pt-BR nl-NL pl-PL sv-SE fi-FI da-DK nb-NO ja-JP ko-KR zh-CN tr-TR ru-RU"
).split()


def kind(name, locales, keys, needs="always", group=STRUCTURED, also="", **labels):
    """Registers a maker. `labels` has the name in prose by language, alternatives parted by a bar; English stands in."""

    def register(make):
        KINDS[name] = Kind(
            name,
            group,
            tuple(locales.split()) if isinstance(locales, str) else tuple(locales),
            tuple(keys.split()),
            {language: tuple(words.split("|")) for language, words in labels.items()},
            needs,
            make,
            tuple(also.split()),
        )
        return make

    return register


def digits(rng, count, first="0123456789"):
    return rng.choice(first) + "".join(rng.choice("0123456789") for _ in range(count - 1))


def of(rng, alphabet, count):
    return "".join(rng.choice(alphabet) for _ in range(count))


def cut(text, *sizes):
    """Groups of these sizes."""
    groups, at = [], 0
    for size in sizes:
        groups.append(text[at : at + size])
        at += size
    assert at == len(text), (text, sizes)
    return tuple(groups)


def until(make, good):
    """The first that is good."""
    while True:
        made = make()
        if made is not None and good(made):
            return made


# They register themselves.
import credentials  # noqa: E402,F401
import money  # noqa: E402,F401
import national  # noqa: E402,F401
import overseas  # noqa: E402,F401
import personal  # noqa: E402,F401
