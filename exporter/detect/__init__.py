"""Recorded samples: bytes to arrays, through the engine, and the scores as CSV or JSON.

Pure: bytes in, bytes out. Files and pipes belong to the command line.
"""
