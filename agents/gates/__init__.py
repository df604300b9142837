"""The eight stage gates: evidence in, verdicts out."""
