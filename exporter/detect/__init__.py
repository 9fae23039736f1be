"""Recorded samples: bytes to arrays, through the same engine, and what it said of them as CSV or JSON.

Pure: bytes in, bytes out. Files and pipes belong to the command line.
"""
