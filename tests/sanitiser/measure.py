"""How well `watchkeeper sanitize` finds what was planted, and Presidio's pattern recognizers beside it on the same documents.

    python3 measure.py --binary target/release/watchkeeper --documents 20000 --json figures.json

With presidio-analyzer in the environment, `--presidio` runs it, too. Only the standard library is needed otherwise."""

import argparse
import json
import platform
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import generate
from kinds import KINDS
from score import score
from table import write_table

# What stands below it in a page is written by this program.
MARK = "<!-- Below: written by cargo xtask sanitiser -->"


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def lines(documents):
    return "".join(json.dumps({"text": document["text"]}, ensure_ascii=False) + "\n" for document in documents).encode()


def sanitized(binary, given):
    """What the binary answers, and the CPU time of the whole process: starting, reading and writing are in it."""
    before = children_seconds()
    run = subprocess.run([binary, "sanitize"], input=given, stdout=subprocess.PIPE, check=True)
    return run.stdout, children_seconds() - before


def watchkeeper(binary, documents):
    stdout, _ = sanitized(binary, lines(documents))
    answers = [json.loads(line) for line in stdout.decode().splitlines()]
    assert len(answers) == len(documents), "a line for a line"
    version = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    return [answer["spans"] for answer in answers], {"version": version, "bytes": size(documents)}


def size(documents):
    return sum(len(document["text"].encode()) for document in documents)


# Enough that starting the process, some hundredths of a second, does not count.
BYTES_TIMED = 32_000_000


def timed(binary, documents):
    """The best of three, over the documents again and again."""
    times = BYTES_TIMED // size(documents) + 1
    given = lines(documents) * times
    return {"cpu_seconds": min(sanitized(binary, given)[1] for _ in range(3)) / times, "bytes": size(documents)}


def presidio(documents):
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("presidio.py")], input=lines(documents), stdout=subprocess.PIPE, check=True
    )
    *answers, about = [json.loads(line) for line in run.stdout.decode().splitlines()]
    return [resolved(answer) for answer in answers], about


def resolved(found):
    """As its anonymizer resolves conflicts: what lies in a span of a higher score, or in a longer one of the same, goes."""
    kept = []
    for one in sorted(found, key=lambda one: (-one["score"], one["start"] - one["end"])):
        if not any(other["start"] <= one["start"] and one["end"] <= other["end"] for other in kept):
            kept.append(one)
    return kept


# Values as people write them: no encoding, and no character that a program would have put there.
PLAIN = ("native", "no separators", "spaces", "dashes", "dots", "small letters", "capitals", "none")


def compare(documents, ours, theirs, entities):
    """Both on the documents whose values are of types that both look for. The threshold of Presidio is the one that is best
    for it on these very documents."""
    common = {name for name, kind in KINDS.items() if {name, *kind.also} & set(entities)}
    chosen = [at for at, document in enumerate(documents) if all(span["type"] in common for span in document["spans"])]
    texts = [documents[at] for at in chosen]

    def at_threshold(threshold):
        return score(texts, [[one for one in theirs[at] if one["score"] >= threshold] for at in chosen])

    def f1(total):
        figures = total.whole()["groups"]["all"]
        recall, precision = figures["recall"]["share"] or 0, figures["precision"]["share"] or 0
        return 2 * recall * precision / ((recall + precision) or 1)

    best = max((step / 20 for step in range(20)), key=lambda threshold: f1(at_threshold(threshold)))
    return {
        "documents": len(texts),
        "types": sorted(common),
        "watchkeeper": score(texts, [ours[at] for at in chosen]).whole(),
        "presidio_as_shipped": at_threshold(0.0).whole(),
        "presidio_best_threshold": best,
        "presidio_best": at_threshold(best).whole(),
    }


def examples(total, count):
    """A few of each kind of fault, to be looked at."""
    told, seen = [], Counter()
    faults = [("missed", span["type"], span, document) for span, document in total.missed]
    faults += [("false alarm", one["type"], one, document) for one, document in total.false_alarms]
    faults += [("look-alike replaced", alike["what"], alike, document) for alike, document in total.hit]
    for what, name, span, document in faults:
        seen[what, name] += 1
        if seen[what, name] <= count:
            start, end = span["start"], span["end"]
            around = (
                document["text"][max(0, start - 40) : start]
                + "«"
                + document["text"][start:end]
                + "»"
                + document["text"][end : end + 20]
            )
            told.append(
                {
                    "fault": what,
                    "type": name,
                    "place": document["place"],
                    "spelling": span.get("spelling"),
                    "named": span.get("named"),
                    "text": around,
                }
            )
    return told, {f"{what}: {name}": number for (what, name), number in seen.most_common()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--documents", type=int, default=2000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--presidio", action="store_true")
    arguments.add_argument("--json", help="where figures go; - for standard output")
    arguments.add_argument("--page", help="a page whose part below its mark is written anew, Markdown")
    arguments.add_argument("--no-speed", action="store_true", help="for a binary that is not optimised")
    arguments.add_argument("--only", help="kinds, with commas between")
    arguments.add_argument("--examples", type=int, default=0, help="how many of each fault are told")
    given = arguments.parse_args()

    documents = list(generate.documents(given.documents, given.seed, given.only and set(given.only.split(","))))
    ours, about = watchkeeper(given.binary, documents)
    total = score(documents, ours)
    figures = {
        "documents": len(documents),
        "seed": given.seed,
        "python": platform.python_version(),
        "watchkeeper": {**about, **total.whole()},
    }
    if given.presidio:
        theirs, about = presidio(documents)
        figures["presidio"] = about
        figures["beside"] = compare(documents, ours, theirs, about["entities"])
        plain = [at for at, document in enumerate(documents) if document["spelling"] in PLAIN]
        figures["beside_plain"] = compare(
            *([every[at] for at in plain] for every in (documents, ours, theirs)), about["entities"]
        )
        if not given.no_speed:
            figures["speed"] = timed(given.binary, documents)
    if given.examples:
        figures["examples"], figures["faults"] = examples(total, given.examples)
    if given.json == "-":
        json.dump(figures, sys.stdout)
    elif given.json:
        Path(given.json).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    if given.page:
        page = Path(given.page)
        head, mark, _ = page.read_text().partition(MARK)
        assert mark, f"{page} has no line {MARK}"
        page.write_text(head + MARK + "\n\n" + write_table(figures))
    if not given.json:
        print(write_table(figures))


if __name__ == "__main__":
    main()
