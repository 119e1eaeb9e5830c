"""Scripts that make files of the project. Not part of the package."""
