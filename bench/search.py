"""What search in knowledge costs, or how well it finds; the last line printed is one JSON object."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from bench.beir import FORM, BadCollection, read_collection
from bench.installation import data_folder, installation
from bench.library import tell
from bench.search_quality import measure_quality
from bench.search_speed import measure_speed

TARGETS = "targets: p95_ms <= 50, recall_at_10 >= 0.95, ingest_chunks_per_s >= 500, p50_growth and whole_p50_growth < 2"
CHUNKS, LEAST_CHUNKS = 100_000, 1_000
WORKERS = 2


async def bench(options: argparse.Namespace) -> dict[str, Any]:
    collection = read_collection(options.beir) if options.beir is not None else None
    with data_folder() as folder:
        async with installation(folder, workers=WORKERS) as arena:
            if collection is not None:
                return await measure_quality(arena, collection)
            return await measure_speed(arena, options.chunks)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-search", description=__doc__)
    parser.add_argument("--chunks", type=int, default=CHUNKS, metavar="N", help=f"how many to search ({CHUNKS})")
    parser.add_argument("--beir", type=Path, metavar="DIR", help=f"find the documents of a collection; {FORM}")
    options = parser.parse_args(arguments)
    if options.chunks < LEAST_CHUNKS:
        parser.error(f"there must be {LEAST_CHUNKS} chunks at least")
    return options


def main() -> None:
    options = options_of(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave nothing behind, as with Ctrl-C
    try:
        figures = uvloop.run(bench(options))
    except BadCollection as error:
        sys.exit(str(error))
    if options.beir is None:
        tell(TARGETS)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
