"""`python -m bench.profiled FILE MODULE ARGUMENTS...` runs a module under cProfile and writes FILE however it ends.

`--on-signal` before FILE profiles from SIGUSR1 to SIGUSR2 only, any number of times.
"""

import cProfile
import pstats
import runpy
import signal
import sys
import time
from pathlib import Path


def show_profiles(profiles: list[Path]) -> None:
    for path in profiles:
        print(f"\n{path.stem}: functions by their own time")
        pstats.Stats(str(path), stream=sys.stdout).sort_stats("tottime").print_stats(35)


def main() -> None:
    is_on_signal = sys.argv[1] == "--on-signal"
    path, module, *arguments = sys.argv[1 + is_on_signal :]
    # uvicorn, having shut down, sends itself the signal again; its default action would leave no file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.argv = [module, *arguments]
    profile = cProfile.Profile(time.thread_time)  # a busy machine is not in it
    if is_on_signal:
        signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
        signal.signal(signal.SIGUSR2, lambda *_: profile.disable())
    else:
        profile.enable()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
