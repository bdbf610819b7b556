"""Tasks, receipts, resume, and the executors that run them."""
