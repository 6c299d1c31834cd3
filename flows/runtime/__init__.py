"""What every flow runs on: the task runner, the retry policy, shared resources, the schedule."""
