-- Creates the user that imports connect as, and lets it stage lines and execute the functions of imports and of the outbox. What
-- it stages it cannot read, nor can it read or write a slot or an appointment but by them. Its name is the setting
-- country_worker.user. Run after each migration, as the user that owns the database: safe to repeat.
DO $block$
DECLARE
    importer CONSTANT text := current_setting('country_worker.user');
    signature regprocedure;
BEGIN
    BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', importer);
    EXCEPTION
        -- Roles are the server's: the migration of another of its databases may be creating this one.
        WHEN duplicate_object OR unique_violation THEN NULL;
    END;

    -- RDS lets the members of this role in with an IAM token; other servers have no such role.
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'rds_iam') THEN
        EXECUTE format('GRANT rds_iam TO %I', importer);
    END IF;

    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), importer);
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', importer);
    EXECUTE format('GRANT INSERT ON public.staged_slots TO %I', importer);
    FOREACH signature IN ARRAY ARRAY[
        'public.import_begin(text, text, boolean, text)',
        'public.import_staged(bigint, bigint, bigint, jsonb)',
        'public.import_apply(bigint, integer)',
        'public.import_report(bigint)',
        'public.tell_future_slots(bigint, integer, text)',
        'public.tell_catalogue(text, boolean)',
        'public.future_slots(bigint, integer)',
        'public.outbox_next(bigint, integer)',
        'public.outbox_taken(bigint[])'
    ]::regprocedure[] LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', signature, importer);
    END LOOP;
END
$block$;
