"""`facebatch tenants`: for whom the API keeps galleries, photos and jobs apart."""

import re

import click

from cli.columns import table
from cli.directory import on_database, on_tenant
from db.quotas import Usage, default_quotas, reset_quotas, set_quotas, usage_of
from db.session import Session
from db.settings import load_settings
from db.states import QuotaKind
from db.tenants import create_tenant, list_tenants

HEADING = ("id", "name", "created")


NO_LIMIT, DEFAULT = "none", "default"
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Amount(click.ParamType[str | int | None]):
    """So many; `none` for as many as anybody likes, and `default` for what the settings say."""

    name = "amount"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | int | None:
        """None is no limit."""
        text = str(value)
        if text == NO_LIMIT:
            return None
        if text == DEFAULT:
            return DEFAULT
        found = re.fullmatch(r"(\d{1,15})([KMGT]B)?", text.upper())
        if found is None:
            self.fail(
                f"'{text}' is no number, and neither '{NO_LIMIT}' nor '{DEFAULT}'", param, ctx
            )
        return int(found[1]) * UNITS[found[2] or ""]


@click.group(short_help="Make and list tenants, and say how much they may have.")
def tenants() -> None:
    """Make and list tenants, and say how much they may have. None sees anything of another's.

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


@tenants.command()
@click.argument("name")
@click.option("--bytes", "bytes_", type=Amount(), help="Bytes stored: 500GB, say.", metavar="N")
@click.option("--open-photos", type=Amount(), help="Photos that have not ended.", metavar="N")
@click.option("--open-jobs", type=Amount(), help="Jobs that have not ended.", metavar="N")
@click.pass_context
def quota(ctx: click.Context, /, name: str, **_amounts: object) -> None:
    """Show how much the tenant NAME has and may have, once that is set as told.

    N is a number, `none` for no limit, or `default` for what FACEBATCH_QUOTA_BYTES,
    FACEBATCH_QUOTA_OPEN_PHOTOS and FACEBATCH_QUOTA_OPEN_JOBS say.
    """
    options = {
        QuotaKind.BYTES: "bytes_",
        QuotaKind.OPEN_PHOTOS: "open_photos",
        QuotaKind.OPEN_JOBS: "open_jobs",
    }
    wanted = {
        kind: ctx.params[option]
        for kind, option in options.items()
        if ctx.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
    }
    defaults = default_quotas(load_settings())

    def work(session: Session, tenant_id: int) -> list[Usage]:
        reset = [kind for kind, amount in wanted.items() if amount == DEFAULT]
        reset_quotas(session, tenant_id, *reset)
        set_quotas(session, tenant_id, {one: wanted[one] for one in wanted.keys() - {*reset}})
        return usage_of(session, tenant_id, defaults)

    rows = [
        (one.kind.value, str(one.used), NO_LIMIT if one.allowed is None else str(one.allowed))
        for one in on_tenant(name, work)
    ]
    click.echo(table([("quota", "used", "allowed"), *rows]))
