"""Charts: data, drawing and computations. Heavy parts run in worker processes, which import what they need."""
