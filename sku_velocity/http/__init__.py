"""The HTTP core that the client of a source and the client of an engine share."""
