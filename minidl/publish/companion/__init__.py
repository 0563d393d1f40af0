"""The reading companion: a site with every source file, its prose beside its code."""
