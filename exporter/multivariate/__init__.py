"""Groups at run time: inputs from their queries, evaluation, alerts, status."""
