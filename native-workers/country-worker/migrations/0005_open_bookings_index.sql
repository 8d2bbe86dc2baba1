-- For counting a person's open bookings. In a transaction of its own: while it reads the table, about a second per million
-- rows, nothing is decided, and what waits longer than the worker does comes again. Built concurrently it would not hold up
-- the worker, but a migration that waits for this one would be waited for in turn, and a failure would leave half an index.
CREATE INDEX appointments_open_bookings ON public.appointments (insured_id) WHERE status = 'booked';
