"""The training loop, and what reaches it: batches, augmentation, callbacks, stages carried out."""
