"""Replay of the past: which alerts a configuration would have raised."""
