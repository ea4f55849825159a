"""Training: what turns pictures and words into weights. Imports `tools`, never `assistant`."""
