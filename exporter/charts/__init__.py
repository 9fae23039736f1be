"""Pictures, made in processes of their own. They start when one is asked for, so they import no more than they need."""
