"""Helper programs beside the proxy: installed apart, started, watched, stopped."""
