"""The matrix file: TOML, its checks, its rows."""
