"""The command line: one file a noun. Modules import what their verbs need when a verb runs."""
