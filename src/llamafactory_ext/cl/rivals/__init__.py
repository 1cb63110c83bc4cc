"""Published methods against forgetting, as trainings of LoRA with a term, a start or a merge of their own."""
