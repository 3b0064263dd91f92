"""The way to the services: HTTP/1.1 over our own transport, or over httpx through a proxy."""
