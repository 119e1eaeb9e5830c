"""Floor 7. The commands. Each does one thing through app, the journal or decide, and prints it."""
