"""Fast compression and checksums in the formats of zlib: ISA-L's where there is a build of it, zlib's own elsewhere.

What either writes, the other reads. Level 1 is the fastest of both that looks for repetitions.
"""

from __future__ import annotations

try:
    from isal.isal_zlib import adler32, compress, compressobj, crc32
except ImportError:  # There are processors without it.
    from zlib import adler32, compress, compressobj, crc32  # type: ignore[assignment]

__all__ = ["adler32", "compress", "compressobj", "crc32"]
