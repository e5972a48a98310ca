"""Documents that are parsed, cut and found again; memories and summaries; tools of other servers.

Vectors of every model are in one table. An index has to know their length, so there is one for each usual length;
vectors of another length are compared one by one.

Revision ID: 0007
Revises: 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXED_DIMENSIONS = (64, 128, 256, 384, 512, 768, 1024, 1536, 3072)
_HERE = "(SELECT arena_workspace())"
# Without the accents of letters, for people who search without them. Immutable, since an index is made of it.
_FOLD = r"""
CREATE FUNCTION arena_fold(given text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(normalize(given, NFD), U&'[\0300-\036f]', '', 'g')
"""
# Row-level security keeps `@@` away from the index, since it is not known to be leakproof. So this runs as the owner
# and asks for the workspace itself. The other conditions are worded so that no other index fits them: the planner
# cannot know how well `scope` narrows, which keeps to the bases inside the index. BM25-like: a word counts by its
# rarity, its repetitions less and less (as `ts_rank` has it for one word), long chunks less.
_KEYWORD_SEARCH = """
CREATE FUNCTION arena_keyword_search(scope tsquery, spoken regconfig, bases uuid[], terms tsquery[], weights float8[],
                                     leaders int, total float8, most int)
RETURNS TABLE (id uuid, score float8) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = {schema}, pg_temp SET enable_seqscan = off
AS $arena$
    WITH hits AS MATERIALIZED (
        SELECT t.n, found.id
        FROM unnest(terms) WITH ORDINALITY AS t (term, n)
        CROSS JOIN LATERAL (
            SELECT c.id FROM chunks c
            WHERE c.tsv @@ (scope && t.term)
              AND (c.workspace_id = (SELECT arena_workspace())) IS TRUE
              AND (c.base_id = ANY (bases)) IS TRUE
              AND (c.language = spoken) IS TRUE
            LIMIT 5000
        ) found
        WHERE t.n <= leaders
    ),
    counted AS (SELECT n, count(*) AS hits FROM hits GROUP BY n),
    weighed AS MATERIALIZED (
        SELECT t.n, t.term, coalesce(t.weight, ln(1 + (total - c.hits + 0.5) / (c.hits + 0.5))) AS weight
        FROM unnest(terms, weights) WITH ORDINALITY AS t (term, weight, n)
        LEFT JOIN counted c USING (n)
        WHERE c.n IS NOT NULL OR t.n > leaders
        ORDER BY 3 DESC LIMIT 32
    ),
    likely AS (
        SELECT h.id FROM hits h JOIN weighed w USING (n)
        GROUP BY h.id ORDER BY sum(w.weight) DESC, h.id LIMIT greatest(200, 2 * most)
    ),
    read AS MATERIALIZED (  -- appending nothing unpacks the words once, not once for each term
        SELECT c.id, c.tsv || ''::tsvector AS tsv, length(c.tsv) / avg(length(c.tsv)) OVER () AS size
        FROM likely JOIN chunks c USING (id)
    )
    SELECT r.id, sum(w.weight * ts_rank('{{0.5,0.5,0.5,1}}', r.tsv, w.term)) / (0.7 + 0.3 * r.size) AS score
    FROM read r CROSS JOIN weighed w
    GROUP BY r.id, r.size ORDER BY 2 DESC, 1 LIMIT most
$arena$
"""
# Asked by every process, again and again, whether anything changed.
_PROVIDER_STATE = """
CREATE FUNCTION arena_provider_state() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = {schema}, pg_temp
AS $arena$ SELECT count(*) || ':' || coalesce(sum(extract(epoch FROM updated_at)), 0) FROM providers $arena$
"""
_COLUMNS = {
    "knowledge_bases": (
        "embedding_model text NOT NULL DEFAULT 'local/wordllama-256'",
        "next_embedding_model text",
        "embedding_progress double precision",
        "embedding_error text",
        "model text",
        "retired_embedding_models text[] NOT NULL DEFAULT '{}'",
        "deleted_at timestamptz",
    ),
    "documents": (
        "source text NOT NULL DEFAULT 'text'",
        "url text",
        "file_name text",
        "content_hash bytea",
        "original_id uuid",
        "generation integer NOT NULL DEFAULT 1",
        "original_generation integer NOT NULL DEFAULT 0",
        "cut_generation integer NOT NULL DEFAULT 0",
        "begun integer NOT NULL DEFAULT 0",
        "page_starts integer[]",
        "language text",
        "error_code text",
        "chunk_count integer NOT NULL DEFAULT 0",
        "embedded_count integer NOT NULL DEFAULT 0",
        "enrichment text NOT NULL DEFAULT 'none'",
        "summary text",
        "keywords text[]",
        "entities jsonb",
        "enriched_by text",
        "ingested_at timestamptz",
    ),
    "messages": ("citations jsonb", "dropped_citations integer NOT NULL DEFAULT 0", "tools jsonb", "parsed jsonb"),
}
_OWNED = "workspace_id uuid NOT NULL CONSTRAINT fk_{table}_workspace_id REFERENCES workspaces ON DELETE CASCADE"
_TIMES = "created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()"
_CREATOR = "created_by uuid CONSTRAINT fk_{table}_created_by REFERENCES users ON DELETE SET NULL"
_STAMPS = """
CREATE FUNCTION arena_resource_stamps(workspaces uuid[], kinds text[])
    RETURNS TABLE (workspace_id uuid, kind text, stamp uuid) STABLE LANGUAGE sql SECURITY DEFINER
    SET search_path = {schema}, pg_temp AS $arena$
    SELECT v.workspace_id, v.kind, v.stamp FROM resource_versions v
    JOIN unnest(workspaces, kinds) AS asked(workspace_id, kind) USING (workspace_id, kind) $arena$
"""
_TABLES = {
    "chunks": f"""
        id uuid CONSTRAINT pk_chunks PRIMARY KEY,
        {_OWNED},
        base_id uuid NOT NULL CONSTRAINT fk_chunks_base_id REFERENCES knowledge_bases ON DELETE CASCADE,
        document_id uuid NOT NULL CONSTRAINT fk_chunks_document_id REFERENCES documents ON DELETE CASCADE,
        ordinal integer NOT NULL,
        title text NOT NULL DEFAULT '',
        heading text,
        text text NOT NULL,
        page integer,
        span_start integer NOT NULL,
        span_end integer NOT NULL,
        content_hash bytea NOT NULL,
        language regconfig NOT NULL,
        tsv tsvector NOT NULL GENERATED ALWAYS AS (
            setweight(to_tsvector(language, arena_fold(title || ' > ' || coalesce(heading, ''))), 'A')
            || to_tsvector(language, arena_fold(text))
            || array_to_tsvector(ARRAY[' ' || workspace_id::text, ' ' || base_id::text, ' ' || document_id::text])
        ) STORED""",
    "chunk_embeddings": f"""
        chunk_id uuid NOT NULL CONSTRAINT fk_chunk_embeddings_chunk_id REFERENCES chunks ON DELETE CASCADE,
        model text NOT NULL,
        {_OWNED},
        base_id uuid NOT NULL,
        document_id uuid NOT NULL,
        dimensions integer NOT NULL,
        embedding halfvec NOT NULL,
        CONSTRAINT pk_chunk_embeddings PRIMARY KEY (chunk_id, model)""",
    "original_parts": f"""
        original_id uuid NOT NULL,
        part integer NOT NULL,
        {_OWNED},
        data bytea NOT NULL,
        CONSTRAINT pk_original_parts PRIMARY KEY (original_id, part)""",
    "loose_originals": f"""
        original_id uuid CONSTRAINT pk_loose_originals PRIMARY KEY,
        {_OWNED},
        since timestamptz NOT NULL DEFAULT now()""",
    "extractions": f"""
        id uuid CONSTRAINT pk_extractions PRIMARY KEY,
        {_OWNED},
        document_id uuid NOT NULL CONSTRAINT fk_extractions_document_id REFERENCES documents ON DELETE CASCADE,
        generation integer NOT NULL,
        schema jsonb NOT NULL,
        instructions text,
        model text NOT NULL,
        status text NOT NULL,
        begun integer NOT NULL DEFAULT 0,
        chunk_count integer NOT NULL,
        chunks_seen integer NOT NULL DEFAULT 0,
        chunks_read integer NOT NULL DEFAULT 0,
        partial jsonb NOT NULL DEFAULT '[]',
        result jsonb,
        sources jsonb,
        missing text[],
        unsupported text[],
        faults text[],
        error text,
        error_code text,
        prompt_tokens bigint NOT NULL DEFAULT 0,
        completion_tokens bigint NOT NULL DEFAULT 0,
        cost_usd numeric(16, 8) NOT NULL DEFAULT 0,
        {_CREATOR},
        {_TIMES}""",
    "memories": f"""
        id uuid CONSTRAINT pk_memories PRIMARY KEY,
        {_OWNED},
        agent_id uuid NOT NULL CONSTRAINT fk_memories_agent_id REFERENCES agents ON DELETE CASCADE,
        content text NOT NULL,
        importance double precision NOT NULL,
        source text NOT NULL,
        embedding_model text,
        embedding halfvec,
        recalled_at timestamptz,
        recall_count integer NOT NULL DEFAULT 0,
        {_CREATOR},
        {_TIMES}""",
    "memory_sources": """
        memory_id uuid NOT NULL CONSTRAINT fk_memory_sources_memory_id REFERENCES memories ON DELETE CASCADE,
        discussion_id uuid NOT NULL
            CONSTRAINT fk_memory_sources_discussion_id REFERENCES discussions ON DELETE CASCADE,
        workspace_id uuid NOT NULL,
        seqs integer[] NOT NULL,
        CONSTRAINT pk_memory_sources PRIMARY KEY (memory_id, discussion_id)""",
    "distillations": f"""
        discussion_id uuid NOT NULL
            CONSTRAINT fk_distillations_discussion_id REFERENCES discussions ON DELETE CASCADE,
        agent_id uuid NOT NULL CONSTRAINT fk_distillations_agent_id REFERENCES agents ON DELETE CASCADE,
        {_OWNED},
        through_seq integer NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT pk_distillations PRIMARY KEY (discussion_id, agent_id)""",
    "discussion_summaries": """
        discussion_id uuid CONSTRAINT pk_discussion_summaries PRIMARY KEY
            CONSTRAINT fk_discussion_summaries_discussion_id REFERENCES discussions ON DELETE CASCADE,
        workspace_id uuid NOT NULL,
        text text NOT NULL,
        through_seq integer NOT NULL,
        model text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()""",
    "tool_servers": f"""
        id uuid CONSTRAINT pk_tool_servers PRIMARY KEY,
        {_OWNED},
        name text NOT NULL,
        transport text NOT NULL,
        url text,
        token_sealed bytea,
        command text[],
        {_CREATOR},
        {_TIMES},
        CONSTRAINT uq_tool_servers_workspace_id_name UNIQUE (workspace_id, name)""",
    "resource_versions": """
        workspace_id uuid NOT NULL,
        kind text NOT NULL,
        stamp uuid NOT NULL,
        CONSTRAINT pk_resource_versions PRIMARY KEY (workspace_id, kind)""",
}
_INDEXES = (
    "UNIQUE INDEX uq_documents_base_id_content_hash ON documents (base_id, content_hash)"
    " WHERE content_hash IS NOT NULL",
    "INDEX ix_documents_unfinished ON documents (updated_at) WHERE status IN ('queued', 'processing')",
    "INDEX ix_chunks_document_id_ordinal ON chunks (document_id, ordinal)",
    "INDEX ix_chunks_scope ON chunks (workspace_id, base_id, language, content_hash)",
    "INDEX ix_chunks_base_id ON chunks (base_id)",
    "INDEX ix_chunks_tsv ON chunks USING gin (tsv)",
    "INDEX ix_chunk_embeddings_workspace_id_base_id ON chunk_embeddings (workspace_id, base_id)",
    "INDEX ix_chunk_embeddings_document_id ON chunk_embeddings (document_id)",
    *(
        f"INDEX ix_chunk_embeddings_hnsw_{length} ON chunk_embeddings"
        f" USING hnsw ((embedding::halfvec({length})) halfvec_cosine_ops) WITH (m = 12, ef_construction = 64)"
        f" WHERE dimensions = {length}"
        for length in INDEXED_DIMENSIONS
    ),
    "INDEX ix_original_parts_workspace_id ON original_parts (workspace_id)",
    "INDEX ix_loose_originals_since ON loose_originals (since)",
    "INDEX ix_loose_originals_workspace_id ON loose_originals (workspace_id)",
    "INDEX ix_extractions_document_id_id ON extractions (document_id, id)",
    "INDEX ix_memories_workspace_id_agent_id_id ON memories (workspace_id, agent_id, id)",
    "INDEX ix_memories_agent_id ON memories (agent_id)",
    "INDEX ix_memory_sources_discussion_id ON memory_sources (discussion_id)",
    "INDEX ix_distillations_agent_id ON distillations (agent_id)",
)
_FUNCTIONS = {
    "arena_unfinished_documents(grace_seconds float8, most int) RETURNS TABLE (id uuid, workspace_id uuid)": """
        SELECT d.id, d.workspace_id FROM documents d
        WHERE d.status IN ('queued', 'processing') AND d.updated_at < now() - make_interval(secs => grace_seconds)
          AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j WHERE j.queue_name = 'knowledge'
                          AND j.status IN ('todo', 'doing') AND j.args ->> 'document_id' = d.id::text)
        ORDER BY d.updated_at LIMIT most""",
    "arena_loose_originals(grace_seconds float8, most int) RETURNS TABLE (id uuid, workspace_id uuid)": """
        SELECT o.original_id, o.workspace_id FROM loose_originals o
        WHERE o.since < now() - make_interval(secs => grace_seconds) ORDER BY o.since LIMIT most""",
}
# What was there before has not been cut into chunks yet: the sweep finds it.
_TAKE_IN_ANEW = "UPDATE documents SET status = 'queued', progress = 0"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_FOLD)
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    op.execute(_PROVIDER_STATE.format(schema=schema))
    op.execute("REVOKE EXECUTE ON FUNCTION arena_provider_state FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION arena_provider_state TO arena_app")
    for table, columns in _COLUMNS.items():
        op.execute(f"ALTER TABLE {table} " + ", ".join(f"ADD COLUMN {column}" for column in columns))
    for table, columns in _TABLES.items():
        op.execute(f"CREATE TABLE {table} ({columns.format(table=table)})")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING (workspace_id = {_HERE})")
    op.execute(_TAKE_IN_ANEW)
    for index in _INDEXES:
        op.execute(f"CREATE {index}")
    op.execute(_KEYWORD_SEARCH.format(schema=schema))
    op.execute("REVOKE EXECUTE ON FUNCTION arena_keyword_search FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION arena_keyword_search TO arena_app")
    op.execute(_STAMPS.format(schema=schema))
    op.execute("REVOKE EXECUTE ON FUNCTION arena_resource_stamps FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION arena_resource_stamps TO arena_app")
    for signature, body in _FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION {signature} LANGUAGE sql STABLE SECURITY DEFINER"
            f" SET search_path = {schema}, pg_temp AS $arena$ {body} $arena$"
        )
        name = signature.partition("(")[0]
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO arena_app")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION arena_keyword_search")
    op.execute("DROP FUNCTION arena_resource_stamps")
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE {table}")
    for signature in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature.partition('(')[0]}")
    op.execute("DELETE FROM knowledge_bases WHERE deleted_at IS NOT NULL")
    op.execute("UPDATE documents SET status = 'ready', progress = 1")
    op.execute("DROP INDEX ix_documents_unfinished")
    op.execute("DROP INDEX uq_documents_base_id_content_hash")
    for table, columns in _COLUMNS.items():
        op.execute(f"ALTER TABLE {table} " + ", ".join(f"DROP COLUMN {column.split()[0]}" for column in columns))
    op.execute("DROP FUNCTION arena_provider_state")
    op.execute("DROP FUNCTION arena_fold")
