"""The guided deployment: a team's answers, its prefect.yaml, and what a server lacks of it."""
