"""`llamafactory-ext infer`: questions, prompts, backends and the file of answers."""
