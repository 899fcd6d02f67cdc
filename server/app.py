from cwm_env.server import create_app
app = create_app()
