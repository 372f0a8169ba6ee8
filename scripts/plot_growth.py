#!/usr/bin/env python3
"""Draws stored bytes over the steps of a run as SVG.

Reads what `cairn_storage_bench growth` prints, writes the SVG:

    cairn_storage_bench growth RUN.jsonl | scripts/plot_growth.py > docs/growth.svg

Standard library only.
"""

import csv
import itertools
import math
import sys

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 172, 48, 52

# Column of the figures, its label, its colour.
CURVES = [
    ("state_bytes", "whole states", "#b3541e"),
    ("zstd_bytes", "zstd, each alone", "#4a6fa5"),
    ("cairn_bytes", "cairn", "#1b7f5c"),
]


def bytes_text(count):
    """1500000 -> "1.5 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def read_totals(source):
    """For each curve, the bytes stored up to each step."""
    rows = list(csv.DictReader(source))
    if not rows:
        sys.exit("plot_growth.py: no figures on standard input; see its head for the command that makes them")
    return {name: list(itertools.accumulate(int(row[name]) for row in rows)) for name, _, _ in CURVES}


class Axes:
    """Steps to the right, bytes upwards on a logarithmic scale of whole decades."""

    def __init__(self, totals):
        self.steps = max(len(curve) for curve in totals.values())
        self.first_decade = math.floor(math.log10(min(curve[0] for curve in totals.values())))
        self.last_decade = math.ceil(math.log10(max(curve[-1] for curve in totals.values())))

    def x(self, step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / (self.steps - 1)

    def y(self, count):
        share = (math.log10(count) - self.first_decade) / (self.last_decade - self.first_decade)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def step_ticks(self):
        distance = 10 ** math.floor(math.log10(self.steps))
        if self.steps / distance < 3:
            distance //= 5
        return range(0, self.steps, distance)

    def byte_ticks(self):
        return [10**decade for decade in range(self.first_decade, self.last_decade + 1)]


def grid(axes):
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for count in axes.byte_ticks():
        y = axes.y(count)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{bytes_text(count)}</text>'
    for step in axes.step_ticks():
        x = axes.x(step)
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="#888"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{step}</text>'
    yield f'<line x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#888"/>'
    yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">steps saved</text>'


def curve(axes, label, colour, counts):
    points = " ".join(f"{axes.x(step):.1f},{axes.y(count):.1f}" for step, count in enumerate(counts))
    x, y = axes.x(len(counts) - 1) + 8, axes.y(counts[-1])
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield f'<text x="{x:.1f}" y="{y - 2:.1f}" fill="{colour}" font-weight="bold">{label}</text>'
    yield f'<text x="{x:.1f}" y="{y + 14:.1f}" fill="{colour}">{bytes_text(counts[-1])}</text>'


def svg(totals):
    axes = Axes(totals)
    title = "Bytes stored for one run of a coding assistant (logarithmic scale)"
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">'
    yield f"<title>{title}</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield f'<text x="{LEFT}" y="26" font-size="15" font-weight="bold">{title}</text>'
    yield from grid(axes)
    for name, label, colour in CURVES:
        yield from curve(axes, label, colour, totals[name])
    yield "</svg>"


def main():
    print("\n".join(svg(read_totals(sys.stdin))))


if __name__ == "__main__":
    main()
