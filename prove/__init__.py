"""Proofs of what is promised: each runs the real gateway against an upstream that keeps a log."""
