use crate::Language;

/// What an appointment's status means for the person, who reads it on a screen.
///
/// It takes the texts of the status and of the reason, so a value of a later version has a text too.
#[must_use]
pub fn status_text(status: &str, reason: Option<&str>, language: Language) -> &'static str {
    let (spanish, chilean, english) = match (status, reason) {
        ("pending", _) => {
            ("Estamos procesando su cita.", "Estamos procesando su hora.", "We are processing your appointment.")
        }
        ("completed", _) => ("Su cita está confirmada.", "Su hora está confirmada.", "Your appointment is confirmed."),
        ("rejected", Some("slot_taken")) => (
            "Otra persona ya reservó este horario. Por favor, elija otro.",
            "Otra persona ya tomó esta hora. Por favor, elija otra.",
            "Someone else has already booked this time. Please choose another one.",
        ),
        ("rejected", Some("already_booked")) => (
            "Usted ya tiene reservado este horario.",
            "Usted ya tiene tomada esta hora.",
            "You have already booked this time.",
        ),
        ("rejected", Some("not_processed")) => (
            "No pudimos procesar su solicitud a tiempo y la cita no quedó reservada. Por favor, solicítela de nuevo.",
            "No pudimos procesar su solicitud a tiempo y la hora no quedó tomada. Por favor, solicítela de nuevo.",
            "We could not process your request in time, and the appointment was not booked. Please request it again.",
        ),
        ("rejected", Some("slot_unknown")) => (
            "Este horario no existe. Por favor, elija uno de los horarios disponibles.",
            "Esta hora no existe. Por favor, elija una de las horas disponibles.",
            "There is no such time. Please choose one of the available times.",
        ),
        ("rejected", Some("slot_past")) => (
            "Este horario ya comenzó. Por favor, elija uno posterior.",
            "Esta hora ya comenzó. Por favor, elija una posterior.",
            "This time has already begun. Please choose a later one.",
        ),
        ("rejected", Some("slot_withdrawn")) => (
            "El centro ya no ofrece este horario. Por favor, elija otro.",
            "El centro ya no ofrece esta hora. Por favor, elija otra.",
            "The center no longer offers this time. Please choose another one.",
        ),
        ("rejected", Some("too_many_open")) => (
            "Usted ya tiene el máximo de citas pendientes. Cancele una para poder reservar otra.",
            "Usted ya tiene el máximo de horas pendientes. Anule una para poder tomar otra.",
            "You already have the most upcoming appointments that are allowed. Cancel one to book another.",
        ),
        ("rejected", Some("original_not_booked")) => (
            "La cita que quería reprogramar ya no está reservada, por lo que no se reservó el nuevo horario.",
            "La hora que quería reagendar ya no está tomada, por lo que no se tomó la nueva.",
            "The appointment that you wanted to move is no longer booked, so the new time was not booked.",
        ),
        ("rejected", Some("already_started")) => (
            "La cita que quería reprogramar ya comenzó, por lo que no se reservó el nuevo horario.",
            "La hora que quería reagendar ya comenzó, por lo que no se tomó la nueva.",
            "The appointment that you wanted to move has already begun, so the new time was not booked.",
        ),
        ("rejected", _) => (
            "No pudimos reservar esta cita. Por favor, elija otro horario.",
            "No pudimos tomar esta hora. Por favor, elija otra.",
            "We could not book this appointment. Please choose another time.",
        ),
        ("failed", Some("not_processed")) => (
            "Su cita está demorando más de lo habitual y todavía no está confirmada. Vuelva a consultarla más tarde.",
            "Su hora está demorando más de lo habitual y todavía no está confirmada. Vuelva a consultarla más tarde.",
            "Your appointment is taking longer than usual and is not confirmed yet. Please check again later.",
        ),
        ("failed", _) => (
            "Tuvimos un problema técnico y su cita todavía no está confirmada. Vuelva a consultarla más tarde.",
            "Tuvimos un problema técnico y su hora todavía no está confirmada. Vuelva a consultarla más tarde.",
            "We had a technical problem, and your appointment is not confirmed yet. Please check again later.",
        ),
        ("cancelling", _) => {
            ("Estamos cancelando su cita.", "Estamos anulando su hora.", "We are cancelling your appointment.")
        }
        ("cancelled", Some("moved")) => (
            "Su cita fue reprogramada: la reemplaza otra de su lista.",
            "Su hora fue reagendada: la reemplaza otra de su lista.",
            "Your appointment has been moved: another one in your list takes its place.",
        ),
        ("cancelled", Some("slot_withdrawn")) => (
            "El centro retiró este horario y su cita fue cancelada. Por favor, elija otro horario.",
            "El centro retiró esta hora y quedó anulada. Por favor, elija otra.",
            "The center withdrew this time, and your appointment has been cancelled. Please choose another time.",
        ),
        ("cancelled", _) => ("Su cita fue cancelada.", "Su hora fue anulada.", "Your appointment has been cancelled."),
        _ => (
            "El estado de su cita cambió. Vuelva a consultarla más tarde.",
            "El estado de su hora cambió. Vuelva a consultarla más tarde.",
            "The status of your appointment has changed. Please check again later.",
        ),
    };
    match language {
        Language::Spanish => spanish,
        Language::ChileanSpanish => chilean,
        Language::English => english,
    }
}
