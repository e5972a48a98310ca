"""Row-level security: PostgreSQL itself keeps workspaces apart, whatever a query of ours forgets.

The application acts as the role `arena_app`, which bypasses no policy. A transaction says which workspace it is for
(`arena.workspace_id`) and sees that one's rows; one that says nothing sees none. What has to look across workspaces is
done by the functions made here, each as narrow as its task: they run as the owner of the tables.

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TENANT_TABLES = (
    "agents",
    "agent_versions",
    "knowledge_bases",
    "documents",
    "discussions",
    "participants",
    "discussion_events",
    "messages",
    "turns",
    "reservations",
    "providers",
)
# Who somebody is, and where they belong, is asked before it is known which workspace is meant.
IDENTITY_POLICIES = {
    "workspaces": "id = {here}",
    "memberships": "workspace_id = {here}",
    "audit_events": "workspace_id = {here}",
}
_HERE = "(SELECT arena_workspace())"
STATUS_CHANGES = (
    "e.type IN ('discussion.created', 'discussion.forked', 'discussion.started', 'discussion.waiting',"
    " 'discussion.paused', 'discussion.resumed', 'discussion.ended')"
)
_IS_NEW = f"""{STATUS_CHANGES}
    AND e.xid >= pg_snapshot_xmin(seen) AND NOT pg_visible_in_snapshot(e.xid, seen)
    AND e.xid < pg_snapshot_xmax(pg_current_snapshot())"""

FUNCTIONS = {
    "arena_workspace_of(discussion uuid) RETURNS uuid STABLE": (
        "SELECT workspace_id FROM discussions WHERE id = discussion"
    ),
    "arena_last_seqs(ids uuid[]) RETURNS TABLE (id uuid, last_seq int) STABLE": (
        "SELECT d.id, d.last_seq FROM discussions d WHERE d.id = ANY(ids)"
    ),
    # The operators of transaction numbers are not leakproof: under a policy they could not use the index.
    """arena_status_changes(workspace uuid, seen pg_snapshot, most int)
        RETURNS TABLE (xid text, discussion_id uuid, seq int, type text, created_at timestamptz, status text,
                       end_reason text, title text, topic text) STABLE""": """
        SELECT DISTINCT ON (e.xid, e.discussion_id) e.xid::text, e.discussion_id, e.seq, e.type, e.created_at,
               e.payload ->> 'status', e.payload ->> 'end_reason', d.title, d.topic
        FROM discussion_events AS e JOIN discussions AS d ON d.id = e.discussion_id
        WHERE e.workspace_id = workspace AND {is_new}
        ORDER BY e.xid, e.discussion_id, e.seq DESC LIMIT most""",
    """arena_status_changed(workspaces uuid[], seen pg_snapshot)
        RETURNS TABLE (workspace_id uuid, is_new boolean) STABLE""": """
        SELECT w.id, EXISTS (SELECT 1 FROM discussion_events AS e WHERE e.workspace_id = w.id AND {is_new})
        FROM unnest(workspaces) AS w(id)""",
    """arena_claim(discussion uuid, owner text, lease_seconds float8)
        RETURNS TABLE (id uuid, workspace_id uuid, epoch bigint, now timestamptz, limits jsonb) VOLATILE""": """
        UPDATE discussions d
        SET epoch = d.epoch + 1, lease_owner = owner, lease_until = now() + make_interval(secs => lease_seconds)
        WHERE d.id = discussion AND d.status = 'running' AND (d.lease_until IS NULL OR d.lease_until < now())
        RETURNING d.id, d.workspace_id, d.epoch, clock_timestamp(),
                  (SELECT w.limits FROM workspaces w WHERE w.id = d.workspace_id)""",
    "arena_held(discussion uuid) RETURNS TABLE (epoch bigint, seconds_left float8) STABLE": """
        SELECT d.epoch, extract(epoch FROM d.lease_until - now())::float8 FROM discussions d
        WHERE d.id = discussion AND d.status = 'running' AND d.lease_until IS NOT NULL""",
    """arena_renew(ids uuid[], epochs bigint[], lease_seconds float8)
        RETURNS TABLE (id uuid, pause_requested boolean) VOLATILE""": """
        WITH mine AS (
            SELECT d.id, d.epoch, d.pause_requested FROM discussions d
            JOIN unnest(ids, epochs) AS m(id, epoch) USING (id, epoch)
            WHERE d.status = 'running'
        ), free AS (
            -- One row that a command holds must not keep the others' leases from being renewed.
            SELECT d.id FROM discussions d JOIN mine USING (id, epoch)
            WHERE d.status = 'running' AND d.lease_until IS NOT NULL FOR NO KEY UPDATE OF d SKIP LOCKED
        ), renewed AS (
            UPDATE discussions d SET lease_until = now() + make_interval(secs => lease_seconds)
            FROM free WHERE d.id = free.id
        )
        SELECT mine.id, mine.pause_requested FROM mine""",
    """arena_abandoned(grace_seconds float8, most int)
        RETURNS TABLE (id uuid, priority text) STABLE""": """
        SELECT d.id, d.priority FROM discussions d
        WHERE d.status = 'running'
          AND (d.lease_until IS NULL OR d.lease_until < now() - make_interval(secs => grace_seconds))
          AND d.updated_at < now() - make_interval(secs => grace_seconds)
          AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                          WHERE j.queueing_lock = 'discussion:' || d.id::text AND j.status = 'todo')
        LIMIT most""",
    """arena_overdue(most int) RETURNS TABLE (id uuid, workspace_id uuid, floor_id uuid) STABLE""": """
        SELECT d.id, d.workspace_id, d.floor_id FROM discussions d
        WHERE d.deadline_at <= now() AND d.status = 'waiting' AND d.floor_id IS NOT NULL
        ORDER BY d.deadline_at LIMIT most""",
    # What a person has set aside counts in whichever workspace it is.
    """arena_reserved(who uuid, workspace uuid, since date, but uuid) RETURNS TABLE (user_tokens bigint,
        user_usd numeric, workspace_tokens bigint, workspace_usd numeric) STABLE""": """
        SELECT coalesce(sum(r.tokens) FILTER (WHERE r.user_id = who), 0)::bigint,
               coalesce(sum(r.cost_usd) FILTER (WHERE r.user_id = who), 0),
               coalesce(sum(r.tokens) FILTER (WHERE r.workspace_id = workspace), 0)::bigint,
               coalesce(sum(r.cost_usd) FILTER (WHERE r.workspace_id = workspace), 0)
        FROM reservations r JOIN discussions d ON d.id = r.discussion_id
        WHERE (r.user_id = who OR r.workspace_id = workspace) AND r.day >= since
          AND (d.status IN ('running', 'waiting') OR (d.status = 'paused' AND d.turn_epoch <> 0))
          AND r.discussion_id IS DISTINCT FROM but""",
    "arena_release_idle(grace_seconds float8, most int) RETURNS void VOLATILE": """
        DELETE FROM reservations WHERE discussion_id IN (
            SELECT r.discussion_id FROM reservations r JOIN discussions d ON d.id = r.discussion_id
            WHERE (d.status = 'ended' OR (d.status = 'paused' AND d.turn_epoch = 0)
                   OR r.day < (clock_timestamp() AT TIME ZONE 'UTC')::date - 1)
              AND d.updated_at < now() - make_interval(secs => grace_seconds) LIMIT most)""",
}

_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'arena_app') THEN
        BEGIN
            CREATE ROLE arena_app NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server made it just now
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role arena_app is missing and % may not make it: as a superuser, run'
                    ' CREATE ROLE arena_app NOLOGIN; GRANT arena_app TO %;', current_user, current_user;
        END;
    END IF;
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'arena_app') THEN
        RAISE EXCEPTION 'the role arena_app may bypass row-level security:'
            ' run ALTER ROLE arena_app NOSUPERUSER NOBYPASSRLS';
    END IF;
    IF NOT pg_has_role(current_user, 'arena_app', 'MEMBER') THEN
        EXECUTE format('GRANT arena_app TO %I', current_user);
    END IF;
END $$
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_ROLE)
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(
        "CREATE FUNCTION arena_workspace() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE"
        " AS $$ SELECT nullif(current_setting('arena.workspace_id', true), '')::uuid $$"
    )
    for table in TENANT_TABLES:
        _protect(table, f"workspace_id = {_HERE}")
    for table, condition in IDENTITY_POLICIES.items():
        _protect(table, f"{_HERE} IS NULL OR {condition.format(here=_HERE)}")
    _protect("daily_spending", f"scope <> 'workspace' OR scope_id = {_HERE}")
    for signature, body in FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION {signature} LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp"
            f" AS $arena$ {body.format(is_new=_IS_NEW)} $arena$"
        )
        name = f"{signature.partition('(')[0]}"
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO arena_app")
    _grant(schema)


def _protect(table: str, condition: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} USING ({condition})")


def _grant(schema: str) -> None:
    """Rows may be read and written, tables not be changed; what later migrations make is the same."""
    rights = {"TABLES": "SELECT, INSERT, UPDATE, DELETE", "SEQUENCES": "USAGE, SELECT"}
    op.execute(f"GRANT USAGE ON SCHEMA {schema} TO arena_app")
    for kind, granted in rights.items():
        op.execute(f"GRANT {granted} ON ALL {kind} IN SCHEMA {schema} TO arena_app")
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT {granted} ON {kind} TO arena_app")
    op.execute("REVOKE UPDATE, DELETE ON audit_events FROM arena_app")
    op.execute("REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM arena_app")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    for kind in ("TABLES", "SEQUENCES"):
        op.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} REVOKE ALL ON {kind} FROM arena_app")
        op.execute(f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM arena_app")
    op.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM arena_app")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature.partition('(')[0]}")
    for table in (*TENANT_TABLES, *IDENTITY_POLICIES, "daily_spending"):
        op.execute(f"DROP POLICY tenant ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute("DROP FUNCTION arena_workspace")
