"""PromQL text: lexing, lints, and narrowing an expression to one series. Pure."""
