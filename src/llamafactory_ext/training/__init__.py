"""What trains any method: losses, weights of tokens, engines, processes."""
