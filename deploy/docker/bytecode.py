"""Import what the daemon imports, sooner or later: its bytecode is then in the image, whose file system is read-only.

That of everything would be 100 MB, of which most is never used.
"""

import importlib
import pkgutil

import exporter

# Imported inside of functions.
LATE = (
    "holidays",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.sparse.csgraph",
    "scipy.special",
    "sklearn.ensemble",
    "statsmodels.tsa.seasonal",
)

for module in pkgutil.walk_packages(exporter.__path__, "exporter."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in LATE:
    importlib.import_module(name)
