"""Whether it learned: predictions, figures with intervals, and controls."""
