"""The web app that shows the board and takes votes."""
