"""Training: the colorizer and its relatives, their data, and the run folder that keeps their weights and histories."""
