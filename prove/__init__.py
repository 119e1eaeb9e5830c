"""Proofs of what is promised: each runs the real gateway against an upstream that keeps a log."""

import sys
from pathlib import Path

# Gateway process and scripted upstream are the tests' own: `import servers` finds them.
sys.path.append(str(Path(__file__).parents[1] / "tests"))
