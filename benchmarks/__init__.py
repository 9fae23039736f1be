"""What things cost, measured side by side; each module is one command."""
