"""Floor 5. The listener: HTTP in, HTTP out. Knows routes, not routing."""
