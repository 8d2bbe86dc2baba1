use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The code of an insured person: exactly five ASCII digits, leading zeros kept (`00123`).
///
/// It is personal data: `Debug` does not show it, and there is no `Display` by which it could slip into a log line. Ask
/// for it with [`InsuredId::as_str`] where it belongs: keys, messages and responses to the person.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InsuredId([u8; 5]);

/// The text is not five ASCII digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an insured id is exactly five digits, for example 00123")]
pub struct InvalidInsuredId;

impl InsuredId {
    /// The five digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII digits are ever stored, so the fallback cannot be reached.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for InsuredId {
    type Err = InvalidInsuredId;

    fn from_str(text: &str) -> Result<Self, InvalidInsuredId> {
        match <[u8; 5]>::try_from(text.as_bytes()) {
            Ok(digits) if digits.iter().all(u8::is_ascii_digit) => Ok(Self(digits)),
            _ => Err(InvalidInsuredId),
        }
    }
}

impl TryFrom<String> for InsuredId {
    type Error = InvalidInsuredId;

    fn try_from(text: String) -> Result<Self, InvalidInsuredId> {
        text.parse()
    }
}

impl From<InsuredId> for String {
    fn from(id: InsuredId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Debug for InsuredId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InsuredId(*****)")
    }
}

/// The slot in a clinic's schedule that an appointment asks for: an integer from 1 to 2^53 - 1.
///
/// The upper bound is the largest integer that every JSON implementation keeps exactly (RFC 8259, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ScheduleId(u64);

/// The number is not from 1 to 2^53 - 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a schedule id is an integer from 1 to 9007199254740991")]
pub struct InvalidScheduleId;

impl ScheduleId {
    /// The largest schedule id, 2^53 - 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as PostgreSQL's `bigint`, which holds every schedule id.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }
}

impl TryFrom<u64> for ScheduleId {
    type Error = InvalidScheduleId;

    fn try_from(number: u64) -> Result<Self, InvalidScheduleId> {
        if (1..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(InvalidScheduleId) }
    }
}

impl From<ScheduleId> for u64 {
    fn from(id: ScheduleId) -> Self {
        id.0
    }
}

impl fmt::Display for ScheduleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// The identity of an appointment: a UUID version 7 (RFC 9562, section 5.7), so ids sort by the time of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Uuid", into = "Uuid")]
pub struct AppointmentId(Uuid);

/// The text is not a UUID of version 7 in its hyphenated form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an appointment id is a UUID of version 7, for example 01890f3e-6b7c-7cc2-98c4-dc0c0c07398f")]
pub struct InvalidAppointmentId;

impl AppointmentId {
    /// The lower-case hyphenated form has this many characters.
    pub const LENGTH: usize = 36;

    /// Makes a new id from the instant of the request and ten random bytes (74 bits of them are used).
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let milliseconds = u64::try_from(now.unix_milliseconds()).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// An id for something that happens to this appointment at most once: the same name always gives the same id, so
    /// that a resend is recognisable. A UUID version 5 (RFC 9562, section 5.5) in the namespace of the appointment.
    #[must_use]
    pub fn derive(self, name: &str) -> Uuid {
        Uuid::new_v5(&self.0, name.as_bytes())
    }
}

impl TryFrom<Uuid> for AppointmentId {
    type Error = InvalidAppointmentId;

    fn try_from(uuid: Uuid) -> Result<Self, InvalidAppointmentId> {
        if uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122 {
            Ok(Self(uuid))
        } else {
            Err(InvalidAppointmentId)
        }
    }
}

impl From<AppointmentId> for Uuid {
    fn from(id: AppointmentId) -> Self {
        id.0
    }
}

impl FromStr for AppointmentId {
    type Err = InvalidAppointmentId;

    /// Takes only the lower-case hyphenated form: one appointment has one path.
    fn from_str(text: &str) -> Result<Self, InvalidAppointmentId> {
        if text.len() != Self::LENGTH || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidAppointmentId);
        }
        Uuid::try_parse(text).map_err(|_| InvalidAppointmentId)?.try_into()
    }
}

impl fmt::Display for AppointmentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), formatter)
    }
}
