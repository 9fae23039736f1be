"""Anomalies of different queries side by side: what began together, what explains what, who does the damage. Pure."""
