"""What bench/signalling.py measures with: a server in a process of its own, and clients in others."""
