"""Trained networks for people: photographs, the two pages, the Turing test."""
