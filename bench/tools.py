"""The programs the bench needs: installed when we may, named loudly when we may not."""

import os
import shutil
import subprocess

from bench.floor import module

PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "lua": "libnginx-mod-http-lua"}


def missing() -> list[str]:
    found = {
        "wrk": shutil.which("wrk") is not None,
        "nginx": shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is not None,
        "lua": module("ngx_http_lua_module.so").exists(),
    }
    return [PACKAGES[name] for name, there in found.items() if not there]


def apt(*words: str) -> None:
    """``RUNLEVEL=1`` keeps the packages from starting their services."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "-qq", *words], stdout=subprocess.DEVNULL, env=quiet, check=False)


def provide() -> None:
    """Raises SystemExit naming what is missing."""
    packages = missing()
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        apt("update")
        apt("install", "-y", "--no-install-recommends", *packages)
    if packages := missing():
        raise SystemExit(
            f"bench: missing {', '.join(packages)}. As root: apt-get install {' '.join(packages)}"
        )
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("bench: needs two cores, one for what is measured and one for the rest")
