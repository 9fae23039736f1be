"""The annotations of alerts: registry, builders, templates, number formats, links. Pure."""
