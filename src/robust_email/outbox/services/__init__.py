"""Every change of state, each a function and one short transaction. Nothing here touches the network."""
