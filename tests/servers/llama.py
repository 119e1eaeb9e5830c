"""A real llama.cpp HTTP server on 127.0.0.1, in a process of its own, serving a tiny model.

Run as a script it *is* the server (``llama.py MODEL MODE``); imported, it starts one.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import xllamacpp

SLOT_CONTEXT_TOKENS = 1024
LONG_CONTEXT_TOKENS = 1 << 16
SLOTS = 2

Mode = Literal["chat", "embed", "endless"]
"""``endless``: goes on for so long that nobody waits for the end."""


def serve(model: Path, mode: Mode) -> None:
    """Print the address, then serve until standard input closes: no parent, no server."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    slot_tokens = LONG_CONTEXT_TOKENS if mode == "endless" else SLOT_CONTEXT_TOKENS
    params.n_ctx = slot_tokens * SLOTS  # llama.cpp divides it among the slots
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.endpoint_metrics = True
    if mode == "embed":
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.sampling.temp = 0.0  # the same answer each time, unless a request says otherwise
    params.sampling.ignore_eos = mode == "endless"
    server = xllamacpp.Server(params)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


@contextmanager
def llama_server(model: Path, mode: Mode = "chat") -> Iterator[str]:
    """Yields ``http://127.0.0.1:PORT``. The model is known there by its file's stem."""
    log = model.with_suffix(f".{mode}.log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, __file__, str(model), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("listening on "):
                    break
            else:
                raise RuntimeError(f"llama.cpp did not start:\n{log.read_text()[-2000:]}")
            yield line.split()[-1]
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    mode: Mode = sys.argv[2]  # type: ignore[assignment]
    serve(Path(sys.argv[1]), mode)
