"""Benchmarks that anyone can run: each prints a table and writes one JSON (see README.md)."""
