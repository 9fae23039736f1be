"""Feedback of users on episodes, and silences as acknowledgements."""
