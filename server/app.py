from cwm_env.server.app import from_environment

app = from_environment()
