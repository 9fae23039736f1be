"""Pages and charts for people: HTML that a server renders, and pictures for it and for messages."""

from exporter.web.pages.models import PageData
from exporter.web.pages.routes import add_pages

__all__ = ["PageData", "add_pages"]
