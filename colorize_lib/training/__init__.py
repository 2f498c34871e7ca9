"""Training: the colorizer, its relatives, the data they see, and the run folder that keeps what they learned."""
