"""CaiT: configuration, parameters, variants, recognition."""
