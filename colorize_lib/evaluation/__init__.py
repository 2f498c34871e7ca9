"""Scores, judges and plots."""
