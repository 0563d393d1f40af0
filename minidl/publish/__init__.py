"""Pages and reports, made from the source and from finished runs."""
