use appointment::{AppointmentId, Country, FieldError, FieldErrorCode, InsuredId, ScheduleId};
use edge_component::{Problem, ProblemCode};
use http::Method;

/// What a path names. Of the paths of appointments, the singular form `/appointment…` names the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Whether the component runs.
    Health,
    /// The description of this API.
    Description,
    /// All appointments, to which one is added.
    Appointments,
    /// A person's appointments.
    Person,
    /// One appointment.
    Appointment,
    /// The moves of one appointment, to which one is added.
    Moves,
    /// Free slots.
    Slots,
    /// One slot.
    Slot,
    /// What can be booked in a country.
    Catalog,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /health`
    Health,
    /// `GET /openapi.yaml`
    Describe,
    /// `POST /appointments`
    Book,
    /// `GET /appointments/{insuredId}`
    List(InsuredId),
    /// `GET /appointments/{insuredId}/{appointmentId}`
    Read(InsuredId, AppointmentId),
    /// `DELETE /appointments/{insuredId}/{appointmentId}`
    Cancel(InsuredId, AppointmentId),
    /// `POST /appointments/{insuredId}/{appointmentId}/move`
    Move(InsuredId, AppointmentId),
    /// `GET /slots`
    FreeSlots,
    /// `GET /slots/{countryISO}/{scheduleId}`
    ReadSlot(Country, ScheduleId),
    /// `GET /catalog/{countryISO}`
    ReadCatalog(Country),
    /// `OPTIONS` of a resource
    Options(Resource),
}

impl Route {
    /// Whether it tells nothing of anybody, so it does not matter who asks.
    pub(crate) const fn is_open(&self) -> bool {
        match self {
            Self::Health | Self::Describe | Self::Options(_) => true,
            Self::FreeSlots | Self::ReadSlot(..) | Self::ReadCatalog(_) => true,
            Self::Book | Self::List(_) | Self::Read(..) | Self::Cancel(..) | Self::Move(..) => false,
        }
    }

    /// Whether it changes anything.
    pub(crate) const fn writes(&self) -> bool {
        matches!(self, Self::Book | Self::Cancel(..) | Self::Move(..))
    }

    /// The person whose appointments the path is about.
    pub(crate) const fn insured_id(&self) -> Option<InsuredId> {
        match self {
            Self::Health | Self::Describe | Self::Book | Self::Options(_) => None,
            Self::FreeSlots | Self::ReadSlot(..) | Self::ReadCatalog(_) => None,
            Self::List(insured_id)
            | Self::Read(insured_id, _)
            | Self::Cancel(insured_id, _)
            | Self::Move(insured_id, _) => Some(*insured_id),
        }
    }
}

/// The parts of a path that tell one person, appointment or slot from another, as the path writes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Identifiers<'a> {
    insured: &'a str,
    appointment: &'a str,
    country: &'a str,
    schedule: &'a str,
}

impl Resource {
    /// Every resource, to be compared with `docs/openapi.yaml`.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Health,
        Self::Description,
        Self::Appointments,
        Self::Person,
        Self::Appointment,
        Self::Moves,
        Self::Slots,
        Self::Slot,
        Self::Catalog,
    ];

    /// The template of its path, for the log: a path holds an insured id.
    pub(crate) const fn template(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Description => "/openapi.yaml",
            Self::Appointments => "/appointments",
            Self::Person => "/appointments/{insuredId}",
            Self::Appointment => "/appointments/{insuredId}/{appointmentId}",
            Self::Moves => "/appointments/{insuredId}/{appointmentId}/move",
            Self::Slots => "/slots",
            Self::Slot => "/slots/{countryISO}/{scheduleId}",
            Self::Catalog => "/catalog/{countryISO}",
        }
    }

    /// The methods that it knows, as the header `Allow` lists them.
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Health | Self::Description | Self::Person | Self::Slots | Self::Slot | Self::Catalog => {
                "GET, HEAD, OPTIONS"
            }
            Self::Appointments | Self::Moves => "POST, OPTIONS",
            Self::Appointment => "GET, HEAD, DELETE, OPTIONS",
        }
    }

    /// Finds what a path names.
    pub(crate) fn find(path: &str) -> Option<(Self, Identifiers<'_>)> {
        let none = Identifiers::default();
        let mut segments = path.strip_prefix('/')?.split('/');
        let (first, second, third, fourth) = (segments.next()?, segments.next(), segments.next(), segments.next());
        if segments.next().is_some() || [second, third, fourth].contains(&Some("")) {
            return None;
        }
        match (first, second, third, fourth) {
            ("health", None, ..) => Some((Self::Health, none)),
            ("openapi.yaml", None, ..) => Some((Self::Description, none)),
            ("slots", None, ..) => Some((Self::Slots, none)),
            ("slots", Some(country), Some(schedule), None) => {
                Some((Self::Slot, Identifiers { country, schedule, ..none }))
            }
            ("catalog", Some(country), None, _) => Some((Self::Catalog, Identifiers { country, ..none })),
            ("appointments" | "appointment", None, ..) => Some((Self::Appointments, none)),
            ("appointments" | "appointment", Some(insured), None, _) => {
                Some((Self::Person, Identifiers { insured, ..none }))
            }
            ("appointments" | "appointment", Some(insured), Some(appointment), None) => {
                Some((Self::Appointment, Identifiers { insured, appointment, ..none }))
            }
            ("appointments" | "appointment", Some(insured), Some(appointment), Some("move")) => {
                Some((Self::Moves, Identifiers { insured, appointment, ..none }))
            }
            _ => None,
        }
    }

    /// What a method asks of it.
    ///
    /// # Errors
    ///
    /// 405 for a method that it does not know, 400 that names every identifier that does not have its form.
    pub(crate) fn route(self, method: &Method, identifiers: Identifiers<'_>) -> Result<Route, Problem> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        match self {
            _ if *method == Method::OPTIONS => Ok(Route::Options(self)),
            Self::Health if reads => Ok(Route::Health),
            Self::Description if reads => Ok(Route::Describe),
            Self::Appointments if *method == Method::POST => Ok(Route::Book),
            Self::Person if reads => identifiers.insured().map(Route::List).map_err(|fault| invalid(vec![fault])),
            Self::Appointment if reads => both(identifiers.insured(), identifiers.appointment(), Route::Read),
            Self::Appointment if *method == Method::DELETE => {
                both(identifiers.insured(), identifiers.appointment(), Route::Cancel)
            }
            Self::Moves if *method == Method::POST => {
                both(identifiers.insured(), identifiers.appointment(), Route::Move)
            }
            Self::Slots if reads => Ok(Route::FreeSlots),
            Self::Slot if reads => both(identifiers.country(), identifiers.schedule(), Route::ReadSlot),
            Self::Catalog if reads => {
                identifiers.country().map(Route::ReadCatalog).map_err(|fault| invalid(vec![fault]))
            }
            _ => Err(Problem::method_not_allowed(self.allow())),
        }
    }
}

impl Identifiers<'_> {
    fn insured(self) -> Result<InsuredId, FieldError> {
        self.insured.parse().map_err(|_| fault("insuredId", FieldErrorCode::InvalidFormat))
    }

    fn appointment(self) -> Result<AppointmentId, FieldError> {
        self.appointment.parse().map_err(|_| fault("appointmentId", FieldErrorCode::InvalidFormat))
    }

    fn country(self) -> Result<Country, FieldError> {
        self.country.parse().map_err(|_| fault("countryISO", FieldErrorCode::UnsupportedValue))
    }

    /// In its one form: a slot has one path.
    fn schedule(self) -> Result<ScheduleId, FieldError> {
        let number = self.schedule.bytes().all(|byte| byte.is_ascii_digit()) && !self.schedule.starts_with('0');
        if !number && self.schedule != "0" {
            return Err(fault("scheduleId", FieldErrorCode::InvalidType));
        }
        let id = self.schedule.parse::<u64>().ok().and_then(|number| number.try_into().ok());
        id.ok_or_else(|| fault("scheduleId", FieldErrorCode::OutOfRange))
    }
}

/// The route of two identifiers, or the faults of both.
fn both<First, Second>(
    first: Result<First, FieldError>,
    second: Result<Second, FieldError>,
    route: impl FnOnce(First, Second) -> Route,
) -> Result<Route, Problem> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok(route(first, second)),
        (first, second) => Err(invalid(first.err().into_iter().chain(second.err()).collect())),
    }
}

fn fault(field: &str, code: FieldErrorCode) -> FieldError {
    FieldError { field: field.to_owned(), code }
}

fn invalid(faults: Vec<FieldError>) -> Problem {
    Problem::new(ProblemCode::InvalidParameter).with_errors(faults)
}
