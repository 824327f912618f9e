"""Whole programs over the emulated link: senders in one network namespace, a receiver in the other.

Each is a process of its own that speaks lines: ``sdp {…}`` both ways, ``first`` when the first
picture is decoded, and JSON at the end. The senders stream the same generated picture.
"""
