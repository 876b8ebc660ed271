"""Training and fine-tuning of the Keras models: pictures in folders become weights."""
