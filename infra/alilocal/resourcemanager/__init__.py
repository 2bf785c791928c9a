"""Resource Manager, API version 2020-03-31: the service-linked roles that deployment tools ask for."""
