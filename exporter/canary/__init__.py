"""Canaries at run time: the comparisons of each query, their alerts, status and state."""
