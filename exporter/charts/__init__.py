"""Charts as pictures, drawn in worker processes that start on demand and import little."""
