"""Draw a mermaid flowchart as SVG: nodes in layers from top to bottom, in the colour of the text around.

python scripts/flowchart.py docs/architecture.md > flow.svg

Enough of mermaid for the diagrams of docs/: `a["label"] --> b["label"]`, `a -- "words" --> b`, one arrow a line.
"""

import re
import sys
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

NODE = r'(\w+)(?:\["([^"]*)"\])?'
ARROW = re.compile(rf'^\s*{NODE}\s*--(?:\s*"([^"]*)"\s*--)?>\s*{NODE}\s*$')
CHARACTER, HEIGHT, GAP, LAYER = 7.3, 34, 26, 68  # pixels
Edge = tuple[str, str]


@dataclass
class Chart:
    """Nodes with their labels, arrows with theirs, and the place of each node once it is laid out."""

    labels: dict[str, str] = field(default_factory=dict)
    arrows: dict[Edge, str] = field(default_factory=dict)
    layers: list[list[str]] = field(default_factory=list)
    x: dict[str, float] = field(default_factory=dict)

    def width(self, node: str) -> float:
        """Of its box; a bend of an arrow that passes a layer has none."""
        return len(self.labels[node]) * CHARACTER + 24 if node in self.labels else 8


def svg(text: str) -> str:
    """The drawing of a mermaid flowchart, on one line."""
    chart = parse(text)
    paths = lay_out(chart)
    depth = {node: i for i, layer in enumerate(chart.layers) for node in layer}
    left = min(chart.x[n] - chart.width(n) / 2 for n in chart.x) - 8
    right = max(chart.x[n] + chart.width(n) / 2 for n in chart.x) + 8
    drawn = [_arrow(chart, depth, edge, path) for edge, path in paths.items()]
    drawn += [_box(chart, node, depth[node]) for node in chart.labels]
    box = f"{left:.0f} 0 {right - left:.0f} {len(chart.layers) * LAYER}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" fill="none" stroke="currentColor" '
        f'style="max-width:{right - left:.0f}px;width:100%" font-family="sans-serif" font-size="13">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="currentColor" stroke="none"/></marker></defs>'
        f"{''.join(drawn)}</svg>"
    )


def parse(text: str) -> Chart:
    """Nodes and arrows of the mermaid text.

    Raises:
        ValueError: for a line that is more than this reads.
    """
    head, *lines = [line for line in text.splitlines() if line.strip()]
    chart = Chart()
    if head.split() != ["flowchart", "TD"]:
        raise ValueError(f"not a flowchart from top to bottom: {head!r}")
    for line in lines:
        found = ARROW.match(line)
        if found is None:
            raise ValueError(f"not an arrow between two nodes: {line!r}")
        a, label_a, words, b, label_b = found.groups()
        for node, label in ((a, label_a), (b, label_b)):
            chart.labels[node] = label or chart.labels.get(node, node)
        chart.arrows[a, b] = words or ""
    return chart


def lay_out(chart: Chart) -> dict[Edge, list[str]]:
    """Give each node its layer and x; returns the nodes and bends each arrow passes, downwards."""
    down = _without_circles(chart)
    depth = dict.fromkeys(chart.labels, 0)
    for _ in depth:
        for a, b in down:
            depth[b] = max(depth[b], depth[a] + 1)
    chart.layers = [[n for n in depth if depth[n] == i] for i in range(max(depth.values()) + 1)]
    paths = {}
    for edge, (a, b) in zip(chart.arrows, down, strict=True):
        bends = [f"{a} {b} {i}" for i in range(depth[a] + 1, depth[b])]
        for i, bend in enumerate(bends, depth[a] + 1):
            chart.layers[i].append(bend)
        paths[edge] = [a, *bends, b]
    _place(chart, [pair for path in paths.values() for pair in pairwise(path)])
    return paths


def _without_circles(chart: Chart) -> list[Edge]:
    """The arrows, those turned round that lead back to where one came from."""
    after: dict[str, set[str]] = {node: set() for node in chart.labels}

    def reaches(a: str, b: str) -> bool:
        return a == b or any(reaches(n, b) for n in after[a])

    made = []
    for a, b in chart.arrows:
        first, last = (b, a) if reaches(b, a) else (a, b)
        after[first].add(last)
        made.append((first, last))
    return made


def _place(chart: Chart, links: list[Edge]) -> None:
    """Order each layer by where its neighbours are, and move nodes towards them, without overlap."""
    near: dict[str, list[str]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    chart.x = {node: i * 200.0 for layer in chart.layers for i, node in enumerate(layer)}
    for _ in range(400):
        for layer in chart.layers:
            wish = {node: sum(chart.x[n] for n in near[node]) / len(near[node]) for node in layer}
            layer.sort(key=lambda node: wish[node])
            ends = [0.0]
            for a, b in pairwise(layer):
                ends.append(ends[-1] + (chart.width(a) + chart.width(b)) / 2 + GAP)
            shift = sum(wish[node] - end for node, end in zip(layer, ends, strict=True)) / len(layer)
            chart.x.update((node, end + shift) for node, end in zip(layer, ends, strict=True))


def _box(chart: Chart, node: str, depth: int) -> str:
    width, y = chart.width(node), depth * LAYER + LAYER / 2
    corner = f'x="{chart.x[node] - width / 2:.0f}" y="{y - HEIGHT / 2:.0f}"'
    return (
        f'<rect {corner} width="{width:.0f}" height="{HEIGHT}" rx="5"/>'
        f'<text x="{chart.x[node]:.0f}" y="{y + 4.5:.1f}" text-anchor="middle" fill="currentColor" stroke="none">'
        f"{escape(chart.labels[node])}</text>"
    )


def _arrow(chart: Chart, depth: dict[str, int], edge: Edge, path: list[str]) -> str:
    """A curve through the bends; its words stand beside its middle."""
    points = [(chart.x[node], depth[node] * LAYER + LAYER / 2) for node in path]
    points[0], points[-1] = (points[0][0], points[0][1] + HEIGHT / 2), (points[-1][0], points[-1][1] - HEIGHT / 2 - 1)
    d = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        d += f"C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
    end = "end" if edge[0] == path[0] else "start"
    (x0, y0), (x1, y1) = points[(len(points) - 1) // 2], points[(len(points) - 1) // 2 + 1]
    words = f'<text x="{(x0 + x1) / 2 + 6:.0f}" y="{(y0 + y1) / 2 + 4:.0f}" fill="currentColor" stroke="none" '
    words += f'font-size="11" font-style="italic">{escape(chart.arrows[edge])}</text>'
    return f'<path d="{d}" marker-{end}="url(#tip)"/>{words if chart.arrows[edge] else ""}'


if __name__ == "__main__":
    for block in re.findall(r"^```mermaid\n(.*?)^```$", Path(sys.argv[1]).read_text(encoding="utf-8"), re.M | re.S):
        print(svg(block))
