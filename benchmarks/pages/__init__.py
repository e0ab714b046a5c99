"""How fast the pages answer, with 200 models and a million votes."""
