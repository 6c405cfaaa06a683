"""`facebatch tenants`: for whom the API keeps galleries, photos and jobs apart."""

import click

from cli.columns import table
from cli.directory import on_database
from db.tenants import create_tenant, list_tenants

HEADING = ("id", "name", "created")


@click.group(short_help="Make and list tenants.")
def tenants() -> None:
    """Make and list tenants. None sees anything of another's.

    Works on the database of DATABASE_URL, or on the local stack's; where none is running, it
    starts one and stops it at the end.
    """


@tenants.command()
@click.argument("name")
def create(name: str) -> None:
    """Make a tenant, called NAME: a-z, 0-9, '.', '_' and '-', 63 at the most."""
    made = on_database(lambda session: create_tenant(session, name))
    click.echo(f"Made the tenant {made.name} (id {made.id}).")


@tenants.command("list")
def list_() -> None:
    """List tenants by name."""
    found = on_database(list_tenants)
    rows = [(str(one.id), one.name, f"{one.created_at:%Y-%m-%d %H:%M}Z") for one in found]
    click.echo(table([HEADING, *rows]))
