"""What river, scipy, numpy and rrcf say of streams that anybody can make: crates/detect/tests/golden/stats.json.

    python golden.py PATH
"""

import json
import math
import sys

import numpy as np
import rrcf
from river import drift
from scipy import stats


def stream(seed, count, level):
    """Values between 0 and 1 by a linear congruential generator, which Rust makes likewise, moved by `level(index)`."""
    state, values = seed, []
    for index in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append((state >> 33) / 2**31 + level(index))
    return values


def page_hinkley(values, **settings):
    detector, found = drift.PageHinkley(**settings), []
    for index, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(index)
    return found


TREES, SIZE, SHINGLE = 20, 128, 4


def bell(seed, count, spikes):
    """Sums of four values between 0 and 1, and what `spikes` adds at places."""
    uniform = stream(seed, 4 * count, lambda index: 0.0)
    return [sum(uniform[4 * index : 4 * index + 4]) + spikes.get(index, 0.0) for index in range(count)]


def codisp(values):
    """Of each value, how far it, with the three before it, displaces what a forest knows of the 128 before (`nab_rrcf.py` has the same forest)."""
    np.random.seed(0)
    trees = [rrcf.RCTree() for _ in range(TREES)]
    scores = [0.0] * (SHINGLE - 1)
    for index, point in enumerate(rrcf.shingle(values, size=SHINGLE)):
        score = 0.0
        for tree in trees:
            if len(tree.leaves) > SIZE:
                tree.forget_point(index - SIZE)
            tree.insert_point(point, index=index)
            score += tree.codisp(index) / TREES
        scores.append(score)
    return scores


def main():
    levels = {
        "steady": lambda index: 0.0,
        "step": lambda index: 0.0 if index < 600 else 1.5,
        "down": lambda index: 0.0 if index < 500 else -0.8,
        "ramp": lambda index: index / 400,
        "steps": lambda index: float(index // 300 % 3),
    }
    settings = [
        dict(min_instances=30, delta=0.005, threshold=50.0, alpha=1 - 0.0001),
        dict(min_instances=30, delta=0.05, threshold=10.0, alpha=0.99),
        dict(min_instances=1, delta=0.5, threshold=5.0, alpha=0.98),
    ]
    drifts = [
        dict(seed=seed, level=name, **setting, found=page_hinkley(stream(seed, 1500, level), **setting))
        for seed, (name, level) in enumerate(levels.items(), 1)
        for setting in settings
    ]
    tails = []
    for seed, (shape, scale, count) in enumerate([(0.2, 1.0, 60), (-0.3, 4.0, 200), (0.6, 0.5, 500), (0.0, 2.0, 64)], 11):
        uniform = stream(seed, count, lambda index: 0.0)
        excesses = [
            -scale * math.log(1 - u) if shape == 0 else scale / shape * ((1 - u) ** -shape - 1) for u in uniform
        ]
        fitted_shape, _, fitted_scale = stats.genpareto.fit(excesses, floc=0)
        likelihood = float(np.sum(stats.genpareto.logpdf(excesses, fitted_shape, 0, fitted_scale)))
        tails.append(
            dict(seed=seed, count=count, shape=shape, scale=scale, fitted_shape=fitted_shape, fitted_scale=fitted_scale,
                 likelihood=likelihood, extreme=float(stats.genpareto.isf(1e-3, fitted_shape, 0, fitted_scale)))
        )
    quantiles = []
    for seed in (21, 22):
        values = [(1 / (1 - u) - 1) * 10 for u in stream(seed, 1500, lambda index: 0.0)]
        quantiles.append(dict(seed=seed, values={str(q): float(np.quantile(values, q, method="nearest")) for q in (0.1, 0.5, 0.84, 0.9, 0.99)}))
    # Forests judge what is unlike the newest; thresholds need some hundred values first. So spikes come late, the largest first.
    spikes = {400: 6.0, 470: 5.0, 540: 4.0, 610: 3.5, 680: 3.0, 750: 2.5, 820: -6.0, 890: -4.0, 960: 2.0}
    forest = dict(seed=31, count=1000, spikes={str(place): size for place, size in spikes.items()})
    # Hundredths, in one line.
    forest["scores"] = " ".join(str(round(100 * score)) for score in codisp(bell(31, 1000, spikes)))
    with open(sys.argv[1], "w") as file:
        json.dump(dict(page_hinkley=drifts, genpareto=tails, quantiles=quantiles, forest=forest), file, indent=1)
        file.write("\n")


main()
