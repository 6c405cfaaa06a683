"""`facebatch import-encodings`: people whose encodings are there already."""

from pathlib import Path

import click

from cli.encodings import EncodingsError, read_encodings
from cli.names import checked_name
from cli.stack.database import used_database
from cli.telling import counted
from db.errors import DuplicateSubjectError, NamesTakenError
from db.imports import Imported, NamedEmbeddings, import_templates
from db.prepare import prepare_database
from db.session import Role, Session, make_database, retried
from db.settings import load_settings
from db.tenants import LOCAL_TENANT, ensure_tenant
from pipeline.names import spelt
from pipeline.specs import ENGINE_SPECS, EngineSpec, engine_spec

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FACE_RECOGNITION = "dlib-classic"
"""The engine whose embeddings are face_recognition's encodings."""
SHOWN_NAMES = 5


@click.command("import-encodings", short_help="Take over encodings of face_recognition.")
@click.argument("file", type=FILE)
@click.option(
    "--gallery",
    required=True,
    callback=checked_name,
    metavar="NAME",
    help="Where the people go; made where it does not exist.",
)
@click.option(
    "--names",
    "names_file",
    type=FILE,
    metavar="NAMES",
    help="The names for a .npy. Default: the .txt beside it, people.txt for people.npy.",
)
@click.option(
    "--engine",
    type=click.Choice(sorted(ENGINE_SPECS)),
    default=FACE_RECOGNITION,
    show_default=True,
    help="What made the encodings; dlib-classic is face_recognition.",
)
def import_encodings(file: Path, gallery: str, names_file: Path | None, engine: str) -> None:
    """Import encodings that you have, as people to find in photos.

    All of FILE goes into the gallery, or nothing of it where anything is wrong. FILE is never a
    pickle, but one of:

    \b
    .json  {"name": [numbers]}, {"name": [[numbers], [numbers]]},
           or {"names": [names], "encodings": [[numbers], [numbers]]}
    .csv   a line for each person: the name, then the numbers
    .npy   an array of shape (people, numbers), its names a line each in NAMES

    Uses the database of DATABASE_URL, or that of the local stack; where none is running, it
    starts one and stops it at the end. Exit status: 0 when all is imported, 2 for bad arguments
    or a bad file, 1 for anything else.
    """
    spec = engine_spec(engine)
    try:
        found = read_encodings(file, names_file, spec)
    except EncodingsError as exc:
        raise click.BadParameter(str(exc), param_hint="'FILE'") from exc
    done = _imported(gallery, spec, found)
    click.echo(
        f"Added {counted(done.subject_count, 'subject')} with "
        f"{counted(done.template_count, 'template')} to the gallery {spelt(gallery)} "
        f"(id {done.gallery_id})."
    )


def _imported(gallery: str, spec: EngineSpec, found: NamedEmbeddings) -> Imported:
    def work(session: Session) -> Imported:
        tenant_id = ensure_tenant(session, LOCAL_TENANT)
        return import_templates(session, tenant_id, gallery=gallery, spec=spec, found=found)

    with used_database(load_settings()) as database_url:
        owner = make_database(database_url, role=Role.OWNER)
        database = make_database(database_url, role=Role.SYSTEM)
        try:
            prepare_database(owner)
            return retried(database, work)
        except NamesTakenError as exc:
            raise DuplicateSubjectError(_taken(gallery, exc.names)) from exc
        finally:
            owner.dispose()
            database.dispose()


def _taken(gallery: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(spelt(name) for name in names[:SHOWN_NAMES])
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return (
        f"nothing was imported: the gallery {spelt(gallery)} has {shown}{more} already; leave "
        "them out, delete them there, or choose another gallery"
    )
