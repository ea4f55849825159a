"""What this machine can carry: memory forecast, batch, and which strategy fits."""
