"""Floor 1. The decision, as arithmetic: same inputs, same plan. No IO, no clock, no dice."""
