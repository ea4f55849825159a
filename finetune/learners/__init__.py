"""What can be trained and measured, by method and role; ``learner`` is the shape they share."""
