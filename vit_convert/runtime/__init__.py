"""The process that vit-convert runs in: files, worker processes, TensorFlow's noise, versions."""
