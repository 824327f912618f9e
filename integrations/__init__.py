"""What connects Playcast with the services around it. Imports both halves; neither imports it."""
