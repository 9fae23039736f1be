"""The configuration file: to a `Config`, or to every problem in it with file, line and column.

`load` reads the file, `model` and `plan` are what it means, `data_checks`, `model_checks` and `messages` report what is
wrong, `reference` writes docs/configuration.md.
"""
