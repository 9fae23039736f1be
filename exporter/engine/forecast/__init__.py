"""Forecasts of every series, and the time until it reaches a limit."""
