-- Every decision of the country is a row, and the first decision for an appointment stands. The only later change is to
-- 'cancelled'. A cancellation that overtakes its request leaves a row too, a tombstone, which the request finds.
CREATE TABLE public.appointments (
    appointment_id uuid        NOT NULL,
    insured_id     char(5)     NOT NULL,
    schedule_id    bigint      NOT NULL,
    status         text        NOT NULL,
    reason         text,
    requested_at   timestamptz NOT NULL,
    decided_at     timestamptz NOT NULL,

    CONSTRAINT appointments_pkey PRIMARY KEY (appointment_id),
    CONSTRAINT appointments_insured_id_digits CHECK (insured_id ~ '^[0-9]{5}$'),
    CONSTRAINT appointments_schedule_id_range CHECK (schedule_id BETWEEN 1 AND 9007199254740991),
    CONSTRAINT appointments_status_known CHECK (status IN ('booked', 'rejected', 'cancelled')),
    CONSTRAINT appointments_reason_known CHECK (reason IN ('slot_taken', 'already_booked')),
    CONSTRAINT appointments_reason_where_rejected CHECK ((reason IS NOT NULL) = (status = 'rejected'))
);

-- The one place where a slot is won.
CREATE UNIQUE INDEX appointments_one_booking_per_slot ON public.appointments (schedule_id) WHERE status = 'booked';

COMMENT ON TABLE public.appointments IS 'What this country decided about each appointment; written by decide() only.';
COMMENT ON COLUMN public.appointments.insured_id IS 'Personal data: the code of the insured person, five digits.';
COMMENT ON COLUMN public.appointments.reason IS 'Why the request was rejected; null in every other status.';
COMMENT ON COLUMN public.appointments.requested_at IS 'When the person asked, as the command says.';
COMMENT ON COLUMN public.appointments.decided_at IS 'When the present status was decided.';
