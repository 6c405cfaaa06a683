"""The bodies of the API, in and out, as pydantic models; OpenAPI is made from them."""
