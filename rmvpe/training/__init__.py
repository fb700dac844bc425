"""What both trainers share: the loop, states, schedule, losses, logs and pictures of a run."""
