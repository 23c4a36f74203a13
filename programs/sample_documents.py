"""Documents for the summary programs, so that they run without arguments."""

HARBOUR = """\
The harbour of Sandvik was dug by hand between 1871 and 1879. Two hundred men worked in three shifts, and the stone \
they broke was laid as a mole that still takes the western swell. When the work was done the town had more debts than \
boats, and for ten years the harbour stood almost empty.

Herring changed that. In the autumn of 1889 the shoals came close to the coast, and within two seasons Sandvik had \
four salting houses, a cooperage and a bank. The harbour master wrote every landing into a ledger: the boat, the \
weight, the price, and in a last column, for reasons that nobody wrote down, the direction of the wind.

The ledgers were kept until 1934. A teacher found them in the loft of the customs house and let her pupils copy them \
onto cards, one card for each landing. The cards showed what the fishermen had always said: the herring came with a \
north wind that had lasted for three days, and left with the first warm rain.

Today the mole carries a cycle path and a small light. The salting houses are flats, the bank is a bakery, and the \
cards are in the county archive, where a group of oceanographers has begun to read them. Their first result is a map \
of water temperatures for years in which nobody measured any.
"""


def harbour() -> str:
    """A short history of a harbour, in four paragraphs."""
    return HARBOUR
