"""Figures of what CITI chose, how it trained and what its routers do, and of the errors in trajectories."""
