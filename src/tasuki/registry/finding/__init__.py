"""Finding the project: by argument, environment, configuration, or as the only one of a folder."""
