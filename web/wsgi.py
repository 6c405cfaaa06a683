"""What gunicorn loads: the app, with the settings of the environment."""

from db.failpoints import allow_failpoints
from db.logs import configure_logs
from db.settings import load_settings
from web.app import create_app

settings = load_settings().require_stores().require_secret_key()
configure_logs(settings.log_level)
allow_failpoints(settings)
app = create_app(settings)
