"""minidl: deep learning from scratch, one concept a file."""
