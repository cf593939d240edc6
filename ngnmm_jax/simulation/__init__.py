"""Runs: one, many together, of neurons; where they begin."""
