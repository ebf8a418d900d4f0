"""Figures as Markdown."""


def percent(figure, digits=1):
    if figure is None or figure["share"] is None:
        return "–"
    return f"{100 * figure['share']:.{digits}f}"


def with_interval(figure):
    if figure["share"] is None:
        return "–"
    return f"{100 * figure['share']:.1f} ({100 * figure['low']:.1f}–{100 * figure['high']:.1f})"


def rows(head, aligned, lines):
    row = lambda cells: "| " + " | ".join(str(cell) for cell in cells) + " |"
    return "\n".join([row(head), row(aligned), *map(row, lines)]) + "\n"


def speed(about):
    return f"{about['bytes'] / about['cpu_seconds'] / 1e6:.2f}"


def groups(figures):
    lines = []
    for name, group in figures["groups"].items():
        macro = "–" if group["recall_macro"] is None else f"{100 * group['recall_macro']:.1f}"
        lines.append(
            (
                name,
                group["recall"]["of"],
                with_interval(group["recall"]),
                macro,
                with_interval(group["precision"]),
                percent(group["leaked_characters"], 2),
            )
        )
    return rows(("group", "values", "recall", "macro", "precision", "leaked characters"), ("---", *["--:"] * 5), lines)


def slices(figures, which, title):
    lines = [(name, share["of"], percent(share)) for name, share in figures["slices"][which].items()]
    return rows((title, "values", "recall"), ("---", "--:", "--:"), lines)


def beside_presidio(figures):
    about = figures["presidio"]
    speeds = {"Watchkeeper": speed(figures["speed"]) if "speed" in figures else "–"}
    parts = [
        f"### Beside Presidio\n\npresidio-analyzer {about['version']}, {about['recognizers']} recognizers. Documents "
        "whose values are all of the "
        f"{len(figures['beside']['types'])} types that both look for. MB/s of text a second of CPU, one thread.\n"
    ]
    for title, beside in (
        ("All spellings", figures["beside"]),
        ("Values as people write them, without encodings", figures["beside_plain"]),
    ):
        runs = (
            ("Watchkeeper", beside["watchkeeper"]),
            ("Presidio, every score", beside["presidio_as_shipped"]),
            (f"Presidio, scores from {beside['presidio_best_threshold']}", beside["presidio_best"]),
        )
        lines = []
        for name, run in runs:
            every = run["groups"]["all"]
            lines.append(
                (
                    name,
                    with_interval(every["recall"]),
                    f"{100 * every['recall_macro']:.1f}",
                    with_interval(every["precision"]),
                    percent(every["leaked_characters"], 2),
                    percent(run["lookalikes_replaced"]),
                    speeds.get(name, speed(about)),
                )
            )
        parts.append(
            f"{title}: {beside['documents']} documents.\n\n"
            + rows(
                ("", "recall", "macro", "precision", "leaked characters", "look-alikes replaced", "MB/s"),
                ("---", *["--:"] * 6),
                lines,
            )
        )
    beside = figures["beside"]
    lines = [
        (
            name,
            kind["recall"]["of"],
            percent(kind["recall"]),
            percent(beside["presidio_best"]["types"][name]["recall"]),
            percent(beside["presidio_as_shipped"]["types"][name]["recall"]),
        )
        for name, kind in beside["watchkeeper"]["types"].items()
    ]
    head = (
        "type, all spellings",
        "values",
        "Watchkeeper recall",
        f"Presidio, scores from {beside['presidio_best_threshold']}",
        "Presidio, every score",
    )
    return [*parts, rows(head, ("---", *["--:"] * 4), lines)]


def write_table(figures):
    ours = figures["watchkeeper"]
    parts = [
        f"{figures['documents']} documents, seed {figures['seed']}, {ours['bytes'] / 1e6:.1f} MB. "
        "Shares in per cent, with 95 % intervals.\n"
    ]
    parts += [
        groups(ours),
        f"Look-alikes replaced: {with_interval(ours['lookalikes_replaced'])} of {ours['lookalikes_replaced']['of']}. "
        f"Characters replaced that were not planted: {percent(ours['needless_characters'])} of those replaced.\n",
    ]
    if "beside" in figures:
        parts += beside_presidio(figures)
    parts.append("### By type\n")
    precision = ours["precision_by_type"]
    lines = [
        (
            name,
            kind["group"],
            kind["recall"]["of"],
            with_interval(kind["recall"]),
            percent(kind["leaked_characters"], 2),
            percent(kind["right_type"]),
            percent(precision.get(name)),
        )
        for name, kind in ours["types"].items()
    ]
    parts.append(
        rows(
            ("type", "group", "values", "recall", "leaked characters", "right type", "precision"),
            ("---", "---", *["--:"] * 5),
            lines,
        )
    )
    other = [(name, figure["of"], percent(figure)) for name, figure in precision.items() if name not in ours["types"]]
    if other:
        parts.append(
            "Types under which values were found, beside those above:\n\n"
            + rows(("type", "replaced", "precision"), ("---", "--:", "--:"), other)
        )
    for which, title in (("place", "place"), ("spelling", "spelling"), ("named", "name of the value"), ("locale", "locale")):
        parts.append(f"### By {title}\n\nStructured values and secrets.\n\n" + slices(ours, which, title))
    lines = [(name, figure["of"], percent(figure)) for name, figure in ours["lookalikes"].items()]
    parts.append("### Look-alikes\n\n" + rows(("what", "shown", "replaced"), ("---", "--:", "--:"), lines))
    return "\n".join(parts)
