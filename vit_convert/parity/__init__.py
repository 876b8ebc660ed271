"""Parity: measured against PyTorch, or against what it gave when it was recorded."""
