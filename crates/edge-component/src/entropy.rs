use appointment::{AppointmentId, Timestamp, TraceContext};

use crate::Host;

/// The random bytes of one request, drawn in one host call.
#[derive(Debug)]
pub struct RequestEntropy([u8; 34]);

impl RequestEntropy {
    /// Draws from the host's cryptographically secure generator.
    #[must_use]
    pub fn draw(host: impl Host) -> Self {
        let mut bytes = [0; 34];
        host.fill_random(&mut bytes);
        Self(bytes)
    }

    /// A new appointment id.
    #[must_use]
    pub fn appointment_id(&self, now: Timestamp) -> AppointmentId {
        let [random @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = self.0;
        AppointmentId::new(now, random)
    }

    /// One byte for a choice that is no secret.
    #[must_use]
    pub const fn byte(&self) -> u8 {
        let [byte, ..] = self.0;
        byte
    }

    /// This hop's place in the trace: a child of the caller's where it sent one, else a new trace.
    #[must_use]
    pub fn trace(&self, caller: Option<TraceContext>) -> TraceContext {
        let [_, _, _, _, _, _, _, _, _, _, random @ ..] = self.0;
        let [span @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
        match caller {
            Some(context) => context.child(span),
            None => TraceContext::start(random),
        }
    }
}
