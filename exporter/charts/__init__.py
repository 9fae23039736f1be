"""Pictures, made in a process of their own. It starts when one is asked for, so it imports no more than it needs."""
