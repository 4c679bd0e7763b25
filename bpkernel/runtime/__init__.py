"""What runs compiled work: the threading layer, the task queue, aligned memory."""
