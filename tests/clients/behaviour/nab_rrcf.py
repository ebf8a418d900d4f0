"""A robust random cut forest (PyPI rrcf) on series of NAB, at as many other alarms as ours made: which windows does it tell?

    python nab_rrcf.py NAB_DIR ALARMS_JSON [FOLDER]

ALARMS_JSON is what `crates/detect/tests/nab.rs` writes to WATCHKEEPER_NAB_ALARMS.
"""

import csv
import json
import sys
from datetime import datetime, timezone

import numpy as np
import rrcf

TREES, SIZE, SHINGLE, QUIET_S, PROBATION = 20, 128, 4, 6 * 3600, 0.15


def seconds(text):
    return int(datetime.fromisoformat(text.split(".")[0]).replace(tzinfo=timezone.utc).timestamp())


def scores(values):
    np.random.seed(0)
    trees = [rrcf.RCTree() for _ in range(TREES)]
    out = np.zeros(len(values))
    for index, point in enumerate(rrcf.shingle(values, size=SHINGLE)):
        for tree in trees:
            if len(tree.leaves) > SIZE:
                tree.forget_point(index - SIZE)
            tree.insert_point(point, index=index)
            out[index] += tree.codisp(index) / TREES
    return out


def alarms(times, score, threshold, begin):
    said = []
    for time, value in zip(times, score):
        if value > threshold and time >= begin and (not said or time - said[-1] > QUIET_S):
            said.append(time)
    return said


def main():
    root, folder = sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else "realAWSCloudwatch"
    ours = json.load(open(sys.argv[2]))
    labels = json.load(open(f"{root}/labels/combined_windows.json"))
    series, windows_all, ours_hit, ours_wrong = [], 0, 0, 0
    for name in sorted(ours):
        if not name.startswith(folder + "/"):
            continue
        rows = list(csv.reader(open(f"{root}/data/{name}")))[1:]
        times, values = [seconds(row[0]) for row in rows], [float(row[1]) for row in rows]
        begin = times[int(len(times) * PROBATION)]
        windows = [(seconds(a), seconds(b)) for a, b in labels[name] if seconds(b) >= begin]
        hits = lambda said: sum(any(a <= t <= b for t in said) for a, b in windows)
        wrong = lambda said: sum(not any(a <= t <= b for a, b in windows) for t in said)
        windows_all += len(windows)
        ours_hit, ours_wrong = ours_hit + hits(ours[name]), ours_wrong + wrong(ours[name])
        # Shingles end with the value that is judged.
        score = np.concatenate([np.zeros(SHINGLE - 1), scores(values)])[: len(values)]
        spread = np.median(score) + 1e-9
        series.append((times, score / spread, begin, hits, wrong))
    best = (0, 0)
    for threshold in np.geomspace(1.5, 200, 80):
        told = [(hits(said), wrong(said)) for times, score, begin, hits, wrong in series for said in [alarms(times, score, threshold, begin)]]
        hit, others = sum(one for one, _ in told), sum(one for _, one in told)
        if others <= ours_wrong and hit > best[0]:
            best = (hit, others)
    print(f"{folder}: {windows_all} windows; ours told {ours_hit} with {ours_wrong} other alarms; rrcf told {best[0]} with {best[1]}")


main()
