-- The catalogue of slots, moves, and the reasons that come with both. decide(jsonb) answers with the slots that it touched.

CREATE TABLE public.slots (
    schedule_id        bigint      NOT NULL,
    specialty          text        NOT NULL,
    center             text        NOT NULL,
    practitioner       text        NOT NULL,
    starts_at          timestamptz NOT NULL,
    ends_at            timestamptz NOT NULL,
    time_zone          text        NOT NULL,
    utc_offset_minutes smallint    NOT NULL,
    state              text        NOT NULL,
    version            bigint      NOT NULL,

    CONSTRAINT slots_pkey PRIMARY KEY (schedule_id),
    CONSTRAINT slots_schedule_id_range CHECK (schedule_id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT slots_ends_after_its_start CHECK (ends_at > starts_at),
    CONSTRAINT slots_utc_offset_range CHECK (utc_offset_minutes BETWEEN -1080 AND 1080),
    CONSTRAINT slots_state_known CHECK (state IN ('open', 'withdrawn')),
    CONSTRAINT slots_version_range CHECK (version BETWEEN 1 AND 9007199254740991)
);

COMMENT ON TABLE public.slots IS 'What can be booked; written by decide() and by the import.';
COMMENT ON COLUMN public.slots.practitioner IS 'Personal data: the name of a person.';
COMMENT ON COLUMN public.slots.utc_offset_minutes IS
    'Of local time during the slot, as the rules of time_zone were when it was imported.';
COMMENT ON COLUMN public.slots.version IS
    'Grows with each change of the slot or of its holder, in the transaction of the change. Bits from 40 on: the epoch.';

CREATE TABLE public.country_settings (
    only_row          boolean NOT NULL DEFAULT true,
    catalogue         text    NOT NULL DEFAULT 'external',
    max_open_bookings integer NOT NULL DEFAULT 20,
    epoch             integer NOT NULL DEFAULT 0,

    CONSTRAINT country_settings_pkey PRIMARY KEY (only_row),
    CONSTRAINT country_settings_only_row CHECK (only_row),
    CONSTRAINT country_settings_catalogue_known CHECK (catalogue IN ('own', 'external')),
    CONSTRAINT country_settings_max_open_bookings_range CHECK (max_open_bookings >= 1),
    CONSTRAINT country_settings_epoch_range CHECK (epoch BETWEEN 0 AND 8191)
);

INSERT INTO public.country_settings DEFAULT VALUES;

COMMENT ON TABLE public.country_settings IS 'One row, which decide() obeys, whatever the version of the worker that calls.';
COMMENT ON COLUMN public.country_settings.catalogue IS
    'own: only what public.slots holds can be booked. external: any number is a slot, and nothing is known about it.';
COMMENT ON COLUMN public.country_settings.max_open_bookings IS
    'How many bookings that have not ended one person may hold; with a catalogue of its own only.';
COMMENT ON COLUMN public.country_settings.epoch IS
    'Raised when the database was restored to an earlier time, so that versions given since are smaller than the next ones.';

-- What the country has to tell although no command asked for it. A row is deleted when the event bus has taken its event.
CREATE TABLE public.outbox (
    id          bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    detail_type text        NOT NULL,
    detail      jsonb       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),

    CONSTRAINT outbox_pkey PRIMARY KEY (id)
);

COMMENT ON TABLE public.outbox IS 'Events that the event bus has not taken yet, oldest first.';
COMMENT ON COLUMN public.outbox.detail IS 'Personal data: of a cancelled appointment, whose it is. Deleted once taken.';

-- No constraint is validated, which would read the whole table under its lock: those that they replace allowed less.
ALTER TABLE public.appointments
    ADD COLUMN replaces uuid,
    ADD COLUMN replaced_by uuid,
    DROP CONSTRAINT appointments_reason_known,
    DROP CONSTRAINT appointments_reason_where_rejected,
    ADD CONSTRAINT appointments_reason_known CHECK (reason IN (
        'slot_taken', 'already_booked', 'not_processed', 'slot_unknown', 'slot_past', 'slot_withdrawn', 'too_many_open',
        'original_not_booked', 'already_started', 'moved'
    )) NOT VALID,
    ADD CONSTRAINT appointments_reason_where_due CHECK (CASE status
        WHEN 'rejected' THEN reason IS NOT NULL AND reason <> 'moved'
        WHEN 'cancelled' THEN reason IS NULL OR reason IN ('moved', 'slot_withdrawn')
        ELSE reason IS NULL
    END) NOT VALID,
    ADD CONSTRAINT appointments_replaced_by_where_moved CHECK (
        (replaced_by IS NOT NULL) = (status = 'cancelled' AND coalesce(reason = 'moved', false))
    ) NOT VALID;

COMMENT ON COLUMN public.appointments.reason IS
    'Why the request was rejected, or why the appointment was cancelled if not because the person asked for it.';
COMMENT ON COLUMN public.appointments.replaces IS 'The appointment whose place it was to take.';
COMMENT ON COLUMN public.appointments.replaced_by IS 'The appointment that took its place, where the reason is moved.';

-- Each slot with its state, in the fields of the messages. A view, which the planner sees through; a function it would not.
CREATE VIEW public.slot_states AS
SELECT s.schedule_id,
       s.ends_at,
       json_build_object(
           'scheduleId', s.schedule_id,
           'specialty', s.specialty,
           'center', s.center,
           'practitioner', s.practitioner,
           'startsAt', s.starts_at,
           'endsAt', s.ends_at,
           'timeZone', s.time_zone,
           'utcOffsetMinutes', s.utc_offset_minutes,
           'version', s.version,
           'status', CASE
               WHEN s.state = 'withdrawn' THEN 'busy-unavailable'
               WHEN EXISTS (
                   SELECT FROM public.appointments AS a WHERE a.schedule_id = s.schedule_id AND a.status = 'booked'
               ) THEN 'busy'
               ELSE 'free'
           END
       ) AS state
FROM public.slots AS s;

COMMENT ON VIEW public.slot_states IS 'Slots as the country tells of them.';

-- The function answers more columns, and so has to be created anew. Workers are serving: whoever may execute it may do so
-- from the same commit on.
SELECT set_config('country_worker.grantees', coalesce(jsonb_agg(DISTINCT r.rolname), '[]')::text, true)
FROM pg_catalog.pg_proc AS p
CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS granted
JOIN pg_catalog.pg_roles AS r ON r.oid = granted.grantee
WHERE p.oid = 'public.decide(jsonb)'::regprocedure AND granted.grantee <> p.proowner;

DROP FUNCTION public.decide(jsonb);

-- Decides a batch of commands in one call, which is one round trip and one transaction.
--
-- A command is the message of the queue, of which these fields are read: type, appointmentId, insuredId, scheduleId,
-- replaces and occurredAt. Its type is one of
--
--     appointment.requested                 book the slot
--     appointment.move_requested            book the slot, and cancel the appointment that `replaces` names: both, or neither
--     appointment.decision_requested        say what was decided; where nothing was, reject with not_processed
--     appointment.cancellation_requested    free the slot
--
-- The answer is one row per command (command_id: its appointment), about its own appointment:
--
--     outcome        meaning
--     booked         the request won its slot
--     rejected       the first of these reasons that applies:
--                    not_processed           the person was told long ago that the request failed
--                    original_not_booked     a move: what is to be moved is not booked by this person for that slot
--                    already_started         a move: the slot of what is to be moved has begun
--                    slot_unknown            there is no such slot
--                    slot_withdrawn          the clinic withdrew it
--                    slot_past               it has begun
--                    already_booked          the same person has it
--                    slot_taken              another person has it
--                    too_many_open           the person holds max_open_bookings; a move adds none
--     cancelled      the appointment is cancelled; also the answer to a request whose cancellation overtook it. With a reason
--                    where the person did not ask for it: moved (replaced_by says by what), slot_withdrawn
--     erased         the appointment was erased, and the command is void; nothing written
--     unclassified   no decision, and nothing written; the command has to come again
--
-- and a second row, about the appointment that it moved, for each command about an appointment that took another one's
-- place. `slot` is the slot of the row's appointment as the whole batch leaves it. With an external catalogue there is none,
-- and no rule that needs one.
--
-- A command that comes again is answered from its row and never competes again, so any call may be repeated, also while
-- the first one is still running or when its answer was lost. The row is read before anything is written. So a call about
-- one command that fails by what it would have written tells that there is no decision about its request yet.
--
-- Concurrency. READ COMMITTED, and in a volatile function each statement has a snapshot of its own.
--
-- 1. First, every person who asks for a slot is locked, in ascending order, until the transaction ends: who counts a
--    person's bookings is alone with them. Only with a catalogue of its own, which alone has that rule.
-- 2. Then every slot of the batch, those of the appointments to be moved too, in ascending order. Whoever decides about a
--    slot, or imports it, is then alone with it: a competitor's commit, rollback or cancellation is either wholly visible to
--    the statements below or has not begun. (With the unique index alone, a row rejected early in a batch is held while the
--    slot is tried again for a later command of the same batch, and two batches can wait for each other.)
-- 3. Then the commands go in the order of their appointment id, which is that of the requests' times (UUIDv7): within
--    the batch the earlier request wins. An appointment's cancellation goes before the question for its decision, and
--    that before its request, as their types sort.
--
-- So there is no deadlock: persons are waited for with no slot held, and each lock of a kind is larger than each one held
-- of that kind, with no row held yet; waiting in step 3 can only be for a row of a larger appointment id than each one held,
-- and only if somebody gives one appointment two slots, or edits rows by hand.
--
-- Rows edited by hand do not take the slot's lock. For them the insert is tried again a few times: the booking that made
-- it lose may be gone when it is read. What then still cannot be told is unclassified, and never slot_taken.
--
-- SECURITY DEFINER: the worker's database user may execute this function and nothing else, so that a stolen worker
-- credential can neither read the appointments nor rewrite a decision. Hence the pinned search path and the qualified
-- names: no object that a caller creates can stand in for one that is meant here.
CREATE FUNCTION public.decide(commands jsonb)
RETURNS TABLE (
    appointment_id uuid,
    outcome        text,
    reason         text,
    decided_at     timestamptz,
    command_id     uuid,
    schedule_id    bigint,
    replaced_by    uuid,
    slot           json
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    attempts CONSTANT integer := 3;
    -- The key space of persons' locks. Slots have the one of single bigint keys.
    person_locks CONSTANT integer := 1;
    settings record;
    own boolean;
    instant timestamptz;
    command record;
    found_row public.appointments;
    original public.appointments;
    answer public.appointments;
    refusal text;
    open_now bigint;
    holder char(5);
    -- The answers, and the commands that they are for.
    answers public.appointments[] := '{}';
    command_ids uuid[] := '{}';
    -- Who has booked in this batch, and the slots that have another holder than before.
    bookers text[] := '{}';
    changed bigint[] := '{}';
BEGIN
    -- An older snapshot would not see what was committed while a slot's lock was waited for.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'decide() needs READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;

    SELECT s.catalogue, s.max_open_bookings, s.epoch INTO STRICT settings FROM public.country_settings AS s;
    own := settings.catalogue = 'own';

    IF own THEN
        PERFORM pg_advisory_xact_lock(person_locks, person.id)
        FROM (
            SELECT DISTINCT (element ->> 'insuredId')::integer AS id
            FROM jsonb_array_elements(commands) AS element
            WHERE element ->> 'type' = 'appointment.requested'
            ORDER BY id
        ) AS person;
    END IF;

    PERFORM pg_advisory_xact_lock(slot.id)
    FROM (
        SELECT DISTINCT slot_id::bigint AS id
        FROM jsonb_array_elements(commands) AS element
        CROSS JOIN LATERAL (VALUES (element ->> 'scheduleId'), (element #>> '{replaces,scheduleId}')) AS named (slot_id)
        WHERE slot_id IS NOT NULL
        ORDER BY id
    ) AS slot;

    -- After the waiting, so that nobody books what has begun meanwhile.
    instant := clock_timestamp();

    FOR command IN
        SELECT batch."appointmentId" AS appointment_id,
               batch."insuredId" AS insured_id,
               batch."scheduleId" AS schedule_id,
               batch."occurredAt" AS requested_at,
               batch."type" AS name,
               (batch."replaces" ->> 'appointmentId')::uuid AS original_id,
               (batch."replaces" ->> 'scheduleId')::bigint AS original_slot,
               EXISTS (
                   SELECT FROM public.erased_appointments AS e WHERE e.appointment_id = batch."appointmentId"
               ) AS is_erased,
               -- Looked up one by one: a join could be planned as a scan of all slots.
               nullif(CASE WHEN own THEN coalesce((
                   SELECT CASE
                              WHEN s.state = 'withdrawn' THEN 'slot_withdrawn'
                              WHEN s.starts_at <= instant THEN 'slot_past'
                              ELSE 'none'
                          END
                   FROM public.slots AS s
                   WHERE s.schedule_id = batch."scheduleId"
               ), 'slot_unknown') END, 'none') AS slot_refusal,
               -- Before the batch; cancellations in it make them fewer.
               CASE WHEN own AND batch."type" = 'appointment.requested' THEN (
                   SELECT count(*)
                   FROM public.appointments AS a
                   WHERE a.insured_id = batch."insuredId"::char(5)
                     AND a.status = 'booked'
                     AND (SELECT s.ends_at FROM public.slots AS s WHERE s.schedule_id = a.schedule_id) > instant
               ) END AS open_before
        FROM jsonb_to_recordset(commands) AS batch
            ("appointmentId" uuid, "insuredId" text, "scheduleId" bigint, "type" text, "occurredAt" timestamptz,
             "replaces" jsonb)
        ORDER BY batch."appointmentId", batch."type" COLLATE "C"
    LOOP
        answer := NULL;

        IF command.name NOT IN (
            'appointment.requested', 'appointment.move_requested', 'appointment.decision_requested',
            'appointment.cancellation_requested'
        ) THEN
            RAISE EXCEPTION 'unknown command %', command.name USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF command.name = 'appointment.move_requested' AND num_nulls(command.original_id, command.original_slot) > 0 THEN
            RAISE EXCEPTION 'a move has to name what it replaces' USING ERRCODE = 'invalid_parameter_value';
        END IF;

        IF command.is_erased THEN
            answer.appointment_id := command.appointment_id;
            answer.status := 'erased';
            answer.decided_at := clock_timestamp();
            answers := array_append(answers, answer);
            command_ids := array_append(command_ids, command.appointment_id);
            CONTINUE;
        END IF;

        FOR attempt IN 1 .. attempts LOOP
            SELECT a.* INTO found_row FROM public.appointments AS a WHERE a.appointment_id = command.appointment_id;
            IF FOUND THEN
                -- A row of another person or slot is no answer to this command.
                EXIT WHEN found_row.insured_id <> command.insured_id OR found_row.schedule_id <> command.schedule_id;
                IF command.name <> 'appointment.cancellation_requested' OR found_row.status = 'cancelled' THEN
                    answer := found_row;
                    EXIT;
                END IF;
                UPDATE public.appointments AS a
                SET status = 'cancelled', reason = NULL, decided_at = clock_timestamp()
                WHERE a.appointment_id = command.appointment_id AND a.status = found_row.status
                RETURNING a.* INTO answer;
                CONTINUE WHEN NOT FOUND;
                IF found_row.status = 'booked' THEN
                    changed := array_append(changed, command.schedule_id);
                END IF;
                EXIT;
            END IF;

            refusal := NULL;
            IF command.name = 'appointment.decision_requested' THEN
                refusal := 'not_processed';
            ELSIF command.name = 'appointment.requested' THEN
                refusal := command.slot_refusal;
                IF refusal IS NULL
                   AND command.open_before + cardinality(array_positions(bookers, command.insured_id))
                       >= settings.max_open_bookings
                THEN
                    SELECT count(*) INTO open_now
                    FROM public.appointments AS a
                    WHERE a.insured_id = command.insured_id::char(5)
                      AND a.status = 'booked'
                      AND (SELECT s.ends_at FROM public.slots AS s WHERE s.schedule_id = a.schedule_id) > instant;
                    IF open_now >= settings.max_open_bookings AND NOT EXISTS (
                        SELECT FROM public.appointments AS a
                        WHERE a.schedule_id = command.schedule_id AND a.status = 'booked'
                    ) THEN
                        refusal := 'too_many_open';
                    END IF;
                END IF;
            ELSIF command.name = 'appointment.move_requested' THEN
                -- With its row, so that no edit by hand comes between this and its cancellation.
                SELECT a.* INTO original
                FROM public.appointments AS a
                WHERE a.appointment_id = command.original_id
                  AND a.insured_id = command.insured_id::char(5)
                  AND a.schedule_id = command.original_slot
                  AND a.status = 'booked'
                FOR UPDATE;
                IF NOT FOUND THEN
                    refusal := 'original_not_booked';
                ELSIF own AND EXISTS (
                    SELECT FROM public.slots AS s WHERE s.schedule_id = command.original_slot AND s.starts_at <= instant
                ) THEN
                    refusal := 'already_started';
                ELSE
                    refusal := command.slot_refusal;
                END IF;
            END IF;

            INSERT INTO public.appointments AS a
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at, replaces)
            VALUES (
                command.appointment_id,
                command.insured_id,
                command.schedule_id,
                CASE
                    WHEN command.name = 'appointment.cancellation_requested' THEN 'cancelled'
                    WHEN refusal IS NULL THEN 'booked'
                    ELSE 'rejected'
                END,
                refusal,
                command.requested_at,
                clock_timestamp(),
                command.original_id
            )
            ON CONFLICT DO NOTHING
            RETURNING a.* INTO answer;
            IF FOUND THEN
                IF answer.status = 'booked' THEN
                    changed := array_append(changed, command.schedule_id);
                    IF command.name = 'appointment.move_requested' THEN
                        UPDATE public.appointments AS a
                        SET status = 'cancelled', reason = 'moved', replaced_by = command.appointment_id,
                            decided_at = answer.decided_at
                        WHERE a.appointment_id = command.original_id;
                        changed := array_append(changed, command.original_slot);
                    ELSE
                        bookers := array_append(bookers, command.insured_id);
                    END IF;
                END IF;
                EXIT;
            END IF;

            -- A row stands in the way: the appointment's own, which the next attempt reads, or, for what would have been a
            -- booking, the one that holds the slot.
            CONTINUE WHEN refusal IS NOT NULL OR command.name = 'appointment.cancellation_requested';
            SELECT a.insured_id INTO holder
            FROM public.appointments AS a
            WHERE a.schedule_id = command.schedule_id AND a.status = 'booked';
            CONTINUE WHEN NOT FOUND;

            INSERT INTO public.appointments AS a
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at, replaces)
            VALUES (command.appointment_id, command.insured_id, command.schedule_id, 'rejected',
                    CASE WHEN holder = command.insured_id THEN 'already_booked' ELSE 'slot_taken' END,
                    command.requested_at, clock_timestamp(), command.original_id)
            ON CONFLICT DO NOTHING
            RETURNING a.* INTO answer;
            EXIT WHEN FOUND;
        END LOOP;

        IF answer.appointment_id IS NULL THEN
            answer.appointment_id := command.appointment_id;
            answer.schedule_id := command.schedule_id;
            answer.status := 'unclassified';
        END IF;
        answers := array_append(answers, answer);
        command_ids := array_append(command_ids, command.appointment_id);

        IF answer.replaces IS NOT NULL THEN
            SELECT a.* INTO original
            FROM public.appointments AS a
            WHERE a.appointment_id = answer.replaces AND a.replaced_by = answer.appointment_id;
            IF FOUND THEN
                answers := array_append(answers, original);
                command_ids := array_append(command_ids, command.appointment_id);
            END IF;
        END IF;
    END LOOP;

    -- Also with an external catalogue, should the country have had one of its own before.
    IF cardinality(changed) > 0 THEN
        UPDATE public.slots AS s
        SET version = greatest(s.version, settings.epoch::bigint << 40) + 1
        WHERE s.schedule_id = ANY (changed);
    END IF;

    RETURN QUERY
    SELECT answered.appointment_id,
           answered.status,
           answered.reason,
           answered.decided_at,
           answered.command_id,
           answered.schedule_id,
           answered.replaced_by,
           CASE WHEN own THEN (
               SELECT s.state FROM public.slot_states AS s WHERE s.schedule_id = answered.schedule_id
           ) END
    FROM ROWS FROM (unnest(command_ids), unnest(answers)) AS answered (command_id);
END
$function$;

COMMENT ON FUNCTION public.decide(jsonb) IS
    'Decides a batch of commands; the first decision for an appointment stands. Safe to repeat.';

-- Functions may be executed by everybody unless that is taken away.
REVOKE EXECUTE ON FUNCTION public.decide(jsonb) FROM PUBLIC;

DO $block$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN SELECT * FROM jsonb_array_elements_text(current_setting('country_worker.grantees')::jsonb) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION public.decide(jsonb) TO %I', grantee);
    END LOOP;
END
$block$;

-- For workers of an older version, with every rule of this one. They know no `erased`: the cancellation that they report
-- instead finds no appointment. Nor do they know moves, and of what one replaced they hear nothing.
CREATE OR REPLACE FUNCTION public.decide(
    appointment_ids uuid[],
    insured_ids     text[],
    schedule_ids    bigint[],
    commands        text[],
    requested_at    timestamptz[]
)
RETURNS TABLE (appointment_id uuid, outcome text, reason text, decided_at timestamptz)
LANGUAGE sql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT decided.appointment_id,
           CASE decided.outcome WHEN 'erased' THEN 'cancelled' ELSE decided.outcome END,
           decided.reason,
           decided.decided_at
    FROM public.decide((
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'appointmentId', batch.appointment_id,
                   'insuredId', batch.insured_id,
                   'scheduleId', batch.schedule_id,
                   'type', CASE batch.name
                               WHEN 'request' THEN 'appointment.requested'
                               WHEN 'cancel' THEN 'appointment.cancellation_requested'
                               ELSE batch.name
                           END,
                   'occurredAt', batch.requested_at
               )), '[]')
        FROM unnest(appointment_ids, insured_ids, schedule_ids, commands, requested_at)
            AS batch (appointment_id, insured_id, schedule_id, name, requested_at)
    )) AS decided
    WHERE decided.command_id = decided.appointment_id
$function$;
