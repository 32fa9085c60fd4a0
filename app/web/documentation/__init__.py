"""The API's own description: an OpenAPI document from code and feature contract, and a page to try it."""
