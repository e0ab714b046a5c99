"""The page of matchmaking: what is proposed, and what the votes tell."""
