-- Imports of slots, and what the country tells of slots without a command: by the outbox, in the transaction that changed them.

CREATE TABLE public.slot_imports (
    id                     bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    name                   text        NOT NULL,
    fingerprint            text        NOT NULL,
    traceparent            text        NOT NULL,
    state                  text        NOT NULL DEFAULT 'staging',
    lines                  bigint      NOT NULL DEFAULT 0,
    changed                bigint      NOT NULL DEFAULT 0,
    unchanged              bigint      NOT NULL DEFAULT 0,
    refused                bigint      NOT NULL DEFAULT 0,
    cancelled_appointments bigint      NOT NULL DEFAULT 0,
    started_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at            timestamptz,

    CONSTRAINT slot_imports_pkey PRIMARY KEY (id),
    CONSTRAINT slot_imports_state_known CHECK (state IN ('staging', 'applying', 'done'))
);

COMMENT ON TABLE public.slot_imports IS 'Imports under way, and those of the last thirty days.';
COMMENT ON COLUMN public.slot_imports.fingerprint IS 'Of the content: one that was interrupted goes on with the same content only.';

-- The lines of imports that are not applied yet.
CREATE TABLE public.staged_slots (
    import_id          bigint      NOT NULL,
    schedule_id        bigint      NOT NULL,
    line               bigint      NOT NULL,
    specialty          text        NOT NULL,
    center             text        NOT NULL,
    practitioner       text        NOT NULL,
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz NOT NULL,
    time_zone          text        NOT NULL,
    utc_offset_minutes smallint    NOT NULL,
    state              text        NOT NULL,

    CONSTRAINT staged_slots_pkey PRIMARY KEY (import_id, schedule_id, line),
    CONSTRAINT staged_slots_of_import FOREIGN KEY (import_id) REFERENCES public.slot_imports (id) ON DELETE CASCADE
);

COMMENT ON COLUMN public.staged_slots.practitioner IS 'Personal data: the name of a person. Deleted once applied.';

-- The first thousand of an import: the report need not be longer than what somebody reads.
CREATE TABLE public.refused_lines (
    import_id bigint NOT NULL,
    line      bigint NOT NULL,
    code      text   NOT NULL,
    field     text,

    CONSTRAINT refused_lines_pkey PRIMARY KEY (import_id, line),
    CONSTRAINT refused_lines_of_import FOREIGN KEY (import_id) REFERENCES public.slot_imports (id) ON DELETE CASCADE
);

CREATE TABLE public.announced_catalogue (
    only_row boolean NOT NULL DEFAULT true,
    content  jsonb   NOT NULL,
    version  bigint  NOT NULL,

    CONSTRAINT announced_catalogue_pkey PRIMARY KEY (only_row),
    CONSTRAINT announced_catalogue_only_row CHECK (only_row)
);

COMMENT ON TABLE public.announced_catalogue IS 'What the country last told of its specialties, centers and practitioners.';

-- Puts the states of slots into the outbox, twenty-five per event: MAX_SLOTS_PER_EVENT of the crate `appointment`.
CREATE FUNCTION public.tell_slots(schedule_ids bigint[], traceparent text)
RETURNS void
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
    INSERT INTO public.outbox (detail_type, detail)
    SELECT 'SlotsChanged',
           jsonb_build_object(
               'eventId', gen_random_uuid(),
               'traceparent', traceparent,
               'slots', jsonb_agg(numbered.state ORDER BY numbered.schedule_id)
           )
    FROM (
        SELECT s.schedule_id, s.state, (row_number() OVER (ORDER BY s.schedule_id) - 1) / 25 AS part
        FROM public.slot_states AS s
        WHERE s.schedule_id = ANY (schedule_ids)
    ) AS numbered
    GROUP BY numbered.part
    ORDER BY numbered.part
$function$;

COMMENT ON FUNCTION public.tell_slots(bigint[], text) IS 'Puts the states of slots into the outbox.';

-- Puts the catalogue into the outbox, if it is another than was told last, or `always`: who treats what and where, in
-- slots that are open and have not begun.
CREATE FUNCTION public.tell_catalogue(traceparent text, always boolean)
RETURNS void
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable
DECLARE
    now_open jsonb;
    told public.announced_catalogue;
BEGIN
    -- Whoever tells is alone, so that a later catalogue has a greater version.
    PERFORM pg_advisory_xact_lock(4, 1);
    SELECT coalesce(
               jsonb_agg(
                   jsonb_build_object('name', o.practitioner, 'specialty', o.specialty, 'center', o.center)
                   ORDER BY o.practitioner, o.specialty, o.center
               ),
               '[]'
           )
    INTO now_open
    FROM (
        SELECT DISTINCT s.practitioner, s.specialty, s.center
        FROM public.slots AS s
        WHERE s.state = 'open' AND s.starts_at > clock_timestamp()
    ) AS o;
    SELECT a.* INTO told FROM public.announced_catalogue AS a;
    IF NOT always AND told.content IS NOT DISTINCT FROM now_open THEN
        RETURN;
    END IF;
    INSERT INTO public.announced_catalogue AS a (content, version)
    SELECT now_open, greatest(coalesce(told.version, 0), s.epoch::bigint << 40) + 1
    FROM public.country_settings AS s
    ON CONFLICT (only_row) DO UPDATE SET content = excluded.content, version = excluded.version
    RETURNING a.* INTO told;
    -- One that was not sent yet is out of date.
    DELETE FROM public.outbox AS o WHERE o.detail_type = 'CatalogueChanged';
    INSERT INTO public.outbox (detail_type, detail)
    VALUES ('CatalogueChanged', jsonb_build_object(
        'eventId', gen_random_uuid(),
        'traceparent', traceparent,
        'catalogueVersion', told.version,
        'practitioners', told.content
    ));
END
$function$;

COMMENT ON FUNCTION public.tell_catalogue(text, boolean) IS 'Puts the catalogue into the outbox, if it changed.';

-- Tells that slots changed by what an operator did to their bookings: raises their versions and puts them into the outbox.
CREATE FUNCTION public.slots_changed(schedule_ids bigint[], traceparent text)
RETURNS void
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
    UPDATE public.slots AS s
    SET version = greatest(s.version, settings.epoch::bigint << 40) + 1
    FROM public.country_settings AS settings
    WHERE s.schedule_id = ANY (schedule_ids);
    SELECT public.tell_slots(schedule_ids, traceparent);
$function$;

COMMENT ON FUNCTION public.slots_changed(bigint[], text) IS 'Raises the versions of slots, and puts them into the outbox.';

-- Tells of slots that have not ended, in ascending order after `after`; the last one that it told, or null where there is no
-- further one. For making the projection anew, while bookings go on: what is told is what is committed, and its version
-- says whether the projection has it already.
CREATE FUNCTION public.tell_future_slots(after bigint, up_to integer, traceparent text)
RETURNS bigint
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    schedule_ids bigint[];
BEGIN
    schedule_ids := ARRAY(
        SELECT s.schedule_id
        FROM public.slots AS s
        WHERE s.schedule_id > after AND s.ends_at > clock_timestamp()
        ORDER BY s.schedule_id
        LIMIT up_to
    );
    PERFORM public.tell_slots(schedule_ids, traceparent);
    RETURN schedule_ids[cardinality(schedule_ids)];
END
$function$;

COMMENT ON FUNCTION public.tell_future_slots(bigint, integer, text) IS 'Puts a part of the future slots into the outbox.';

-- The slots that have not begun, in ascending order after `after`, for comparing their offsets with a zone's rules.
CREATE FUNCTION public.future_slots(after bigint, up_to integer)
RETURNS SETOF public.slots
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT s.*
    FROM public.slots AS s
    WHERE s.schedule_id > after AND s.starts_at > clock_timestamp()
    ORDER BY s.schedule_id
    LIMIT up_to
$function$;

COMMENT ON FUNCTION public.future_slots(bigint, integer) IS 'A part of the slots that have not begun.';

-- Begins an import, or takes one up that was interrupted: in state `applying` its lines are staged already, in state `done`
-- there is nothing to do. The session's lock keeps others from importing under the same name until it ends.
CREATE FUNCTION public.import_begin(import_name text, content text, only_once boolean, trace text)
RETURNS TABLE (import_id bigint, state text)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_lock(2, hashtext(import_name));
    DELETE FROM public.slot_imports AS i
    WHERE i.finished_at < clock_timestamp() - interval '30 days'
       OR (i.name = import_name AND i.state <> 'done' AND (i.state = 'staging' OR i.fingerprint <> content));
    RETURN QUERY
    SELECT i.id, i.state
    FROM public.slot_imports AS i
    WHERE i.name = import_name AND i.fingerprint = content AND (i.state = 'applying' OR only_once)
    ORDER BY i.id DESC
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN QUERY
        INSERT INTO public.slot_imports AS i (name, fingerprint, traceparent) VALUES (import_name, content, trace)
        RETURNING i.id, i.state;
    END IF;
END
$function$;

COMMENT ON FUNCTION public.import_begin(text, text, boolean, text) IS 'Begins an import of slots, or takes it up.';

-- Notes that all lines are staged, and those that were refused before. Of several lines about one slot the first counts.
CREATE FUNCTION public.import_staged(import bigint, all_lines bigint, refused_count bigint, refusals jsonb)
RETURNS void
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    repeated bigint;
BEGIN
    INSERT INTO public.refused_lines (import_id, line, code, field)
    SELECT import, r.line, r.code, r.field
    FROM jsonb_to_recordset(refusals) AS r (line bigint, code text, field text);
    WITH later AS (
        DELETE FROM public.staged_slots AS s
        WHERE s.import_id = import AND EXISTS (
            SELECT FROM public.staged_slots AS first
            WHERE first.import_id = import AND first.schedule_id = s.schedule_id AND first.line < s.line
        )
        RETURNING s.line
    ), noted AS (
        INSERT INTO public.refused_lines (import_id, line, code, field)
        SELECT import, later.line, 'duplicate', 'scheduleId'
        FROM later
        ORDER BY later.line
        LIMIT greatest(0, 1000 - jsonb_array_length(refusals))
    )
    SELECT count(*) INTO repeated FROM later;
    UPDATE public.slot_imports AS i
    SET state = 'applying', lines = all_lines, refused = refused_count + repeated
    WHERE i.id = import;
END
$function$;

COMMENT ON FUNCTION public.import_staged(bigint, bigint, bigint, jsonb) IS 'Ends the staging of an import.';

-- Applies the next slots of an import, at most `up_to`, in one transaction; how many lines it was, 0 where none is left. Slots
-- are locked in ascending order, as decide() does.
--
-- A line is refused, with one of these codes, or changes its slot, or says what is so already:
--
--     slot_past      the slot has begun, or would have
--     slot_booked    it is booked, and would be another time, place, practitioner or specialty: it has to be withdrawn
--
-- A booked slot that is withdrawn keeps the time, place and practitioner that its holder was told, whatever the line says. Its
-- booking is cancelled, and told of.
CREATE FUNCTION public.import_apply(import bigint, up_to integer)
RETURNS bigint
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_variable
DECLARE
    under_way public.slot_imports;
    chunk bigint[];
    instant timestamptz;
    floor_version bigint;
    verdicts jsonb;
    kept bigint;
    unchanged_count bigint;
    refused_count bigint;
    changed bigint[];
    withdrawn bigint[];
    cancelled_count bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'import_apply() needs READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
    SELECT i.* INTO STRICT under_way FROM public.slot_imports AS i WHERE i.id = import;

    chunk := ARRAY(
        SELECT s.schedule_id FROM public.staged_slots AS s WHERE s.import_id = import ORDER BY s.schedule_id LIMIT up_to
    );
    IF cardinality(chunk) = 0 THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(slot.id) FROM (SELECT id FROM unnest(chunk) AS id ORDER BY id) AS slot;
    instant := clock_timestamp();
    SELECT s.epoch::bigint << 40 INTO STRICT floor_version FROM public.country_settings AS s;

    SELECT jsonb_agg(jsonb_build_object('id', judged.schedule_id, 'line', judged.line, 'verdict', judged.verdict))
    INTO verdicts
    FROM (
        SELECT n.schedule_id,
               n.line,
               CASE
                   WHEN (s.specialty, s.center, s.practitioner, s.starts_at, s.ends_at, s.time_zone, s.utc_offset_minutes, s.state)
                      = (n.specialty, n.center, n.practitioner, n.starts_at, n.ends_at, n.time_zone, n.utc_offset_minutes, n.state)
                       THEN 'unchanged'
                   WHEN least(s.starts_at, n.starts_at) <= instant THEN 'slot_past'
                   WHEN s.schedule_id IS NULL OR NOT EXISTS (
                       SELECT FROM public.appointments AS a WHERE a.schedule_id = n.schedule_id AND a.status = 'booked'
                   ) THEN 'changed'
                   WHEN n.state = 'withdrawn' THEN 'withdrawn'
                   ELSE 'slot_booked'
               END AS verdict
        FROM public.staged_slots AS n
        LEFT JOIN public.slots AS s ON s.schedule_id = n.schedule_id
        WHERE n.import_id = import AND n.schedule_id = ANY (chunk)
    ) AS judged;

    SELECT array_agg(v.id) FILTER (WHERE v.verdict = 'changed'),
           array_agg(v.id) FILTER (WHERE v.verdict = 'withdrawn'),
           count(*) FILTER (WHERE v.verdict = 'unchanged'),
           count(*) FILTER (WHERE v.verdict IN ('slot_past', 'slot_booked'))
    INTO changed, withdrawn, unchanged_count, refused_count
    FROM jsonb_to_recordset(verdicts) AS v (id bigint, verdict text);

    INSERT INTO public.slots AS s
        (schedule_id, specialty, center, practitioner, starts_at, ends_at, time_zone, utc_offset_minutes, state, version)
    SELECT n.schedule_id, n.specialty, n.center, n.practitioner, n.starts_at, n.ends_at, n.time_zone, n.utc_offset_minutes,
           n.state, floor_version + 1
    FROM public.staged_slots AS n
    WHERE n.import_id = import AND n.schedule_id = ANY (changed)
    ON CONFLICT (schedule_id) DO UPDATE
    SET specialty = excluded.specialty, center = excluded.center, practitioner = excluded.practitioner,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, time_zone = excluded.time_zone,
        utc_offset_minutes = excluded.utc_offset_minutes, state = excluded.state,
        version = greatest(s.version, floor_version) + 1;

    UPDATE public.slots AS s
    SET state = 'withdrawn', version = greatest(s.version, floor_version) + 1
    WHERE s.schedule_id = ANY (withdrawn);
    WITH cancelled AS (
        UPDATE public.appointments AS a
        SET status = 'cancelled', reason = 'slot_withdrawn', decided_at = instant
        WHERE a.schedule_id = ANY (withdrawn) AND a.status = 'booked'
        RETURNING a.appointment_id, a.insured_id, a.schedule_id, a.decided_at
    ), told AS (
        INSERT INTO public.outbox (detail_type, detail)
        SELECT 'AppointmentCancelled',
               jsonb_build_object(
                   'appointmentId', c.appointment_id,
                   'insuredId', c.insured_id,
                   'scheduleId', c.schedule_id,
                   'reason', 'slot_withdrawn',
                   'occurredAt', c.decided_at,
                   'traceparent', under_way.traceparent
               )
        FROM cancelled AS c
        ORDER BY c.schedule_id
    )
    SELECT count(*) INTO cancelled_count FROM cancelled;
    PERFORM public.tell_slots(changed || withdrawn, under_way.traceparent);

    SELECT count(*) INTO kept FROM public.refused_lines AS r WHERE r.import_id = import;
    INSERT INTO public.refused_lines (import_id, line, code)
    SELECT import, v.line, v.verdict
    FROM jsonb_to_recordset(verdicts) AS v (line bigint, verdict text)
    WHERE v.verdict IN ('slot_past', 'slot_booked')
    ORDER BY v.line
    LIMIT greatest(0, 1000 - kept);
    DELETE FROM public.staged_slots AS n WHERE n.import_id = import AND n.schedule_id = ANY (chunk);
    UPDATE public.slot_imports AS i
    SET changed = i.changed + coalesce(cardinality(changed), 0) + coalesce(cardinality(withdrawn), 0),
        unchanged = i.unchanged + unchanged_count,
        refused = i.refused + refused_count,
        cancelled_appointments = i.cancelled_appointments + cancelled_count
    WHERE i.id = import;
    RETURN cardinality(chunk);
END
$function$;

COMMENT ON FUNCTION public.import_apply(bigint, integer) IS 'Applies the next slots of an import; how many lines it was.';

-- Ends an import, if it has not ended, and answers what became of it.
CREATE FUNCTION public.import_report(import bigint)
RETURNS jsonb
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    ended public.slot_imports;
BEGIN
    UPDATE public.slot_imports AS i
    SET state = 'done', finished_at = clock_timestamp()
    WHERE i.id = import AND i.state = 'applying'
    RETURNING i.* INTO ended;
    IF FOUND THEN
        PERFORM public.tell_catalogue(ended.traceparent, false);
    ELSE
        SELECT i.* INTO STRICT ended FROM public.slot_imports AS i WHERE i.id = import;
    END IF;
    RETURN jsonb_build_object(
        'name', ended.name,
        'startedAt', ended.started_at,
        'finishedAt', ended.finished_at,
        'lines', ended.lines,
        'accepted', ended.changed + ended.unchanged,
        'changed', ended.changed,
        'unchanged', ended.unchanged,
        'refused', ended.refused,
        'cancelledAppointments', ended.cancelled_appointments,
        'refusals', (
            SELECT coalesce(
                jsonb_agg(jsonb_build_object('line', r.line, 'code', r.code, 'field', r.field) ORDER BY r.line), '[]'
            )
            FROM public.refused_lines AS r
            WHERE r.import_id = import
        )
    );
END
$function$;

COMMENT ON FUNCTION public.import_report(bigint) IS 'Ends an import, and answers what became of it.';

-- The oldest events of the outbox after `after`. Until the transaction ends nobody else gets any, so that each is sent once
-- unless somebody dies between the bus's answer and the deletion.
CREATE FUNCTION public.outbox_next(after bigint, up_to integer)
RETURNS SETOF public.outbox
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    PERFORM pg_advisory_xact_lock(3, 1);
    RETURN QUERY SELECT o.* FROM public.outbox AS o WHERE o.id > after ORDER BY o.id LIMIT up_to;
END
$function$;

COMMENT ON FUNCTION public.outbox_next(bigint, integer) IS
    'The oldest events that the event bus has not taken, for this transaction alone.';

CREATE FUNCTION public.outbox_taken(ids bigint[])
RETURNS void
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
    DELETE FROM public.outbox AS o WHERE o.id = ANY (ids)
$function$;

COMMENT ON FUNCTION public.outbox_taken(bigint[]) IS 'Deletes events that the event bus has taken.';

-- Functions may be executed by everybody unless that is taken away. What only other functions and the owner call stays so.
REVOKE EXECUTE ON FUNCTION
    public.tell_slots(bigint[], text),
    public.tell_catalogue(text, boolean),
    public.slots_changed(bigint[], text),
    public.tell_future_slots(bigint, integer, text),
    public.future_slots(bigint, integer),
    public.import_begin(text, text, boolean, text),
    public.import_staged(bigint, bigint, bigint, jsonb),
    public.import_apply(bigint, integer),
    public.import_report(bigint),
    public.outbox_next(bigint, integer),
    public.outbox_taken(bigint[])
FROM PUBLIC;
