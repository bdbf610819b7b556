"""The page's plots, drawn by Vega-Lite into SVG without scripts; colours are the page's, so that they follow its theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextlong.errors import NextlongError
from nextlong.inspection.dataset_figures import DatasetFigures
from nextlong.inspection.distribution import Bin, Distribution
from nextlong.quality.estimates import Estimate

# Datasets side by side: as many colours as are told apart by all eyes (Okabe and Ito), and as many dashes for grey ones.
MOST_SERIES = 6
_COLOURS = [f"var(--series-{number})" for number in range(MOST_SERIES)]
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [4, 1], [1, 3]]
_WIDTH, _HEIGHT = 460, 220
# Where the bin of 0 stands on a logarithmic axis.
_ZERO = 0.5

_CONFIG = {
    "background": None,
    "font": "inherit",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "titleFontWeight": "normal",
    },
    "legend": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--ink)",
        "orient": "top",
        "title": None,
        "symbolStrokeWidth": 2,
    },
}


def similarity_by_rank(names: Sequence[str], figures: Sequence[DatasetFigures]) -> str:
    """Mean similarity over rank, with the span from the quantile 0.1 to 0.9; empty where nothing was ranked."""
    values = [
        {"dataset": name, "rank": (each.first + each.last) / 2, "mean": each.mean, "low": each.low, "high": each.high}
        for name, one in zip(names, figures, strict=True)
        for each in one.similarity_by_rank
    ]
    if not values:
        return ""
    y = {"type": "quantitative", "scale": {"zero": False}, "title": "cosine similarity"}
    band = {
        "mark": {"type": "area", "opacity": 0.15, "aria": False},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": _colour(names, legend=False)},
    }
    line = {
        "mark": {"type": "line", "point": True},
        "encoding": {"y": {**y, "field": "mean"}, "color": _colour(names), "strokeDash": _dash(names)},
    }
    x = {"field": "rank", "type": "quantitative", "scale": {"type": "log", "base": 2}, "title": "rank among the neighbours"}
    return _svg({"data": {"values": values}, "encoding": {"x": x}, "layer": [band, line]})


def gain_by_distance(names: Sequence[str], points: Sequence[tuple[str, float, Estimate]]) -> str:
    """Gains over distance, with their intervals as bars; empty where there are none.

    Args:
        names: the datasets of the page.
        points: the dataset, the distance in tokens, the gain there.
    """
    values = [
        {"dataset": name, "distance": distance, "gain": each.value, "low": each.low, "high": each.high}
        for name, distance, each in points
    ]
    if not values:
        return ""
    y = {"type": "quantitative", "title": "nats a token"}
    interval = {
        "mark": {"type": "rule", "opacity": 0.6},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": _colour(names, legend=False)},
    }
    line = {
        "mark": {"type": "line", "point": True},
        "encoding": {"y": {**y, "field": "gain"}, "color": _colour(names), "strokeDash": _dash(names)},
    }
    zero = {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": "var(--soft)", "aria": False},
        "encoding": {"y": {"datum": 0}},
    }
    x = {"field": "distance", "type": "quantitative", "scale": {"type": "log", "base": 2}, "title": "distance in tokens"}
    shown = {"data": {"values": values}, "encoding": {"x": x}, "layer": [interval, line]}
    return _svg({"layer": [zero, shown]})


def shares(names: Sequence[str], distributions: Sequence[Distribution], title: str) -> str:
    """Histograms as lines, each the share of its dataset; empty where there is nothing."""
    values = []
    for name, one in zip(names, distributions, strict=True):
        for each in one.bins:
            values.append({"dataset": name, "low": each.low or _ZERO, "share": each.count / one.count})
        if one.bins:  # the last step has an end, too
            values.append({"dataset": name, "low": one.bins[-1].high, "share": 0.0})
    if not values:
        return ""
    x = {
        "field": "low",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2},
        "title": title,
        "axis": {"labelExpr": f"datum.value == {_ZERO} ? '0' : datum.value < 1 ? '' : format(datum.value, ',')"},
    }
    y = {"field": "share", "type": "quantitative", "title": "share", "axis": {"format": "%"}}
    mark = {"type": "line", "interpolate": "step-after"}
    encoding = {"x": x, "y": y, "color": _colour(names), "strokeDash": _dash(names)}
    return _svg({"data": {"values": values}, "mark": mark, "encoding": encoding})


def bars(names: Sequence[str], amounts: Sequence[dict[str, int]], title: str) -> str:
    """An amount for each name of something, dataset beside dataset; empty where there is nothing."""
    values = [
        {"dataset": name, "what": what, "amount": amount}
        for name, each in zip(names, amounts, strict=True)
        for what, amount in each.items()
    ]
    if not values:
        return ""
    encoding = {
        "y": {"field": "what", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 320}},
        "x": {"field": "amount", "type": "quantitative", "title": title, "axis": {"format": "~s"}},
        "yOffset": {"field": "dataset", "type": "nominal", "sort": list(names)},
        "color": _colour(names),
    }
    return _svg({"data": {"values": values}, "mark": {"type": "bar"}, "encoding": encoding, "height": {"step": 12}})


def as_counts(amounts: dict[int, int]) -> Distribution:
    """Amounts by number as a distribution, to be drawn by :func:`shares`."""
    # Numbers that do not occur are nothing between two others, and only where there is a gap.
    bins: list[Bin] = []
    for number, amount in sorted(amounts.items()):
        if bins and bins[-1].high < number:
            bins.append(Bin(bins[-1].high, float(number), 0))
        bins.append(Bin(float(number), float(number + 1), amount))
    count = sum(amounts.values())
    mean = sum(number * amount for number, amount in amounts.items()) / max(1, count)
    return Distribution(count, mean, 0.0, 0.0, 0.0, 0.0, float(max(amounts, default=0)), bins)


def _colour(names: Sequence[str], legend: bool = True) -> dict[str, Any]:
    scale = {"domain": list(names), "range": _COLOURS[: len(names)]}
    shown = {} if legend and len(names) > 1 else {"legend": None}
    return {"field": "dataset", "type": "nominal", "scale": scale, **shown}


def _dash(names: Sequence[str]) -> dict[str, Any]:
    scale = {"domain": list(names), "range": _DASHES[: len(names)]}
    shown = {} if len(names) > 1 else {"legend": None}
    return {"field": "dataset", "type": "nominal", "scale": scale, **shown}


def _svg(spec: dict[str, Any]) -> str:
    try:
        import vl_convert
    except ImportError as error:
        raise NextlongError("The page's plots need vl-convert.", 'pip install "nextlong[inspect]"') from error
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "height": _HEIGHT,
        "config": _CONFIG,
        **spec,
    }
    svg: str = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    return svg
