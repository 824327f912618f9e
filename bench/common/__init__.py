"""What the benchmarks share: results, the machine, processes, displays, and the sender measured."""
