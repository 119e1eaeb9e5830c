"""Floor 1. Wire formats, pure: one dialect per file, used in both directions. No IO, no clock."""
