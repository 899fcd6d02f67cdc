"""The end-points, one module for each group of them."""
