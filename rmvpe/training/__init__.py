"""What both trainers use: the loop, states, schedule, losses, logs and pictures of a run."""
