"""A static page that runs a .tflite file in the browser, and a server to look at it."""
