"""The HTTP surface: who may call, the inference routes, control routes and the dashboard."""
