//! What is known of a request while it is handled.

use std::time::SystemTime;

use appointment::{Appointment, AppointmentId, StoredCountry, TraceContext};
use aws_http::CallLog;
use backplane::StoredAppointment;
use edge_component::{Host, Language, Level, RequestEntropy, Variables};

use crate::audit::Audit;

/// One request on its way to a response, and what its log line will say.
pub(crate) struct RequestContext<H> {
    /// What runs the component.
    pub(crate) host: H,
    /// The settings of the component.
    pub(crate) variables: Variables<H>,
    /// The random bytes of the request.
    pub(crate) entropy: RequestEntropy,
    /// When the request came. It dates what the request does: reading the clock is a call of the host.
    pub(crate) arrived: SystemTime,
    /// This hop's place in the trace.
    pub(crate) trace: TraceContext,
    /// The calls that it makes.
    pub(crate) calls: CallLog,
    /// The language of the response's texts.
    pub(crate) language: Language,
    /// The appointment that it is about.
    pub(crate) appointment_id: Option<AppointmentId>,
    /// Its country.
    pub(crate) country: Option<StoredCountry>,
    /// How it is known who asks, where that matters.
    pub(crate) authentication: Option<&'static str>,
    /// In which role the caller acts for the insured person, where there are roles.
    pub(crate) caller: Option<&'static str>,
    /// Who acts, and for whom.
    pub(crate) audit: Audit,
    /// What was done.
    pub(crate) message: &'static str,
    /// How much attention that asks for, where it is more than usual.
    pub(crate) level: Option<Level>,
    /// What failed behind the API.
    pub(crate) error: Option<String>,
}

impl<H: Host> RequestContext<H> {
    /// Remembers which appointment it is about.
    pub(crate) fn about(&mut self, appointment: &Appointment) {
        self.appointment_id = Some(appointment.appointment_id);
        self.country = Some(appointment.country);
    }

    /// Remembers for the log what of the rows this version does not know or cannot read, which asks for an operator.
    pub(crate) fn report(&mut self, faults: &[String]) {
        if !faults.is_empty() {
            self.level = Some(Level::Error);
            self.error = Some(faults.join("; "));
        }
    }

    /// As [`Self::report`], of one appointment.
    pub(crate) fn report_unknown(&mut self, stored: &StoredAppointment) {
        if let Some(unknown) = stored.unknown_value() {
            self.report(&[unknown.to_string()]);
        }
    }
}
