"""The table of results: the proofs that ran have new rows, all others keep theirs."""

from pathlib import Path

from prove.table import BEGIN, END, write_table

PAGE = f"""# Proofs

{BEGIN}

| proof | holds | figures | seconds | on |
|---|---|---|---|---|
| `edge` | yes | smuggled 0 | 9.0 | 2026-11-01 |
| `wall` | yes | faults 30 | 5.0 | 2026-11-02 |

{END}

The end.
"""


def test_who_ran_has_a_new_row_and_the_page_is_otherwise_the_same(tmp_path: Path) -> None:
    page = tmp_path / "proofs.md"
    page.write_text(PAGE)
    write_table(
        page,
        [
            {"proof": "wall", "faults": 31, "ok": False, "seconds": 6.5},
            {"proof": "budget", "rounds": 4, "over_nano_usd": 0, "ok": True, "seconds": 2.0},
        ],
    )
    before, _, after = page.read_text().partition("|---|---|---|---|---|\n")
    budget, edge, wall, *rest = after.split("\n")

    assert before == PAGE.partition("|---|")[0]
    assert budget.startswith("| `budget` | yes | rounds 4, over_nano_usd 0 | 2.0 | ")
    assert edge == "| `edge` | yes | smuggled 0 | 9.0 | 2026-11-01 |"
    assert wall.startswith("| `wall` | **no** | faults 31 | 6.5 | ")
    assert rest == ["", END, "", "The end.", ""]
