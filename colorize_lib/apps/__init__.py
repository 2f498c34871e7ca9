"""Trained networks for people: photographs, the web application, the Turing test."""
