"""Figures of the components that were chosen, of training and of routers, and of the errors in trajectories."""
