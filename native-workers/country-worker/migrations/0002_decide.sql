-- Decides a batch of commands in one call, which is one round trip and one transaction.
--
-- The arguments are parallel arrays, one element a command: 'request' or 'cancel'. The answer is one row a command:
--
--     outcome        meaning
--     booked         the request won its slot
--     rejected       the slot was lost: reason slot_taken (to another person) or already_booked (to the same person)
--     cancelled      the appointment is cancelled; also what a request hears whose cancellation overtook it
--     unclassified   no decision, and nothing written; the command has to come again
--
-- A command that comes again is answered from its row and never competes again, so any call may be repeated, also while
-- the first one is still running or when its answer was lost.
--
-- Concurrency. READ COMMITTED, and in a volatile function each statement has a snapshot of its own.
--
-- 1. First, every slot of the batch is locked, in ascending order, until the transaction ends. Whoever decides about a
--    slot is then alone with it: a competitor's commit, rollback or cancellation is either wholly visible to the
--    statements below or has not begun. (With the unique index alone, a row rejected early in a batch is held while the
--    slot is tried again for a later command of the same batch, and two batches can wait for each other.)
-- 2. Then the commands go in the order of their appointment id, which is that of the requests' times (UUIDv7): within
--    the batch the earlier request wins, and an appointment's cancellation goes before its request.
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
CREATE FUNCTION public.decide(
    appointment_ids uuid[],
    insured_ids     text[],
    schedule_ids    bigint[],
    commands        text[],
    requested_at    timestamptz[]
)
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
    FROM (SELECT DISTINCT schedule_id FROM unnest(schedule_ids) AS schedule_id ORDER BY schedule_id) AS slot;

    FOR command IN
        SELECT *
        FROM unnest(appointment_ids, insured_ids, schedule_ids, commands, requested_at)
            AS batch (appointment_id, insured_id, schedule_id, name, requested_at)
        ORDER BY appointment_id, name
    LOOP
        appointment_id := command.appointment_id;
        outcome := 'unclassified';
        reason := NULL;
        decided_at := NULL;

        FOR attempt IN 1 .. attempts LOOP
            IF command.name = 'request' THEN
                INSERT INTO public.appointments AS a
                    (appointment_id, insured_id, schedule_id, status, requested_at, decided_at)
                VALUES (command.appointment_id, command.insured_id, command.schedule_id, 'booked',
                        command.requested_at, clock_timestamp())
                ON CONFLICT DO NOTHING
                RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
                EXIT WHEN FOUND;
            ELSIF command.name = 'cancel' THEN
                UPDATE public.appointments AS a
                SET status = 'cancelled', reason = NULL, decided_at = clock_timestamp()
                WHERE a.appointment_id = command.appointment_id
                  AND a.insured_id = command.insured_id
                  AND a.schedule_id = command.schedule_id
                  AND a.status <> 'cancelled'
                RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
                EXIT WHEN FOUND;

                INSERT INTO public.appointments AS a
                    (appointment_id, insured_id, schedule_id, status, requested_at, decided_at)
                VALUES (command.appointment_id, command.insured_id, command.schedule_id, 'cancelled',
                        command.requested_at, clock_timestamp())
                ON CONFLICT DO NOTHING
                RETURNING a.status, a.reason, a.decided_at INTO outcome, reason, decided_at;
                EXIT WHEN FOUND;
            ELSE
                RAISE EXCEPTION 'unknown command %: expected request or cancel', command.name
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;

            -- Nothing was written, so there is a row that stands in the way: the appointment's own, which answers …
            outcome := 'unclassified';
            SELECT a.insured_id, a.schedule_id, a.status, a.reason, a.decided_at INTO found_row
            FROM public.appointments AS a
            WHERE a.appointment_id = command.appointment_id;
            IF FOUND THEN
                -- A row of another person or slot is no answer to this command.
                EXIT WHEN found_row.insured_id <> command.insured_id OR found_row.schedule_id <> command.schedule_id;
                IF command.name = 'request' OR found_row.status = 'cancelled' THEN
                    outcome := found_row.status;
                    reason := found_row.reason;
                    decided_at := found_row.decided_at;
                    EXIT;
                END IF;
                CONTINUE;
            END IF;

            -- … or, for a request, the booking that holds the slot.
            CONTINUE WHEN command.name <> 'request';
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

COMMENT ON FUNCTION public.decide(uuid[], text[], bigint[], text[], timestamptz[]) IS
    'Decides a batch of commands; the first decision for an appointment stands. Safe to repeat.';

-- Functions may be executed by everybody unless that is taken away.
REVOKE EXECUTE ON FUNCTION public.decide(uuid[], text[], bigint[], text[], timestamptz[]) FROM PUBLIC;
