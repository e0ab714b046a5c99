"""Reserved for the workers that make artifacts; holds no code yet."""
