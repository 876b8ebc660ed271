"""Classes in words: what a text tower makes of them becomes the head of a classifier."""
