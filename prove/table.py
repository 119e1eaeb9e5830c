"""The table in docs/proofs.md, one row a proof, from the figures of the last run of each."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

BEGIN, END = "<!-- results: written by make prove -->", "<!-- end of results -->"
HEAD = "| proof | holds | figures | seconds | on |\n|---|---|---|---|---|\n"


def write_table(document: Path, results: Sequence[Mapping[str, object]]) -> None:
    """Replace the rows of these proofs, and keep those of others."""
    before, _, rest = document.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| `")}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    for result in results:
        rows[f"`{result['proof']}`"] = row(result, today)
    table = HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows))
    document.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}")


def row(result: Mapping[str, object], today: str) -> str:
    aside = ("proof", "ok", "seconds")
    figures = ", ".join(f"{name} {value}" for name, value in result.items() if name not in aside)
    holds = "yes" if result["ok"] else "**no**"
    return f"| `{result['proof']}` | {holds} | {figures} | {result['seconds']} | {today} |"
