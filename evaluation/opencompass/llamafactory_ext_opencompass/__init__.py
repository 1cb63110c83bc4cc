"""What our configurations add to OpenCompass, which stays as it is installed: a model, data sets and evaluators."""
