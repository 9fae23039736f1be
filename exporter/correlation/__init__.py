"""Anomalies of different queries side by side: which began together, and which explains which. Pure."""
