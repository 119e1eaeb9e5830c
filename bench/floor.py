"""nginx twice: a fast upstream that answers like a vendor, and ``proxy_pass`` as the floor."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import answers, pinned, wait_until

MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/share/nginx/modules"))
CHUNKS = 100
CHUNK_EVERY_S = 0.002

TEXT = "The quick brown fox jumps over the lazy dog. " * 3

COMPLETION = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "small",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 30,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_abc",
}


def _chunk(**fields: object) -> str:
    common = {
        "id": "chatcmpl-abc123",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "small",
        "service_tier": "default",
        "system_fingerprint": "fp_abc",
    }
    return f"data: {json.dumps({**common, **fields}, separators=(',', ':'))}\n\n"


def openai_frames() -> tuple[str, str, str]:
    """What comes first, what is repeated 100 times, what comes last: 102 frames, as one vendor
    chunk each but for the two terminal ones."""
    piece = {"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "completion_tokens": 100, "total_tokens": 220}
    return "", _chunk(choices=[piece]), _chunk(choices=[last], usage=usage) + "data: [DONE]\n\n"


def anthropic_frames() -> tuple[str, str, str]:
    """The same answer as Anthropic streams it."""

    def frame(kind: str, **fields: object) -> str:
        data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n"

    message: dict[str, object] = {
        "id": "msg_abc123",
        "type": "message",
        "role": "assistant",
        "model": "small",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 120, "output_tokens": 1},
    }
    first = frame("message_start", message=message)
    first += frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
    piece = frame("content_block_delta", index=0, delta={"type": "text_delta", "text": " token"})
    last = frame("content_block_stop", index=0)
    last += frame(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 100},
    )
    return first, piece, last + frame("message_stop")


def lua_stream(first: str, piece: str, last: str) -> str:
    opening = f"ngx.print([==[{first}]==])" if first else ""
    return f"""
      default_type text/event-stream;
      content_by_lua_block {{
        ngx.req.read_body()
        {opening}
        for i = 1, {CHUNKS} do
          ngx.print([==[{piece}]==])
          ngx.flush(true)
          ngx.sleep({CHUNK_EVERY_S})
        end
        ngx.print([==[{last}]==])
      }}"""


def module(name: str) -> Path:
    return next((path for folder in MODULES if (path := folder / name).exists()), MODULES[0] / name)


def common(folder: Path, name: str) -> str:
    temporary = "".join(
        f"{kind}_temp_path {folder}/{name}-{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"access_log off;\nkeepalive_requests 100000000;\n{temporary}"


def configuration(folder: Path, name: str, http: str, modules: str = "") -> str:
    return f"""{modules}
daemon off;
master_process off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log crit;
events {{ worker_connections 4096; }}
http {{
  {common(folder, name)}
  {http}
}}
"""


def upstream_configuration(folder: Path, port: int) -> str:
    modules = "".join(
        f"load_module {module(name)};\n"
        for name in ("ndk_http_module.so", "ngx_http_lua_module.so")
    )
    completion = json.dumps(COMPLETION, separators=(",", ":"))
    http = f"""
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /ready {{ return 200 'yes'; }}
    location = /unary/v1/chat/completions {{
      default_type application/json;
      return 200 '{completion}';
    }}
    location = /stream/v1/chat/completions {{ {lua_stream(*openai_frames())}
    }}
    location = /cross/v1/messages {{ {lua_stream(*anthropic_frames())}
    }}
  }}"""
    return configuration(folder, "upstream", http, modules)


def proxy_configuration(folder: Path, port: int, upstream_port: int) -> str:
    """``proxy_buffering off``: like a gateway, it hands on each chunk as it comes."""
    http = f"""
  upstream up {{
    server 127.0.0.1:{upstream_port};
    keepalive 256;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}"""
    return configuration(folder, "proxy", http)


@contextmanager
def nginx(folder: Path, name: str, text: str, port: int, core: int) -> Iterator[int]:
    """Yields its process id once it answers."""
    path = folder / f"{name}.conf"
    path.write_text(text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [program, "-e", f"{folder}/{name}.log", "-p", str(folder), "-c", str(path)]
    with pinned(command, core, folder / f"{name}.out") as process:
        wait_until(
            lambda: process.poll() is not None or answers(f"http://127.0.0.1:{port}/ready"),
            f"nginx {name} was to answer",
        )
        if process.poll() is not None:
            raise SystemExit(f"bench: nginx {name}: {(folder / f'{name}.out').read_text()}")
        yield process.pid
