"""The flows' runtime: the task runner, the retry policy, shared resources, the schedule."""
