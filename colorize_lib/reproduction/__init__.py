"""A paper's notebook run headless, and what becomes of its numbers."""
