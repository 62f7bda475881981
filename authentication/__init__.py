"""The accounts of the shop: who a customer is (``core``) and how an address is proven (``verification``)."""
