"""From samples to a table of medians and ratios, the goals beside it, and its place in the README."""

import statistics
from dataclasses import dataclass

COLUMNS = {  # metric -> (heading, format)
    "speed": ("MiB/s", "{:.0f}"),
    "wall": ("wall s", "{:.2f}"),
    "cpu": ("CPU-s/GiB", "{:.2f}"),
    "user": ("user", "{:.2f}"),
    "system": ("system", "{:.2f}"),
    "cpu_seconds": ("CPU s", "{:.3f}"),
    "seed_cpu": ("seeder's CPU-s/GiB", "{:.2f}"),
    "seed_user": ("user", "{:.2f}"),
    "seed_system": ("system", "{:.2f}"),
    "gib_per_core": ("GiB/s a core", "{:.2f}"),
    "rss": ("RSS MiB", "{:.0f}"),
    "anon": ("anonymous MiB", "{:.1f}"),
    "growth": ("2nd half / 1st", "{:.2f}"),
    "ready": ("ready s", "{:.2f}"),
    "idle": ("idle % of a core", "{:.2f}"),
    "others": ("others' cores", "{:.2f}"),
}
RATIOS = {"cpu": "CPU", "seed_cpu": "CPU", "wall": "wall", "rss": "RSS", "anon": "anonymous", "ready": "ready"}


@dataclass(frozen=True)
class Goal:
    """`metric` of `ours` at most (or at least) `bound`, times the best of `rivals` if there are any."""

    metric: str
    bound: float
    rivals: tuple = ()
    ours: str = "peerless"
    least: bool = False

    def __str__(self):
        heading = COLUMNS[self.metric][0]
        sign = "≥" if self.least else "≤"
        if not self.rivals:
            return f"{self.ours}: {heading} {sign} {self.bound:g}"
        best = self.rivals[0] if len(self.rivals) == 1 else "the best of " + ", ".join(self.rivals)
        return f"{self.ours}: {heading} {sign} {self.bound:g} × {best}"

    def judge(self, medians):
        """What was measured, and whether that is enough; `None` when something is missing."""
        there = [medians[rival][self.metric] for rival in self.rivals if rival in medians]
        mine = medians.get(self.ours, {}).get(self.metric)
        if mine is None or (self.rivals and not there):
            return None
        value = mine / (max(there) if self.least else min(there)) if there else mine
        return value, value >= self.bound if self.least else value <= self.bound


def medians(samples):
    """`samples`: label -> list of dicts of figures. A figure that some run lacks is left out."""
    return {
        label: {
            metric: statistics.median(run[metric] for run in runs)
            for metric in runs[0]
            if all(metric in run for run in runs)
        }
        for label, runs in samples.items()
    }


def render(metrics, ratios, goals, found, ours="peerless"):
    """Two tables in Markdown: `found` (label -> medians), and the goals."""
    heads = ["client"] + [COLUMNS[metric][0] for metric in metrics]
    heads += [f"{RATIOS[metric]}: {ours} / it" for metric in ratios]
    rows = []
    for label, figures in found.items():
        row = [label] + [_cell(figures.get(metric), COLUMNS[metric][1]) for metric in metrics]
        base = found.get(ours, {})
        for metric in ratios:
            there = label != ours and figures.get(metric) and metric in base
            row.append(_cell(base[metric] / figures[metric] if there else None, "{:.2f}"))
        rows.append(row)
    text = _markdown(heads, rows)
    if not goals:
        return text
    judged = []
    for goal in goals:
        verdict = goal.judge(found)
        value, met = ("–", "not measured") if verdict is None else (
            f"{verdict[0]:.3g}", "yes" if verdict[1] else "**no**")
        judged.append([str(goal), value, met])
    return text + "\n\n" + _markdown(["goal", "measured", "met"], judged)


def _cell(value, form):
    return "" if value is None else form.format(value)


def _markdown(heads, rows):
    head, *body = ["| " + " | ".join(line) + " |" for line in [heads, *rows]]
    return "\n".join([head, "|" + "---|" * len(heads), *body])


def put(document, name, text):
    """`document` with `text` between the markers of `name`."""
    begin, end = f"<!-- row {name} -->", f"<!-- /row {name} -->"
    head, found, rest = document.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no markers of the row {name}")
    return f"{head}{begin}\n{text}\n{end}{tail}"
