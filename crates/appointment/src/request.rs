use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::VariantArray;

use crate::{Appointment, AppointmentId, Country, InsuredId, ScheduleId, Timestamp};

/// A person's request for a slot: the body of `POST /appointments`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppointmentRequest {
    /// Who asks.
    pub insured_id: InsuredId,
    /// For which slot.
    pub schedule_id: ScheduleId,
    /// In which country.
    pub country: Country,
}

/// A person's request for another slot in place of the one of an appointment: the body of `POST …/move`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveRequest {
    /// The slot that is asked for.
    pub schedule_id: ScheduleId,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, VariantArray)]
#[serde(rename_all = "snake_case")]
pub enum FieldErrorCode {
    /// The field is missing.
    Required,
    /// The value is of another JSON type.
    InvalidType,
    /// The text does not have the form that is asked for.
    InvalidFormat,
    /// The number lies outside of its range.
    OutOfRange,
    /// The text is not one of the values to choose from.
    UnsupportedValue,
    /// There is no such field.
    UnknownField,
    /// The field is there more than once.
    DuplicateField,
}

impl FieldErrorCode {
    /// Every code.
    pub const ALL: &[Self] = Self::VARIANTS;
}

/// One fault of a request: which field of its body or which parameter, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The name of the field as the request writes it; of an unknown one at most the first 64 characters.
    pub field: String,
    /// What is wrong.
    pub code: FieldErrorCode,
}

/// Why a body is not a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidRequest {
    /// The body is empty.
    Empty,
    /// The body is not JSON; where the text stops making sense, counted from 1.
    NotJson {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// The body is JSON, but not an object.
    NotAnObject,
    /// The body is an object with these faults, in the order of the body, missing fields last.
    Fields(Vec<FieldError>),
}

impl AppointmentRequest {
    /// Reads a body and reports all of its faults at once.
    ///
    /// # Errors
    ///
    /// See [`InvalidRequest`].
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidRequest> {
        let (mut insured_id, mut schedule_id, mut country) = (None, None, None);
        let mut faults = faults_of_fields(body, |name, value| match name {
            "insuredId" => assign(&mut insured_id, text_from(value, FieldErrorCode::InvalidFormat)),
            "scheduleId" => assign(&mut schedule_id, schedule_id_from(value)),
            "countryISO" => assign(&mut country, text_from(value, FieldErrorCode::UnsupportedValue)),
            _ => Some(FieldErrorCode::UnknownField),
        })?;
        require(&mut faults, "insuredId", insured_id.is_some());
        require(&mut faults, "scheduleId", schedule_id.is_some());
        require(&mut faults, "countryISO", country.is_some());
        match (insured_id, schedule_id, country) {
            (Some(Some(insured_id)), Some(Some(schedule_id)), Some(Some(country))) if faults.is_empty() => {
                Ok(Self { insured_id, schedule_id, country })
            }
            _ => Err(InvalidRequest::Fields(faults)),
        }
    }

    /// The appointment that is asked for at an instant.
    #[must_use]
    pub fn into_appointment(self, appointment_id: AppointmentId, at: Timestamp) -> Appointment {
        Appointment::requested(appointment_id, self.insured_id, self.schedule_id, self.country, at)
    }
}

impl MoveRequest {
    /// Reads a body and reports all of its faults at once.
    ///
    /// # Errors
    ///
    /// See [`InvalidRequest`].
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidRequest> {
        let mut schedule_id = None;
        let mut faults = faults_of_fields(body, |name, value| match name {
            "scheduleId" => assign(&mut schedule_id, schedule_id_from(value)),
            _ => Some(FieldErrorCode::UnknownField),
        })?;
        require(&mut faults, "scheduleId", schedule_id.is_some());
        match schedule_id {
            Some(Some(schedule_id)) if faults.is_empty() => Ok(Self { schedule_id }),
            _ => Err(InvalidRequest::Fields(faults)),
        }
    }
}

/// Hands each field of a JSON object to `take`, which says what is wrong with it, in the order of the body.
fn faults_of_fields(
    body: &[u8],
    mut take: impl FnMut(&str, &Value) -> Option<FieldErrorCode>,
) -> Result<Vec<FieldError>, InvalidRequest> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(InvalidRequest::Empty);
    }
    let fields = match serde_json::from_slice::<Fields>(body) {
        Ok(fields) => fields.0,
        Err(error) if error.is_data() => return Err(InvalidRequest::NotAnObject),
        Err(error) => return Err(InvalidRequest::NotJson { line: error.line(), column: error.column() }),
    };
    let faults = fields.into_iter().filter_map(|(name, value)| {
        let code = take(&name, &value)?;
        Some(FieldError { field: name.chars().take(64).collect(), code })
    });
    Ok(faults.collect())
}

fn require(faults: &mut Vec<FieldError>, field: &str, is_there: bool) {
    if !is_there {
        faults.push(FieldError { field: field.to_owned(), code: FieldErrorCode::Required });
    }
}

/// Keeps the value of a field (`Some(None)` if it is there but invalid) and says what is wrong with it.
fn assign<T>(slot: &mut Option<Option<T>>, value: Result<T, FieldErrorCode>) -> Option<FieldErrorCode> {
    if slot.is_some() {
        return Some(FieldErrorCode::DuplicateField);
    }
    match value {
        Ok(value) => {
            *slot = Some(Some(value));
            None
        }
        Err(code) => {
            *slot = Some(None);
            Some(code)
        }
    }
}

/// The value that a text means; `otherwise` says what is wrong where it means none.
fn text_from<T: FromStr>(value: &Value, otherwise: FieldErrorCode) -> Result<T, FieldErrorCode> {
    value.as_str().ok_or(FieldErrorCode::InvalidType)?.parse().map_err(|_| otherwise)
}

fn schedule_id_from(value: &Value) -> Result<ScheduleId, FieldErrorCode> {
    let Value::Number(number) = value else { return Err(FieldErrorCode::InvalidType) };
    if let Some(number) = number.as_u64() {
        return ScheduleId::try_from(number).map_err(|_| FieldErrorCode::OutOfRange);
    }
    match number.as_f64() {
        // JSON Schema, and so OpenAPI, counts 100.0 as an integer. The range is checked first: within it `f64` is exact.
        Some(float) if float.fract() == 0.0 && (1.0..=9_007_199_254_740_991.0).contains(&float) =>
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and checked to fit")]
            ScheduleId::try_from(float as u64).map_err(|_| FieldErrorCode::OutOfRange)
        }
        Some(float) if float.fract() == 0.0 => Err(FieldErrorCode::OutOfRange),
        _ => Err(FieldErrorCode::InvalidType),
    }
}

/// The fields of a JSON object in their order, repeated names included (a map would drop all but the last).
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}
