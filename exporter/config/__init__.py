"""The configuration file: YAML text to a `Config`, or to every problem in it with file, line and column.

``yaml_tree`` and ``yaml_source`` read text, ``survey`` and ``environment`` prepare what they read, ``model`` says
what is valid, ``messages`` and ``checks`` say what is not, ``load`` joins them. ``reference`` writes the manual.
"""
