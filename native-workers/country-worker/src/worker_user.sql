-- Creates the user that the worker connects as, and lets it connect and execute decide(), which is all that it may. Its
-- name is the setting country_worker.user. Run after each migration, as the user that owns the database: safe to repeat.
DO $block$
DECLARE
    worker CONSTANT text := current_setting('country_worker.user');
BEGIN
    BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', worker);
    EXCEPTION
        -- Roles are the server's: the migration of another of its databases may be creating this one.
        WHEN duplicate_object OR unique_violation THEN NULL;
    END;

    -- RDS lets the members of this role in with an IAM token; other servers have no such role.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_iam') THEN
        EXECUTE format('GRANT rds_iam TO %I', worker);
    END IF;

    -- By default everybody may connect, and create temporary tables.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), worker);
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', worker);
    EXECUTE format('GRANT EXECUTE ON FUNCTION public.decide(jsonb) TO %I', worker);
    -- For a worker of an older version, which may be serving still, or again.
    EXECUTE format('GRANT EXECUTE ON FUNCTION public.decide(uuid[], text[], bigint[], text[], timestamptz[]) TO %I', worker);
END
$block$;
