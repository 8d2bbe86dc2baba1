-- decide() takes one JSON array of commands from now on, so that a later field needs no new signature. The signature with
-- five arrays stays for workers of an older version, over the same function and with each new rule.

-- What was erased at a person's wish: commands about it that are still on their way, or in a dead-letter queue, must not
-- bring it back. Nothing here tells whose it was.
CREATE TABLE public.erased_appointments (
    appointment_id uuid        NOT NULL,
    expires_at     timestamptz NOT NULL,

    CONSTRAINT erased_appointments_pkey PRIMARY KEY (appointment_id)
);

COMMENT ON TABLE public.erased_appointments IS 'Appointments that decide() must not book again.';
COMMENT ON COLUMN public.erased_appointments.expires_at IS 'When no queue can hold a command about it any more.';

-- Not validated, which would read the whole table under its lock: the constraint that this one replaces allowed less.
ALTER TABLE public.appointments
    DROP CONSTRAINT appointments_reason_known,
    ADD CONSTRAINT appointments_reason_known
        CHECK (reason IN ('slot_taken', 'already_booked', 'not_processed')) NOT VALID;

-- Decides a batch of commands in one call, which is one round trip and one transaction.
--
-- A command is the message of the queue, of which these fields are read: type, appointmentId, insuredId, scheduleId and
-- occurredAt. Its type is one of
--
--     appointment.requested                 book the slot
--     appointment.decision_requested        say what was decided; where nothing was, reject with not_processed
--     appointment.cancellation_requested    free the slot
--
-- The answer is one row per command:
--
--     outcome        meaning
--     booked         the request won its slot
--     rejected       reason slot_taken (another person has the slot), already_booked (the same person has it) or
--                    not_processed (the person was told long ago that the request failed)
--     cancelled      the appointment is cancelled; also the answer to a request whose cancellation overtook it
--     erased         the appointment was erased, and the command is void; nothing written
--     unclassified   no decision, and nothing written; the command has to come again
--
-- A command that comes again is answered from its row and never competes again, so any call may be repeated, also while
-- the first one is still running or when its answer was lost. The row is read before anything is written. So a call about
-- one command that fails by what it would have written tells that there is no decision about its request yet.
--
-- Concurrency. READ COMMITTED, and in a volatile function each statement has a snapshot of its own.
--
-- 1. First, every slot of the batch is locked, in ascending order, until the transaction ends. Whoever decides about a
--    slot is then alone with it: a competitor's commit, rollback or cancellation is either wholly visible to the
--    statements below or has not begun. (With the unique index alone, a row rejected early in a batch is held while the
--    slot is tried again for a later command of the same batch, and two batches can wait for each other.)
-- 2. Then the commands go in the order of their appointment id, which is that of the requests' times (UUIDv7): within
--    the batch the earlier request wins. An appointment's cancellation goes before the question for its decision, and
--    that before its request, as their types sort.
--
-- So there is no deadlock: waiting in step 1 is for a slot that is larger than each one held, with no row held yet;
-- waiting in step 2 can only be for a row of a larger appointment id than each one held, and only if somebody gives one
-- appointment two slots, or edits rows by hand.
--
-- Rows edited by hand do not take the slot's lock. For them the insert is tried again a few times: the booking that made
-- it lose may be gone when it is read. What then still cannot be told is unclassified, and never slot_taken.
--
-- SECURITY DEFINER: the worker's database user may execute this function and nothing else, so that a stolen worker
-- credential can neither read the appointments nor rewrite a decision. Hence the pinned search path and the qualified
-- names: no object that a caller creates can stand in for one that is meant here.
CREATE FUNCTION public.decide(commands jsonb)
RETURNS TABLE (appointment_id uuid, outcome text, reason text, decided_at timestamptz)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    attempts CONSTANT integer := 3;
    command record;
    found_row record;
    holder char(5);
BEGIN
    -- An older snapshot would not see what was committed while a slot's lock was waited for.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'decide() needs READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;

    PERFORM pg_advisory_xact_lock(slot.schedule_id)
    FROM (
        SELECT DISTINCT (element ->> 'scheduleId')::bigint AS schedule_id
        FROM jsonb_array_elements(commands) AS element
        ORDER BY schedule_id
    ) AS slot;

    FOR command IN
        SELECT batch."appointmentId" AS appointment_id,
               batch."insuredId" AS insured_id,
               batch."scheduleId" AS schedule_id,
               batch."occurredAt" AS requested_at,
               batch."type" AS name,
               EXISTS (
                   SELECT FROM public.erased_appointments AS e WHERE e.appointment_id = batch."appointmentId"
               ) AS is_erased
        FROM jsonb_to_recordset(commands) AS batch
            ("appointmentId" uuid, "insuredId" text, "scheduleId" bigint, "type" text, "occurredAt" timestamptz)
        ORDER BY batch."appointmentId", batch."type" COLLATE "C"
    LOOP
        appointment_id := command.appointment_id;
        outcome := 'unclassified';
        reason := NULL;
        decided_at := NULL;

        IF command.name NOT IN (
            'appointment.requested', 'appointment.decision_requested', 'appointment.cancellation_requested'
        ) THEN
            RAISE EXCEPTION 'unknown command %', command.name USING ERRCODE = 'invalid_parameter_value';
        END IF;

        IF command.is_erased THEN
            outcome := 'erased';
            decided_at := clock_timestamp();
            RETURN NEXT;
            CONTINUE;
        END IF;

        FOR attempt IN 1 .. attempts LOOP
            SELECT a.insured_id, a.schedule_id, a.status, a.reason, a.decided_at INTO found_row
            FROM public.appointments AS a
            WHERE a.appointment_id = command.appointment_id;
            IF FOUND THEN
                -- A row of another person or slot is no answer to this command.
                EXIT WHEN found_row.insured_id <> command.insured_id OR found_row.schedule_id <> command.schedule_id;
                IF command.name <> 'appointment.cancellation_requested' OR found_row.status = 'cancelled' THEN
                    outcome := found_row.status;
                    reason := found_row.reason;
                    decided_at := found_row.decided_at;
                    EXIT;
                END IF;
                UPDATE public.appointments AS a
                SET status = 'cancelled', reason = NULL, decided_at = clock_timestamp()
                WHERE a.appointment_id = command.appointment_id AND a.status <> 'cancelled'
                RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
                EXIT WHEN FOUND;
                outcome := 'unclassified';
                CONTINUE;
            END IF;

            INSERT INTO public.appointments AS a
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at)
            VALUES (
                command.appointment_id,
                command.insured_id,
                command.schedule_id,
                CASE command.name
                    WHEN 'appointment.requested' THEN 'booked'
                    WHEN 'appointment.decision_requested' THEN 'rejected'
                    ELSE 'cancelled'
                END,
                CASE command.name WHEN 'appointment.decision_requested' THEN 'not_processed' END,
                command.requested_at,
                clock_timestamp()
            )
            ON CONFLICT DO NOTHING
            RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
            EXIT WHEN FOUND;
            outcome := 'unclassified';

            -- A row stands in the way: the appointment's own, which the next attempt reads, or, for a request, the booking
            -- that holds the slot.
            CONTINUE WHEN command.name <> 'appointment.requested';
            SELECT a.insured_id INTO holder
            FROM public.appointments AS a
            WHERE a.schedule_id = command.schedule_id AND a.status = 'booked';
            CONTINUE WHEN NOT FOUND;

            INSERT INTO public.appointments AS a
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at)
            VALUES (command.appointment_id, command.insured_id, command.schedule_id, 'rejected',
                    CASE WHEN holder = command.insured_id THEN 'already_booked' ELSE 'slot_taken' END,
                    command.requested_at, clock_timestamp())
            ON CONFLICT DO NOTHING
            RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
            EXIT WHEN FOUND;
            outcome := 'unclassified';
        END LOOP;

        RETURN NEXT;
    END LOOP;
END
$function$;

COMMENT ON FUNCTION public.decide(jsonb) IS
    'Decides a batch of commands; the first decision for an appointment stands. Safe to repeat.';

-- Functions may be executed by everybody unless that is taken away.
REVOKE EXECUTE ON FUNCTION public.decide(jsonb) FROM PUBLIC;

-- For workers of an older version. They know no `erased`: the cancellation that they report instead finds no appointment.
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
$function$;

COMMENT ON FUNCTION public.decide(uuid[], text[], bigint[], text[], timestamptz[]) IS
    'As decide(jsonb), for workers of a version that passes parallel arrays.';
