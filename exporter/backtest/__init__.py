"""The past judged again: what the exporter would have said and whom it would have woken."""
