"""The suite of airspeed velocity; see CONTRIBUTING."""
