-- decide(jsonb) and import_apply(bigint, integer) read by index, and compile nothing, whatever the statistics say.
--
-- jit: an estimated cost above jit_above_cost makes PostgreSQL compile a statement each time that it runs, which costs some 50 ms of
-- processor time per call, a hundred times the call. Without statistics, or where each person has a hundred appointments, the estimate
-- is above it, although little is read.
--
-- enable_seqscan: statistics that were taken of an empty table make a scan of it look cheapest, and a connection keeps that plan while
-- the table grows, until autovacuum comes. Where there is no index to read by (country_settings), the scan remains.
ALTER FUNCTION public.decide(jsonb) SET jit = off;
ALTER FUNCTION public.decide(jsonb) SET enable_seqscan = off;
ALTER FUNCTION public.import_apply(bigint, integer) SET jit = off;
ALTER FUNCTION public.import_apply(bigint, integer) SET enable_seqscan = off;
