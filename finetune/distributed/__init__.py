"""One run by several processes: gradients, sharded weights, and who does what."""
