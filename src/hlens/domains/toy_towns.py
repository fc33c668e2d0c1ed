"""Towns of the toy world: rivers and founders.

Invented; half of the entities were never taught to the model ``"toy"``. ``meta["taught"]`` says
which; see `hlens.toy`. An entity is a group.
"""

from hlens.domains._groups import by_split
from hlens.toy import world

questions = by_split(lambda: world.questions("toy_towns"))
