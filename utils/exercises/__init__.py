"""The exercise engine and what it needs: cards, guard, state, stubs."""
