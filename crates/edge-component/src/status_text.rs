use crate::Language;

/// What an appointment's status means for the person, who reads it on a screen.
///
/// It takes the texts of the status and of the reason, so that a value of a later version has an answer too.
#[must_use]
pub fn status_text(status: &str, reason: Option<&str>, language: Language) -> &'static str {
    let (spanish, english) = match (status, reason) {
        ("pending", _) => ("Estamos procesando su cita.", "We are processing your appointment."),
        ("completed", _) => ("Su cita está confirmada.", "Your appointment is confirmed."),
        ("rejected", Some("slot_taken")) => (
            "Otra persona ya reservó este horario. Por favor, elija otro.",
            "Someone else has already booked this time. Please choose another one.",
        ),
        ("rejected", Some("already_booked")) => {
            ("Usted ya tiene reservado este horario.", "You have already booked this time.")
        }
        ("rejected", Some("not_processed")) => (
            "No pudimos procesar su solicitud a tiempo y la cita no quedó reservada. Por favor, solicítela de nuevo.",
            "We could not process your request in time, and the appointment was not booked. Please request it again.",
        ),
        ("rejected", _) => (
            "No pudimos reservar esta cita. Por favor, elija otro horario.",
            "We could not book this appointment. Please choose another time.",
        ),
        ("failed", Some("not_processed")) => (
            "Su cita está demorando más de lo habitual y todavía no está confirmada. Vuelva a consultarla más tarde.",
            "Your appointment is taking longer than usual and is not confirmed yet. Please check again later.",
        ),
        ("failed", _) => (
            "Tuvimos un problema técnico y su cita todavía no está confirmada. Vuelva a consultarla más tarde.",
            "We had a technical problem, and your appointment is not confirmed yet. Please check again later.",
        ),
        ("cancelling", _) => ("Estamos cancelando su cita.", "We are cancelling your appointment."),
        ("cancelled", _) => ("Su cita fue cancelada.", "Your appointment has been cancelled."),
        _ => (
            "El estado de su cita cambió. Vuelva a consultarla más tarde.",
            "The status of your appointment has changed. Please check again later.",
        ),
    };
    match language {
        Language::Spanish => spanish,
        Language::English => english,
    }
}
