"""Pictures, prepared as a checkpoint's authors prepared them."""
