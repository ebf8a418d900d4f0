"""Verdicts of `watchkeeper detect` beside those of pySigma's SQLite backend, on rules and events made from seeds.

    compare.py --binary watchkeeper [--seeds N]          exits 1 where a verdict differs, and prints what
    compare.py --binary watchkeeper --sigmahq DIR        how many documents of a repository load, and why the others do not

What is left out of the comparison, because SQL has no word for it or another one: fields with several values, keywords without a
field, letters beyond ASCII in another case (SQLite's LIKE), `windash` and the encodings (expanded into values by both).
"""

import argparse
import collections
import json
import pathlib
import random
import re
import sqlite3
import subprocess
import sys
import tempfile

import yaml
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

WORDS = ["delete", "Delete all", "rm -rf /srv", "read file", "10.1.2.3", "192.168.0.7", "a*b", "a_b%c", "C:\\x\\y", "x"]
FIELDS = ["tool", "text", "address", "count", "cost", "user", "actor", "failed", "note"]
ITEMS = [
    {"tool": "delete"},
    {"tool": ["delete", "read file"]},
    {"text|contains": "rm -rf"},
    {"text|contains|all": ["rm", "/srv"]},
    {"text|startswith": ["delete", "10."]},
    {"text|endswith": "all"},
    {"text|cased": "Delete all"},
    {"text|re": "^(?:rm|read) .*"},
    {"text|re|i": "^DELETE"},
    {"text": "r*f*"},
    {"text": "a\\*b"},
    {"text|contains": "_b%"},
    {"text": "C:\\\\x\\\\?"},
    {"address|cidr": ["10.0.0.0/8", "192.168.0.0/16"]},
    {"count|gte": 5},
    {"count|lt": 3},
    {"count": 7},
    {"failed": True},
    {"text": None},
    {"tool|exists": True},
    {"note|exists": False},
    {"tool|fieldref": "text"},
]
CONDITIONS = [
    "sel_a",
    "sel_a and sel_b",
    "sel_a or sel_b",
    "sel_a and not sel_b",
    "1 of sel_*",
    "all of them",
    "not sel_a and sel_b",
    "(sel_a or sel_b) and not flt",
    "1 of sel_* and not 1 of flt*",
]
CORRELATIONS = [
    {"type": "event_count", "condition": {"gte": 3}},
    {"type": "event_count", "condition": {"lte": 2}},
    {"type": "event_count", "condition": {"eq": 2}},
    {"type": "value_count", "condition": {"field": "count", "gte": 3}},
    {"type": "value_sum", "condition": {"field": "cost", "gte": 1500}},
    {"type": "value_avg", "condition": {"field": "cost", "gt": 600}},
    {"type": "value_median", "condition": {"field": "cost", "lt": 300}},
    {"type": "value_percentile", "condition": {"field": "cost", "percentile": 90, "gte": 800}},
    {"type": "temporal"},
    {"type": "temporal_ordered"},
]


def identifier(number):
    return f"00000000-0000-4000-8000-{number:012}"


def documents(dice):
    """Three rules, two correlations of them, and a filter."""
    made = []
    for number in range(3):
        detection = {}
        for name in ["sel_a", "sel_b", "flt"]:
            detection[name] = dict(dice.choice(ITEMS))
            if dice.random() < 0.3:
                detection[name].update(dice.choice(ITEMS))
        detection["condition"] = dice.choice(CONDITIONS)
        made.append(
            {
                "title": f"Rule {number}",
                "id": identifier(number),
                "name": f"rule_{number}",
                "logsource": {"category": "test"},
                "detection": detection,
            }
        )
    for number in range(2):
        correlation = json.loads(json.dumps(dice.choice(CORRELATIONS)))
        # An event that two of the rules match counts twice with us and with rsigma, and once in SQL: of one rule there is no question.
        rules = ["rule_0", "rule_1"] if correlation["type"].startswith("temporal") else ["rule_0"]
        correlation |= {"rules": rules, "timespan": dice.choice(["20s", "1m", "5m"])}
        group = dice.choice(["user", "alias"]) if len(rules) > 1 else "user"
        if group == "alias":
            correlation |= {"group-by": ["who"], "aliases": {"who": {"rule_0": "user", "rule_1": "actor"}}}
        else:
            correlation["group-by"] = ["user"]
        # So that the rules are told, too. The schema has it beside `correlation`, pySigma reads it within.
        correlation["generate"] = True
        made.append({"title": f"Correlation {number}", "id": identifier(10 + number), "correlation": correlation, "generate": True})
    if any(one.get("correlation", {}).get("type") == "temporal_ordered" for one in made):
        # One event that both rules match is in order with us and with rsigma, and is not in SQL.
        for rule, failed in zip(made, [True, False]):
            rule["detection"] |= {"only": {"failed": failed}, "condition": f"({rule['detection']['condition']}) and only"}
    if dice.random() < 0.5:
        made.append(
            {
                "title": "Filter",
                "id": identifier(20),
                "logsource": {"category": "test"},
                "filter": {"rules": ["rule_0"], "who": {"user": "ann"}, "bot": {"count": 4}, "condition": "not 1 of them"},
            }
        )
    return made


def events(dice, count):
    made = []
    time_s = 1_700_000_000
    for _ in range(count):
        # One event a second at the most: SQL's windows end with all that is of one time.
        time_s += dice.randint(1, 12)
        event = {"timestamp": time_s, "count": dice.randint(0, 9), "cost": dice.randint(0, 999), "failed": dice.random() < 0.5}
        for field in ["tool", "text", "address"]:
            if dice.random() < 0.85:
                event[field] = dice.choice(WORDS)
        for field, values, share in [("user", ["ann", "bob", "eve"], 0.9), ("actor", ["ann", "bob"], 0.4), ("note", ["a"], 0.5)]:
            if dice.random() < share:
                event[field] = dice.choice(values)
        made.append(event)
    return made


def of_sql(made, all_events):
    """(title, second, user or None) of what SQL says."""
    base = sqlite3.connect(":memory:")
    base.create_function("REGEXP", 2, lambda pattern, text: text is not None and re.search(pattern, str(text)) is not None)
    base.execute(f"CREATE TABLE logs (timestamp TEXT, {', '.join(f'`{field}`' for field in FIELDS)})")
    for event in all_events:
        values = [event.get(field) for field in FIELDS]
        marks = ", ".join("?" for _ in FIELDS)
        base.execute(f"INSERT INTO logs VALUES (datetime({event['timestamp']}, 'unixepoch'), {marks})", values)
    collection = SigmaCollection.from_dicts(json.loads(json.dumps(made)))
    found = set()
    for rule in collection.rules:
        if type(rule).__name__ == "SigmaFilter":
            continue
        queries = sqliteBackend().convert_correlation_rule(rule) if type(rule).__name__ == "SigmaCorrelationRule" else None
        if queries is None:
            for query in sqliteBackend().convert_rule(rule):
                query = query.replace("<TABLE_NAME>", "logs").replace("SELECT *", "SELECT strftime('%s', timestamp)", 1)
                found |= {(rule.title, int(second)) for (second,) in base.execute(query)}
        else:
            for query in queries:
                for row in base.execute(query):
                    found.add((rule.title, round(row[2])))
    return found


def of_us(binary, made, all_events, folder):
    folder = pathlib.Path(folder)
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules/r.yml").write_text(yaml.safe_dump_all(made, sort_keys=False))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in all_events))
    command = [binary, "detect", "--rules", str(folder / "rules"), "--events", str(folder / "events.jsonl")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    return {(line["title"], all_events[line["event"]]["timestamp"]) for line in lines}


def compare(binary, seeds, count):
    compared = differing = 0
    for seed in range(seeds):
        dice = random.Random(seed)
        made, all_events = documents(dice), events(dice, count)
        with tempfile.TemporaryDirectory() as folder:
            ours = of_us(binary, made, all_events, folder)
        theirs = of_sql(made, all_events)
        compared += len(ours | theirs)
        if ours != theirs:
            differing += 1
            print(f"seed {seed}: only ours {sorted(ours - theirs)[:5]}, only theirs {sorted(theirs - ours)[:5]}")
            titles = {title for title, _ in ours ^ theirs}
            print(yaml.safe_dump_all([one for one in made if one["title"] in titles], sort_keys=False))
    print(f"{seeds} seeds, {count} events each, {compared} verdicts compared, {differing} seeds differ")
    return differing == 0 and compared > 0


def share(binary, repository):
    """By folder: documents, and those that do not load, by reason."""
    for folder in sorted(path for path in pathlib.Path(repository).iterdir() if path.is_dir() and any(path.rglob("*.yml"))):
        total = 0
        for file in folder.rglob("*.yml"):
            total += sum(1 for one in re.split(r"(?m)^---\s*$", file.read_text()) if re.search(r"(?m)^title:", one))
        if not total:
            continue
        output = subprocess.run([binary, "rules", "check", str(folder)], capture_output=True, text=True).stdout
        reasons, refused = collections.Counter(), set()
        for line in output.splitlines():
            found = re.match(r"(.*?\.yml(?::\d+)?): rule .*?, field (.*?): (.*); ", line)
            if found:
                refused.add(found[1])
                reasons[re.sub(r"['\"`].*?['\"`]|\d+", "…", found[3])[:100]] += 1
        print(f"{folder.name}: {total - len(refused)} of {total} load ({100 * (total - len(refused)) / total:.2f} %)")
        for reason, times in reasons.most_common(12):
            print(f"  {times:5}  {reason}")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--sigmahq")
    options = parser.parse_args()
    good = share(options.binary, options.sigmahq) if options.sigmahq else compare(options.binary, options.seeds, options.events)
    sys.exit(0 if good else 1)


main()
