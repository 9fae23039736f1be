"""What people say of episodes, and how the baselines learn from it."""
