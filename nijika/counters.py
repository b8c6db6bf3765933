"""What this process counts while it works, for `/metrics`. Says nothing by itself.

A leaf: whoever does the work counts it. Labels have few values, never a user's words.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
LATENCIES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

HTTP_SECONDS = Histogram(
    "nijika_http_request_duration_seconds",
    "From a request's head to its answer's last byte; event streams are not in it.",
    ["route", "method", "status"],
    buckets=LATENCIES_S,
    registry=REGISTRY,
)
SUBMITS = Counter(
    "nijika_submissions_total",
    "Submissions that reached the database, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
LINK_CALLS = Counter(
    "nijika_link_calls_total",
    "Calls of workers, by the answer: ok, stale, refused.",
    ["outcome"],
    registry=REGISTRY,
)
LINK_REPORTS = Counter(
    "nijika_link_reports_total",
    "Ends of runs that workers reported, by what they were: succeeded, or a code.",
    ["outcome"],
    registry=REGISTRY,
)

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


def observe(route: str, method: str, status: int, seconds: float) -> None:
    """Count an answer. `route` is the pattern of an address, '' where none fitted."""
    labels = (route, method if method in METHODS else "other", str(status))
    HTTP_SECONDS.labels(*labels).observe(seconds)
