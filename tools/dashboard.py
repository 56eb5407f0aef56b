"""Write the chart's Grafana dashboard from the list of its panels, or check that it is up to date."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.panels import ROWS, VARIABLES, Panel

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "deploy/helm/stoker/dashboards/stoker.json"
SCHEMA_VERSION = 42
"""Grafana's classic schema since 12.2; what is used of it is there since 11.0."""
_COLUMNS = 24
_HEIGHT = {"stat": 4, "timeseries": 8, "row": 1}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "stoker",
        "title": "Stoker",
        "description": "Models that are kept warm: jobs, lines, workers, and what was decided.",
        "tags": ["stoker"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    for name, query in VARIABLES.items():
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def _panels() -> Iterator[dict[str, Any]]:
    """Rows of panels, from left to right and from the top down."""
    numbers, top = itertools.count(1), 0
    for title, panels in ROWS.items():
        row = {"h": _HEIGHT["row"], "w": _COLUMNS, "x": 0, "y": top}
        yield {"id": next(numbers), "type": "row", "title": title, "collapsed": False, "gridPos": row, "panels": []}
        top, left = top + _HEIGHT["row"], 0
        for panel in panels:
            height = _HEIGHT[panel.kind]
            if left + panel.width > _COLUMNS:
                top, left = top + height, 0
            place = {"h": height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel) | {"id": next(numbers), "gridPos": place}
            left += panel.width
        top += _HEIGHT[panels[-1].kind]


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": expression, "legendFormat": legend or "__auto"}
        for place, (legend, expression) in enumerate(panel.queries.items())
    ]
    graph = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    custom = graph | ({"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40} if panel.stacked else {})
    defaults = {"unit": panel.unit, "min": 0} | ({"custom": custom} if panel.kind == "timeseries" else {})
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": targets,
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"colorMode": "none", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}


def main() -> int:
    """Write the dashboard, or with ``--check`` say whether it differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the file is not up to date")
    check = parser.parse_args().check
    text = json.dumps(dashboard(), indent=2) + "\n"
    if FILE.exists() and FILE.read_text() == text:
        return 0
    if not check:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(text)
    print(f"{FILE.relative_to(ROOT)} {'is out of date; run make dashboard' if check else 'written'}")
    return 1 if check else 0


if __name__ == "__main__":
    sys.exit(main())
