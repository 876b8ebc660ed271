"""The Vision Transformer: configuration, parameters, variants, recognition."""
