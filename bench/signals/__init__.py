"""What bench/signalling.py measures with: servers and clients in processes of their own."""
