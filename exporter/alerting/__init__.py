"""From anomalies to alerts: state machine, storms, root causes, labels, and explanations. Pure."""
