"""The daemon: construction, start, reload, stop. The only package that knows all others."""

from exporter.app.build import Options, build
from exporter.app.daemon import App

__all__ = ["App", "Options", "build"]
