"""Compares what was found with what was planted.

A planted value counts as found when every character of it was replaced, under whatever type: what leaks is what counts. Its
type is reported apart. A replacement is right when at least half of it lies in planted values. Intervals are Wilson's, at 95
%."""

import math
from collections import Counter, defaultdict

from kinds import KINDS

GROUPS = ("structured", "secret", "contextual")


def wilson(good, all_of_them):
    """The interval of a share, in which the true one lies in 95 of 100 cases."""
    if all_of_them == 0:
        return (0.0, 1.0)
    z, share = 1.96, good / all_of_them
    middle = share + z * z / (2 * all_of_them)
    spread = z * math.sqrt(share * (1 - share) / all_of_them + z * z / (4 * all_of_them**2))
    whole = 1 + z * z / all_of_them
    return (max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))


def share(good, all_of_them):
    low, high = wilson(good, all_of_them)
    return {"good": good, "of": all_of_them, "share": good / all_of_them if all_of_them else None, "low": low, "high": high}


def group_of(predicted):
    """The group of a type as a finder names it."""
    if predicted in KINDS:
        return KINDS[predicted].group
    return next((kind.group for kind in KINDS.values() if predicted in kind.also), "structured")


def covered(spans, length):
    flags = bytearray(length)
    for span in spans:
        flags[span["start"] : span["end"]] = b"\1" * (span["end"] - span["start"])
    return flags


class Score:
    """Counts over documents."""

    def __init__(self):
        self.planted, self.found, self.typed = Counter(), Counter(), Counter()
        self.characters, self.leaked = Counter(), Counter()
        self.predicted, self.right = Counter(), Counter()
        self.slices = {name: defaultdict(lambda: [0, 0]) for name in ("place", "spelling", "named", "locale", "what")}
        self.alikes, self.alikes_hit = Counter(), Counter()
        self.replaced_characters = self.needless_characters = 0
        self.missed, self.false_alarms, self.hit = [], [], []

    def add(self, document, predictions):
        text, spans = document["text"], document["spans"]
        truth, replaced = covered(spans, len(text)), covered(predictions, len(text))
        for span in spans:
            name, width = span["type"], span["end"] - span["start"]
            left = width - sum(replaced[span["start"] : span["end"]])
            self.planted[name] += 1
            self.characters[name] += width
            self.leaked[name] += left
            slices = [
                ("place", document["place"]),
                ("spelling", span["spelling"]),
                ("named", span["named"]),
                ("locale", document["locale"]),
            ]
            if span["group"] == "contextual":
                slices = []
            if "what" in span:
                slices.append(("what", f"{name} {span['what']}"))
            for which, value in slices:
                self.slices[which][value][1] += 1
                self.slices[which][value][0] += left == 0
            if left:
                self.missed.append((span, document))
                continue
            self.found[name] += 1
            names = {name, *KINDS[name].also}
            if any(one["type"] in names and one["start"] < span["end"] and span["start"] < one["end"] for one in predictions):
                self.typed[name] += 1
        for one in predictions:
            self.predicted[one["type"]] += 1
            if 2 * sum(truth[one["start"] : one["end"]]) >= one["end"] - one["start"]:
                self.right[one["type"]] += 1
            else:
                self.false_alarms.append((one, document))
        for alike in document["lookalikes"]:
            self.alikes[alike["what"]] += 1
            if any(replaced[alike["start"] : alike["end"]]):
                self.alikes_hit[alike["what"]] += 1
                self.hit.append((alike, document))
        self.replaced_characters += sum(replaced)
        self.needless_characters += sum(is_replaced and not is_planted for is_replaced, is_planted in zip(replaced, truth))

    def recall(self, names):
        return share(sum(self.found[name] for name in names), sum(self.planted[name] for name in names))

    def leak(self, names):
        return share(sum(self.leaked[name] for name in names), sum(self.characters[name] for name in names))

    def whole(self):
        """Everything, as JSON."""
        by_type = {}
        for name in sorted(self.planted, key=list(KINDS).index):
            by_type[name] = {
                "group": KINDS[name].group,
                "recall": share(self.found[name], self.planted[name]),
                "right_type": share(self.typed[name], self.found[name]),
                "leaked_characters": share(self.leaked[name], self.characters[name]),
            }
        alarms = {name: share(self.right[name], self.predicted[name]) for name in sorted(self.predicted)}
        groups = {}
        for group in GROUPS:
            names = [name for name in self.planted if KINDS[name].group == group]
            predicted = [name for name in self.predicted if group_of(name) == group]
            groups[group] = {
                "recall": self.recall(names),
                "recall_macro": sum(self.found[name] / self.planted[name] for name in names) / len(names) if names else None,
                "leaked_characters": self.leak(names),
                "precision": share(sum(self.right[name] for name in predicted), sum(self.predicted[name] for name in predicted)),
            }
        every = list(self.planted)
        groups["all"] = {
            "recall": self.recall(every),
            "recall_macro": sum(self.found[name] / self.planted[name] for name in every) / len(every) if every else None,
            "leaked_characters": self.leak(every),
            "precision": share(sum(self.right.values()), sum(self.predicted.values())),
        }
        return {
            "groups": groups,
            "types": by_type,
            "precision_by_type": alarms,
            "lookalikes_replaced": share(sum(self.alikes_hit.values()), sum(self.alikes.values())),
            "lookalikes": {name: share(self.alikes_hit[name], self.alikes[name]) for name in sorted(self.alikes)},
            "needless_characters": share(self.needless_characters, self.replaced_characters),
            "slices": {
                which: {value: share(*counts) for value, counts in sorted(values.items())}
                for which, values in self.slices.items()
            },
        }


def score(documents, predictions):
    total = Score()
    for document, found in zip(documents, predictions, strict=True):
        total.add(document, found)
    return total
