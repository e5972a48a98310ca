"""What this process counts of its work, for Prometheus. Nobody's name or id is ever a label."""

from prometheus_client import CollectorRegistry, Counter

REGISTRY = CollectorRegistry()
CACHE_REQUESTS = Counter(
    "arena_cache_requests",
    "Questions to a cache: `hit`, `miss`, or `away` where it did not answer.",
    ("cache", "outcome"),
    registry=REGISTRY,
)
CITATIONS_DROPPED = Counter(
    "arena_citations_dropped",
    "Citations in agents' messages that point to nothing their author was shown.",
    registry=REGISTRY,
)
