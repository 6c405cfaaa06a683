"""`facebatch demo`: the main job on real photos, to look at."""

from pathlib import Path

import click

from cli.commands.match import FOLDER, folders_of, matched_photos
from cli.matching import MatchOptions
from cli.output import table
from cli.sample import prepare_sample
from cli.stack.home import home_of
from cli.stack.session import start_detached
from db.settings import load_settings
from pipeline.specs import DEFAULT_ENGINE
from pipeline.thresholds import WantedThreshold

OPTIONS = MatchOptions(
    engine=DEFAULT_ENGINE.name,
    threshold=WantedThreshold(),
    top_k=5,
    multiple_faces="refuse",
)


@click.command(short_help="Match a sample of real photos, or your own.")
@click.option(
    "--people", "people_dir", type=FOLDER, metavar="DIR", help="People, instead of the sample's."
)
@click.option(
    "--photos", "photos_dir", type=FOLDER, metavar="DIR", help="Photos, instead of the sample's."
)
def demo(people_dir: Path | None, photos_dir: Path | None) -> None:
    """Start the local stack, match a sample of real photos (or yours), and show a table.

    The stack goes on serving; `facebatch down` stops it.
    """
    if (people_dir is None) != (photos_dir is None):
        raise click.UsageError("--people and --photos go together: give both, or neither")
    settings = load_settings()
    stack = start_detached(settings)
    if people_dir is None or photos_dir is None:
        sample = prepare_sample(home_of(settings) / "sample")
        people_dir, photos_dir = sample.people_dir, sample.photos_dir
    people, photos = folders_of(people_dir, photos_dir)
    with matched_photos(settings, people, photos, OPTIONS) as results:
        click.echo(table(results))
    click.echo(f"The API listens at {stack.api_url} (docs: {stack.api_url}/docs).")
    click.echo("It goes on serving until `make down`.")
