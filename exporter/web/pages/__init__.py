"""Pages for people: server-rendered HTML and charts."""

from exporter.web.pages.page_data import PageData
from exporter.web.pages.routes import add_pages

__all__ = ["PageData", "add_pages"]
