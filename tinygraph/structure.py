"""How often attributes of modules have changed, so that compiled functions know when to look at modules again."""

changes = 0
