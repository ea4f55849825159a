"""The recipe of the pocket models: their world, their teacher, and one file per model."""
