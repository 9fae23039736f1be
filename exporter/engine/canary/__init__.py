"""Two sides of one query compared: the difference of a slot, and a sequential test of it."""
