"""The proofs that `vaezoo check` and our own tests run on any plugin."""
