"""What a run needs and no lecture names."""
