"""Makes documents with known spans, one a line: {"text", "spans": [{"start", "end", "type", ...}], "lookalikes": [{"start",
"end", "what"}], "place", "locale", "spelling"}. Offsets are code points. The same seed makes the same documents."""

import argparse
import json
import random
import sys

import places
from kinds import EVERYWHERE, KINDS
from lookalikes import LOOKALIKES
from personal import language
from spelling import BACKSLASH, Spelled, spell

# Item n of a document stands between the n-th characters of these ranges, until its offsets are known.
OPEN, CLOSE = 0xE100, 0xE200


def marked(number, text):
    return chr(OPEN + number) + text + chr(CLOSE + number)


def label_of(rng, kind, locale):
    own = kind.labels.get(language(locale))
    return rng.choice(own if own and rng.random() < 0.8 else kind.labels.get("en") or next(iter(kind.labels.values())))


def is_named(rng, kind, value, spelled, place):
    """Whether the name stands with it: always, where nothing else would tell what it is."""
    needs = value.needs or kind.needs
    if place == "url" and kind.name == "URL_PASSWORD":
        return True
    # Without separators, or with ones that versions and prices have, too.
    if needs == "always" or (needs == "bare" and spelled.name in ("no separators", "dots")):
        return True
    return rng.random() < 0.6


def document(rng, kind):
    locale = rng.choice(kind.locales)
    value = kind.make(rng, locale)
    label = value.label or label_of(rng, kind, locale)
    while True:
        spelled = spell(rng, kind, value, label)
        allowed = [
            name
            for name in places.PLACES
            if (not spelled.places or name in spelled.places) and not ("\n" in spelled.text and name in places.ONE_LINE)
        ]
        if kind.name in ("URL_PASSWORD", "SESSION_COOKIE", "AUTHORIZATION") or value.before:
            # A URL in a URL's query is another matter.
            allowed = [name for name in allowed if name != "url"]
        if allowed:
            break
    place = rng.choices(allowed, [places.WEIGHTS.get(name, 1) for name in allowed])[0]
    items, facts = [], []

    def add(one, made, way, its_label):
        named = is_named(rng, one, made, way, place)
        # What is encoded is encoded with what stands around it.
        before, after = ("", "") if way.name in ("base64", "hexadecimal") else (made.before, made.after)
        text = before + marked(len(facts), way.text) + after
        items.append(places.Item(text, made.key or rng.choice(one.keys), its_label, True, named))
        name = "none" if not named else "far" if place in places.FAR else "near"
        facts.append(
            {
                "type": one.name,
                "spelling": way.name,
                "named": name,
                "group": one.group,
                **({"what": made.what} if made.what else {}),
            }
        )

    add(kind, value, spelled, label)
    if rng.random() < 0.3:
        # Another value beside it, as it is usually written.
        other = KINDS[rng.choice(("EMAIL", "PHONE", "IBAN", "CREDIT_CARD", "IP_ADDRESS", "GITHUB_TOKEN"))]
        at = locale if locale in other.locales else "en-US"
        made = other.make(rng, at)
        add(other, made, Spelled(made.text, "native"), label_of(rng, other, at))
    for _ in range(rng.choice((0, 1, 1, 2))):
        what = rng.choice(tuple(LOOKALIKES))
        keys, make = LOOKALIKES[what]
        key = rng.choice(keys.split())
        text = make(rng)
        items.append(places.Item(marked(len(facts), text), key, key.replace("_", " "), False, True))
        facts.append({"lookalike": what})
    rng.shuffle(items)
    return finished(places.PLACES[place](rng, locale, items), facts, place, locale, spelled.name)


def finished(text, facts, place, locale, spelling):
    plain, starts, spans, lookalikes = [], {}, [], []
    for character in text:
        code = ord(character)
        if OPEN <= code < OPEN + 0x100:
            starts[code - OPEN] = len(plain)
        elif CLOSE <= code < CLOSE + 0x100:
            fact = facts[code - CLOSE]
            span = {"start": starts[code - CLOSE], "end": len(plain)}
            if "lookalike" in fact:
                lookalikes.append({**span, "what": fact["lookalike"]})
            else:
                spans.append({**span, **fact})
        else:
            plain.append("\\" if character == BACKSLASH else character)
    assert len(spans) + len(lookalikes) == len(facts), (place, text)
    return {
        "text": "".join(plain),
        "spans": spans,
        "lookalikes": lookalikes,
        "place": place,
        "locale": locale,
        "spelling": spelling,
    }


def documents(count, seed, only=None):
    """Every kind by turns, so that each is measured on as many."""
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS.values() if only is None or kind.name in only]
    for number in range(count):
        # One in twenty has look-alikes alone.
        if number % 20 == 19:
            yield innocent(rng)
        else:
            yield document(rng, kinds[number % len(kinds)])


def innocent(rng):
    locale, place = rng.choice(EVERYWHERE), rng.choice(tuple(places.PLACES))
    items, facts = [], []
    for _ in range(rng.randint(2, 6)):
        what = rng.choice(tuple(LOOKALIKES))
        keys, make = LOOKALIKES[what]
        key = rng.choice(keys.split())
        items.append(places.Item(marked(len(facts), make(rng)), key, key.replace("_", " "), False, True))
        facts.append({"lookalike": what})
    return finished(places.PLACES[place](rng, locale, items), facts, place, locale, "none")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--documents", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--only", help="kinds, with commas between")
    given = arguments.parse_args()
    for one in documents(given.documents, given.seed, given.only and set(given.only.split(","))):
        sys.stdout.write(json.dumps(one, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
