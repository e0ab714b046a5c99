"""How well methods predict real votes one block ahead, and whether they find an order that is known."""
