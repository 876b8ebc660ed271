"""From a checkpoint to a Keras .h5 file and back, with NumPy alone."""
