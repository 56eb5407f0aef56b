"""The dashboard asks for nothing that the programs do not expose."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import promql_parser as promql
import pytest
from prometheus_client.registry import CollectorRegistry

from stoker_orchestrator.app.metrics import DecisionKind, Metrics
from stoker_worker.app.metrics import Metrics as WorkerMetrics
from tools.dashboard import FILE, ROOT, dashboard
from tools.panels import ROWS, VARIABLES
from tools.reference import families

SCRAPED = {"namespace", "pod", "service", "container", "endpoint", "instance", "job"}
"""Labels that a scrape by the chart's monitors adds."""
OF_WORKERS = {"model"}
"""What the chart's PodMonitor adds beside them."""
PANELS = [panel for row in ROWS.values() for panel in row]
QUERIES = [(legend, query) for panel in PANELS for legend, query in panel.queries.items()]


def exposed(registry: CollectorRegistry, scraped: set[str]) -> dict[str, set[str]]:
    """The labels of every series, by its name."""
    return {
        name: names | scraped for family, labels in families(registry) for name, names in series(family.name, family.type, labels)
    }


def series(name: str, kind: str, labels: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """What a metric is called in an exposition."""
    if kind == "histogram":
        yield f"{name}_bucket", {*labels, "le"}
        yield from ((f"{name}_{part}", set(labels)) for part in ("sum", "count"))
    else:
        yield f"{name}_total" if kind == "counter" else name, set(labels)


EXPOSED = exposed(Metrics().registry, SCRAPED) | exposed(WorkerMetrics().registry, SCRAPED | OF_WORKERS)


def parsed(query: str) -> promql.Expr:
    """The query, with Grafana's interval put in. Raises ValueError."""
    return promql.parse(query.replace("$__rate_interval", "5m"))


def selectors(expression: promql.Expr) -> list[promql.VectorSelector]:
    """Every series that the expression asks for."""
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        elif isinstance(node, promql.MatrixSelector):
            found.append(node.vector_selector)

    promql.walk(expression, pre_visit=visit)
    return found


def groups(expression: promql.Expr) -> list[promql.AggregateExpr]:
    """Every aggregation, the outermost first."""
    found: list[promql.AggregateExpr] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.AggregateExpr):
            found.append(node)

    promql.walk(expression, pre_visit=visit)
    return found


def kept(aggregation: promql.AggregateExpr) -> set[str]:
    """The labels that are left of it."""
    return set(aggregation.modifier.labels) if aggregation.modifier else set()


def faults(query: str) -> list[str]:
    """What a query asks for that nobody exposes."""
    expression = parsed(query)
    asked = selectors(expression)
    unknown = [f"no metric {each.name}" for each in asked if each.name not in EXPOSED]
    unknown += [
        f"{each.name} has no label {matcher.name}"
        for each in asked
        for matcher in each.matchers.matchers
        if matcher.name not in EXPOSED.get(each.name or "", {matcher.name})
    ]
    for aggregation in groups(expression):
        below = set().union(*(EXPOSED.get(each.name or "", set()) for each in selectors(aggregation.expr)))
        below = below.intersection(*(kept(each) for each in groups(aggregation.expr)[:1]))
        unknown += [f"nothing is left to group by {label}" for label in kept(aggregation) - below]
    return unknown


@pytest.mark.parametrize("query", [query for _, query in QUERIES])
def test_a_panel_asks_for_metrics_and_labels_that_are_exposed(query: str) -> None:
    assert selectors(parsed(query))
    assert faults(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "sum(stoker_jobs)",
        "sum(rate(stoker_jobs_total_total[5m]))",
        'stoker_jobs_total{pipeline="x"}',
        "sum by (caller) (stoker_jobs_total)",
        "sum by (model) (max by (namespace) (stoker_model_warm))",
        "histogram_quantile(0.5, sum by (le) (rate(stoker_job_queue_seconds_count[5m])))",
    ],
)
def test_a_question_that_nobody_answers_is_found(query: str) -> None:
    assert faults(query)


@pytest.mark.parametrize(("legend", "query"), QUERIES)
def test_a_legend_names_labels_that_are_left(legend: str, query: str) -> None:
    outermost = groups(parsed(query))[0]
    assert set(re.findall(r"{{(\w+)}}", legend)) <= kept(outermost)


@pytest.mark.parametrize(("legend", "query"), QUERIES)
def test_a_decision_that_is_asked_for_is_one_that_is_made(legend: str, query: str) -> None:
    matchers = [matcher for each in selectors(parsed(query)) for matcher in each.matchers.matchers if matcher.name == "kind"]
    assert {kind for matcher in matchers for kind in matcher.value.split("|")} <= set(get_args(DecisionKind))


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_choice_comes_from_a_metric_that_is_exposed(variable: str) -> None:
    asked = re.fullmatch(r"label_values\((.+), (\w+)\)", VARIABLES[variable])
    assert asked is not None
    assert faults(f"sum by ({asked[2]}) ({asked[1]})") == []


def test_an_alert_of_the_guide_asks_for_what_is_exposed() -> None:
    guide = (ROOT / "docs/guides/watching.md").read_text()
    alerts = [found.replace("\\|", "|") for found in re.findall(r"^\| .*\? \| `(.+)` \|$", guide, re.MULTILINE)]
    assert len(alerts) == 4
    assert [fault for alert in alerts for fault in faults(alert)] == []


def test_every_kind_of_decision_is_in_the_guide() -> None:
    guide = (ROOT / "docs/guides/watching.md").read_text()
    assert [kind for kind in get_args(DecisionKind) if f"`{kind}`" not in guide] == []


def test_the_file_is_the_generated_one_and_its_panels_do_not_overlap() -> None:
    panels: list[Mapping[str, Any]] = dashboard()["panels"]
    places = [
        (each["gridPos"]["x"] + x, each["gridPos"]["y"] + y)
        for each in panels
        for x in range(each["gridPos"]["w"])
        for y in range(each["gridPos"]["h"])
    ]

    assert json.loads(FILE.read_text()) == dashboard()
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({each["id"] for each in panels}) == len(panels)
