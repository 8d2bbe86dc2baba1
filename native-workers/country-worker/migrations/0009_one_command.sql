-- decide(jsonb) takes less for a batch of one request: it locks by expressions, which start no statement, and books in two
-- statements that start in less time than the one for several bookings. A larger batch locks persons and slots in one statement,
-- not two.

-- Decides a batch of commands in one call, which is one round trip and one transaction.
--
-- A command is the message of the queue, of which these fields are read: type, appointmentId, insuredId, scheduleId,
-- replaces and occurredAt; what else it says of the appointment is stored in `details`. Its type is one of
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
--    person's bookings is alone with them.
-- 2. Then every slot of the batch, those of the appointments to be moved too, in ascending order. Whoever decides about a
--    slot, or imports it, is then alone with it: a competitor's commit, rollback or cancellation is either wholly visible to
--    the statements below or has not begun. (With the unique index alone, a row rejected early in a batch is held while the
--    slot is tried again for a later command of the same batch, and two batches can wait for each other.)
-- 3. Then, in one statement, go the bookings that no other command of the batch can make a difference to: no other names
--    their slot, nor asks for the same person. A request that comes alone is booked by the same rules in statements of its
--    own. Those that are not booked here are decided in 4.
-- 4. Then the other commands go in the order of their appointment id, which is that of the requests' times (UUIDv7): within
--    the batch the earlier request wins. An appointment's cancellation goes before the question for its decision, and
--    that before its request, as their types sort.
--
-- So there is no deadlock: persons are waited for with no slot held, and each lock of a kind is larger than each one held
-- of that kind, with no row held yet; waiting in steps 3 and 4 can only be for a row of a larger appointment id than each one held,
-- and only if somebody gives one appointment two slots, or edits rows by hand.
--
-- Rows edited by hand do not take the slot's lock. For them the insert is tried again a few times: the booking that made
-- it lose may be gone when it is read. What then still cannot be told is unclassified, and never slot_taken.
--
-- SECURITY DEFINER: the worker's database user may execute this function and nothing else, so that a stolen worker
-- credential can neither read the appointments nor rewrite a decision. Hence the pinned search path and the qualified
-- names: no object that a caller creates can stand in for one that is meant here.
CREATE OR REPLACE FUNCTION public.decide(commands jsonb)
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
-- No plan depends on the values, but each would be made anew for them, because they make it look cheaper.
SET plan_cache_mode = force_generic_plan
-- As migration 8 says.
SET jit = off
SET enable_seqscan = off
AS $function$
#variable_conflict use_column
DECLARE
    attempts CONSTANT integer := 3;
    -- The key space of persons' locks. Slots have the one of single bigint keys.
    person_locks CONSTANT integer := 1;
    settings record;
    own boolean;
    instant timestamptz;
    -- Named by more than one command.
    repeated_persons integer[] := '{}';
    repeated_slots bigint[] := '{}';
    locked bigint;
    -- The command of a batch of one.
    alone jsonb;
    asked_id uuid;
    asked_person text;
    asked_slot bigint;
    original_slot bigint;
    command record;
    found_row public.appointments;
    original public.appointments;
    answer public.appointments;
    refusal text;
    open_now bigint;
    holder char(5);
    -- The appointments that were booked in one statement, and answered.
    booked_ids uuid[] := '{}';
    -- The other answers, and the commands that they are for.
    answers public.appointments[] := '{}';
    command_ids uuid[] := '{}';
    -- Who has booked in the loop, and the slots that have another holder than before it.
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

    IF jsonb_array_length(commands) = 1 THEN
        -- By assignments, because PL/pgSQL evaluates an expression without starting a statement, but not one that PERFORM has.
        alone := commands -> 0;
        asked_id := (alone ->> 'appointmentId')::uuid;
        asked_person := alone ->> 'insuredId';
        asked_slot := (alone ->> 'scheduleId')::bigint;
        original_slot := (alone #>> '{replaces,scheduleId}')::bigint;
        IF alone ->> 'type' = 'appointment.requested' THEN
            locked := num_nulls(pg_advisory_xact_lock(person_locks, asked_person::integer));
        END IF;
        locked := num_nulls(pg_advisory_xact_lock(least(asked_slot, original_slot)));
        IF original_slot <> asked_slot THEN
            locked := num_nulls(pg_advisory_xact_lock(greatest(asked_slot, original_slot)));
        END IF;
    ELSE
        SELECT coalesce(array_agg(lock.id::integer) FILTER (WHERE lock.of_person AND lock.commands > 1), '{}'),
               coalesce(array_agg(lock.id) FILTER (WHERE NOT lock.of_person AND lock.commands > 1), '{}'),
               count(CASE
                   WHEN lock.of_person THEN pg_advisory_xact_lock(person_locks, lock.id::integer)
                   ELSE pg_advisory_xact_lock(lock.id)
               END)
        INTO repeated_persons, repeated_slots, locked
        FROM (
            SELECT named.of_person, named.id::bigint AS id, count(*) AS commands
            FROM jsonb_array_elements(commands) AS element
            CROSS JOIN LATERAL (VALUES
                (true, CASE element ->> 'type' WHEN 'appointment.requested' THEN element ->> 'insuredId' END),
                (false, element ->> 'scheduleId'),
                (false, element #>> '{replaces,scheduleId}')
            ) AS named (of_person, id)
            WHERE named.id IS NOT NULL
            GROUP BY named.of_person, named.id::bigint
            ORDER BY named.of_person DESC, named.id::bigint
        ) AS lock;
    END IF;

    -- After the waiting, so that nobody books what has begun meanwhile.
    instant := clock_timestamp();

    -- Where a person's bookings are counted, `status = 'booked'` is written in another way: without statistics the index of the
    -- booked slots, which has that condition, would be read as a whole.

    IF alone ->> 'type' = 'appointment.requested' THEN
        -- By the rules of the statement below; there is nothing to sort out, and nothing to join.
        INSERT INTO public.appointments AS a
            (appointment_id, insured_id, schedule_id, status, requested_at, decided_at, details)
        SELECT asked_id, asked_person, asked_slot, 'booked', (alone ->> 'occurredAt')::timestamptz, instant,
               public.details_of(alone)
        WHERE (SELECT true FROM public.erased_appointments AS e WHERE e.appointment_id = asked_id) IS NULL
          AND (SELECT true FROM public.appointments AS a WHERE a.appointment_id = asked_id) IS NULL
          AND CASE WHEN own THEN
              (SELECT s.state = 'open' AND s.starts_at > instant FROM public.slots AS s WHERE s.schedule_id = asked_slot)
              AND (SELECT count(*)
                   FROM public.appointments AS a
                   WHERE a.insured_id = asked_person::char(5)
                     AND a.status NOT IN ('rejected', 'cancelled')
                     AND (SELECT s.ends_at FROM public.slots AS s WHERE s.schedule_id = a.schedule_id) > instant
                  ) < settings.max_open_bookings
          ELSE true END
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            UPDATE public.slots AS s
            SET version = greatest(s.version, settings.epoch::bigint << 40) + 1
            WHERE s.schedule_id = asked_slot
            RETURNING CASE WHEN own THEN public.slot_json(s, 'busy') END INTO slot;
            appointment_id := asked_id;
            command_id := asked_id;
            schedule_id := asked_slot;
            outcome := 'booked';
            decided_at := instant;
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;

    IF alone IS NULL THEN
        -- The rows of appointments and slots are looked up one by one: a join could be planned as a scan of the whole table.
        FOR appointment_id, outcome, decided_at, schedule_id, slot IN
            WITH booked AS (
                INSERT INTO public.appointments AS a
                    (appointment_id, insured_id, schedule_id, status, requested_at, decided_at, details)
                SELECT asked."appointmentId", asked."insuredId", asked."scheduleId", 'booked', asked."occurredAt", instant,
                       public.details_of(asked.command)
                FROM ROWS FROM (
                    jsonb_to_recordset(commands) AS
                        ("appointmentId" uuid, "insuredId" text, "scheduleId" bigint, "type" text, "occurredAt" timestamptz),
                    jsonb_array_elements(commands)
                ) AS asked ("appointmentId", "insuredId", "scheduleId", "type", "occurredAt", command)
                WHERE asked."type" = 'appointment.requested'
                  AND asked."scheduleId" <> ALL (repeated_slots)
                  AND (SELECT true FROM public.erased_appointments AS e WHERE e.appointment_id = asked."appointmentId") IS NULL
                  AND (SELECT true FROM public.appointments AS a WHERE a.appointment_id = asked."appointmentId") IS NULL
                  AND CASE WHEN own THEN
                      asked."insuredId"::integer <> ALL (repeated_persons)
                      AND (SELECT s.state = 'open' AND s.starts_at > instant
                           FROM public.slots AS s
                           WHERE s.schedule_id = asked."scheduleId")
                      AND (SELECT count(*)
                           FROM public.appointments AS a
                           WHERE a.insured_id = asked."insuredId"::char(5)
                             AND a.status NOT IN ('rejected', 'cancelled')
                             AND (SELECT s.ends_at FROM public.slots AS s WHERE s.schedule_id = a.schedule_id) > instant
                          ) < settings.max_open_bookings
                  ELSE true END
                ON CONFLICT DO NOTHING
                RETURNING a.appointment_id, a.schedule_id
            ), raised AS (
                -- Also with an external catalogue, should the country have had one of its own before.
                UPDATE public.slots AS s
                SET version = greatest(s.version, settings.epoch::bigint << 40) + 1
                WHERE s.schedule_id = ANY (ARRAY(SELECT b.schedule_id FROM booked AS b))
                RETURNING s.schedule_id, public.slot_json(s, 'busy') AS state
            )
            SELECT b.appointment_id, 'booked', instant, b.schedule_id, CASE WHEN own THEN r.state END
            FROM booked AS b
            LEFT JOIN raised AS r ON r.schedule_id = b.schedule_id
        LOOP
            command_id := appointment_id;
            booked_ids := array_append(booked_ids, appointment_id);
            RETURN NEXT;
        END LOOP;
        IF cardinality(booked_ids) = jsonb_array_length(commands) THEN
            RETURN;
        END IF;
    END IF;

    FOR command IN
        SELECT batch."appointmentId" AS appointment_id,
               batch."insuredId" AS insured_id,
               batch."scheduleId" AS schedule_id,
               batch."occurredAt" AS requested_at,
               batch."type" AS name,
               public.details_of(batch.command) AS details,
               (batch."replaces" ->> 'appointmentId')::uuid AS original_id,
               (batch."replaces" ->> 'scheduleId')::bigint AS original_slot,
               -- Each is looked up by itself: a join could be planned as a scan of the whole table.
               (SELECT true FROM public.erased_appointments AS e WHERE e.appointment_id = batch."appointmentId")
                   AS is_erased,
               (SELECT true FROM public.appointments AS a WHERE a.appointment_id = batch."appointmentId") AS is_known,
               nullif(CASE WHEN own THEN coalesce((
                   SELECT CASE
                              WHEN s.state = 'withdrawn' THEN 'slot_withdrawn'
                              WHEN s.starts_at <= instant THEN 'slot_past'
                              ELSE 'none'
                          END
                   FROM public.slots AS s
                   WHERE s.schedule_id = batch."scheduleId"
               ), 'slot_unknown') END, 'none') AS slot_refusal,
               -- Before the commands of this loop; cancellations among them make them fewer.
               CASE WHEN own AND batch."type" = 'appointment.requested' THEN (
                   SELECT count(*)
                   FROM public.appointments AS a
                   WHERE a.insured_id = batch."insuredId"::char(5)
                     AND a.status NOT IN ('rejected', 'cancelled')
                     AND (SELECT s.ends_at FROM public.slots AS s WHERE s.schedule_id = a.schedule_id) > instant
               ) END AS open_before
        FROM ROWS FROM (
            jsonb_to_recordset(commands) AS
                ("appointmentId" uuid, "insuredId" text, "scheduleId" bigint, "type" text, "occurredAt" timestamptz,
                 "replaces" jsonb),
            jsonb_array_elements(commands)
        ) AS batch ("appointmentId", "insuredId", "scheduleId", "type", "occurredAt", "replaces", command)
        WHERE batch."appointmentId" <> ALL (booked_ids)
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
            IF command.is_known OR attempt > 1 THEN
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
                      AND a.status NOT IN ('rejected', 'cancelled')
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
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at, replaces, details)
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
                command.original_id,
                command.details
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
                (appointment_id, insured_id, schedule_id, status, reason, requested_at, decided_at, replaces, details)
            VALUES (command.appointment_id, command.insured_id, command.schedule_id, 'rejected',
                    CASE WHEN holder = command.insured_id THEN 'already_booked' ELSE 'slot_taken' END,
                    command.requested_at, clock_timestamp(), command.original_id, command.details)
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
