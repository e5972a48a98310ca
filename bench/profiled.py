"""`python -m bench.profiled FILE MODULE ARGUMENTS...` runs a module under cProfile and writes FILE however it ends."""

import cProfile
import pstats
import runpy
import signal
import sys
from pathlib import Path


def show_profiles(profiles: list[Path]) -> None:
    for path in profiles:
        print(f"\n{path.stem}: functions by their own time")
        pstats.Stats(str(path), stream=sys.stdout).sort_stats("tottime").print_stats(35)


def main() -> None:
    path, module = sys.argv[1:3]
    # uvicorn, having shut down, sends itself the signal again; its default action would leave no file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.argv = [module, *sys.argv[3:]]
    profile = cProfile.Profile()
    try:
        profile.runcall(runpy.run_module, module, run_name="__main__", alter_sys=True)
    finally:
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
