"""The parts of the Keras models, one idea per file."""
