"""The API external.metrics.k8s.io over one Prometheus endpoint: ``python server.py SOURCE``.

A metric's value is the sum of its samples that have all the labels of the selector.
"""

import http.server
import json
import re
import ssl
import sys
import time
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

_GROUP = "external.metrics.k8s.io/v1beta1"
_ROOT = f"/apis/{_GROUP}"
_CERTIFICATE = "/certificate"


def value(exposition: str, metric: str, labels: dict[str, str]) -> float:
    """The sum of the samples of `metric` with these labels."""
    total = 0.0
    for line in exposition.splitlines():
        found = re.match(rf"{re.escape(metric)}(?:{{(.*)}})? (\S+)$", line)
        if found and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")).items():
            total += float(found[2])
    return total


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers discovery, and one list of values for each metric."""

    def do_GET(self) -> None:
        """Answer."""
        url = urlsplit(self.path)
        if url.path == _ROOT:
            self._answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": _GROUP, "resources": []})
            return
        metric = url.path.rpartition("/")[2]
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        labels = dict(pair.split("=", 1) for pair in selector.split(",") if "=" in pair)
        with urllib.request.urlopen(sys.argv[1]) as answer:  # noqa: S310 - the address that the command line names
            found = value(answer.read().decode(), metric, labels)
        item = {
            "metricName": metric,
            "metricLabels": labels,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "value": f"{found * 1000:.0f}m",
        }
        self._answer({"kind": "ExternalMetricValueList", "apiVersion": _GROUP, "metadata": {}, "items": [item]})

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{_CERTIFICATE}/tls.crt", f"{_CERTIFICATE}/tls.key")
    server = http.server.ThreadingHTTPServer(("", 8443), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
