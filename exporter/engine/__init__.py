"""Samples in, scores out: pure arrays, time as an argument."""
