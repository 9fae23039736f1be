"""Evaluation of one query at one slot: fetch, score, judge, commit, publish, send."""
