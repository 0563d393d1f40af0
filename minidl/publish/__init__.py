"""What is made of the source and of finished runs."""
