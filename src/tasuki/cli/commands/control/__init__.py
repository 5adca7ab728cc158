"""The commands of ``tasuki`` that change what workers do."""
