from hypothesis import HealthCheck, settings

# Two busy cores: how long an example takes says nothing. Failures print the blob that repeats them.
settings.register_profile(
    "ci",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("ci")
