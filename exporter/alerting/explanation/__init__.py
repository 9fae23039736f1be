"""The annotations of an alert: what is said of a series, a group, a storm. Pure."""
