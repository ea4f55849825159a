"""What a run is told: the schema, the files it is read from, the stages laid over it."""
