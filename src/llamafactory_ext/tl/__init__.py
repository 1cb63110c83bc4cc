"""TL-Training (arXiv:2412.15495): which calls to leave out of the loss, how to weigh tokens, what a call is worth."""
