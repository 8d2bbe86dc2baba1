// What the page says, in Spanish (as in Peru and in Chile) and English, and how it writes dates. What the API says it says itself.

const spanish = {
  name: "Español (Perú)",
  title: "Citas médicas",
  skip: "Ir al contenido",
  language: "Idioma",
  sections: "Secciones",
  book: "Reservar",
  mine: "Mis citas",
  loading: "Cargando…",

  person: "¿Para quién es la cita?",
  insuredId: "Código de asegurado",
  insuredIdHint: "Son cinco dígitos; están en su credencial.",
  insuredIdWrong: "Escriba los cinco dígitos de su código de asegurado.",
  proceed: "Continuar",
  insured: (id) => `Asegurado ${id}`,
  changePerson: "Cambiar de asegurado",

  signIn: "Inicie sesión",
  signInWhy: "Para reservar y ver sus citas necesitamos saber quién es usted.",
  signInButton: "Iniciar sesión",
  signInAgain: "Su sesión terminó. Inicie sesión de nuevo para continuar.",
  signInFailed: "No se pudo iniciar sesión. Inténtelo de nuevo.",
  signOut: "Cerrar sesión",
  token: "Token de acceso",
  tokenHint: "En una instalación local lo escribe «cargo xtask token». Se guarda solo en la memoria de esta pestaña.",
  tokenWrong: "Pegue el token completo: tres partes separadas por puntos.",

  choose: "Reserve su cita",
  chooseMove: "Elija el nuevo horario",
  moving: (when) => `Va a reprogramar su cita del ${when}. Hasta que se confirme el nuevo horario conserva el actual.`,
  keepIt: "Conservar el horario actual",
  country: "País",
  specialty: "Especialidad",
  center: "Centro",
  anyCenter: "Cualquier centro",
  day: "Día",
  pick: "Elija…",
  noCatalog: "Este país no publica horarios en línea. Comuníquese con su centro médico.",
  times: (day) => `Horarios libres del ${day}`,
  local: (zone) => `Hora local del centro médico (UTC${zone}).`,
  free: (count) => (count === 1 ? "1 horario libre" : `${count} horarios libres`),
  noneFree: "No hay horarios libres. Pruebe con otro centro u otra especialidad.",
  moreDays: "Ver más días",
  reserve: "Reservar este horario",
  move: "Reprogramar a este horario",
  chooseTime: "Elija un horario.",

  booking: "Reservando su cita…",
  movingNow: "Reprogramando su cita…",
  canLeave: "Puede cerrar esta página: el resultado aparecerá en su lista.",
  booked: "Su cita está confirmada",
  moved: "Su cita fue reprogramada",
  notBooked: "No se pudo reservar este horario",
  unfinished: "Todavía no sabemos si quedó reservado",
  otherOutcome: "Así está su cita",
  nextFree: "Estos son los próximos horarios libres",
  calendar: "Agregar al calendario (.ics)",
  another: "Reservar otra cita",
  toList: "Ver mis citas",
  again: "Intentar de nuevo",
  forget: "Dejar de intentarlo",
  onceOnly: "Su solicitud pudo haberse registrado. Al intentarlo de nuevo no se reservará dos veces.",
  when: "Fecha y hora",
  practitioner: "Profesional",

  list: "Mis citas",
  none: "Todavía no tiene citas.",
  more: "Ver más citas",
  refreshed: "La lista está al día.",
  number: (id) => `Horario n.º ${id}`,
  status: {
    pending: "En proceso",
    completed: "Confirmada",
    rejected: "No reservada",
    failed: "Demorada",
    cancelling: "Cancelándose",
    cancelled: "Cancelada",
  },
  statusMoved: "Reprogramada",
  statusOther: "Otro estado",
  reschedule: "Reprogramar",
  cancel: "Cancelar",
  cancelQuestion: "¿Cancelar esta cita?",
  cancelWhy: (when) => `La cita del ${when} quedará libre para otra persona.`,
  cancelYes: "Sí, cancelar la cita",
  cancelNo: "No, conservarla",
  ofAppointment: (action, when) => `${action}: ${when}`,

  at: (day, time) => `${day}, ${time}`,
  offline: "No hay conexión",
  offlineDo: "Revise su conexión a Internet. Seguiremos cuando vuelva, o inténtelo usted de nuevo.",
  busy: "El servicio está ocupado",
  busyDo: (seconds) => `Espere ${seconds === 1 ? "un segundo" : `${seconds} segundos`} e inténtelo de nuevo.`,
  busyRetry: (seconds) => `El servicio está ocupado. Lo intentaremos de nuevo en ${seconds} s.`,
  tooMany: "Demasiadas solicitudes",
  unexpected: "Algo salió mal",
  unexpectedDo: "Inténtelo de nuevo. Si vuelve a ocurrir, comuníquese con soporte.",
};

// In Chile one books «una hora médica».
const chilean = {
  ...spanish,
  name: "Español (Chile)",
  title: "Horas médicas",
  mine: "Mis horas",
  person: "¿Para quién es la hora médica?",
  signInWhy: "Para tomar y ver sus horas médicas necesitamos saber quién es usted.",
  choose: "Tome su hora médica",
  moving: (when) => `Va a reagendar su hora del ${when}. Hasta que se confirme la nueva conserva la actual.`,
  chooseMove: "Elija la nueva hora",
  keepIt: "Conservar la hora actual",
  times: (day) => `Horas disponibles del ${day}`,
  free: (count) => (count === 1 ? "1 hora disponible" : `${count} horas disponibles`),
  noCatalog: "Este país no publica horas en línea. Comuníquese con su centro médico.",
  noneFree: "No hay horas disponibles. Pruebe con otro centro u otra especialidad.",
  reserve: "Tomar esta hora",
  move: "Reagendar a esta hora",
  chooseTime: "Elija una hora.",
  booking: "Tomando su hora…",
  movingNow: "Reagendando su hora…",
  booked: "Su hora está confirmada",
  moved: "Su hora fue reagendada",
  notBooked: "No se pudo tomar esta hora",
  unfinished: "Todavía no sabemos si quedó tomada",
  otherOutcome: "Así está su hora",
  nextFree: "Estas son las próximas horas disponibles",
  another: "Tomar otra hora",
  toList: "Ver mis horas",
  list: "Mis horas",
  none: "Todavía no tiene horas tomadas.",
  more: "Ver más horas",
  number: (id) => `Hora n.º ${id}`,
  reschedule: "Reagendar",
  cancel: "Anular",
  status: { ...spanish.status, cancelling: "Anulándose", cancelled: "Anulada" },
  statusMoved: "Reagendada",
  cancelQuestion: "¿Anular esta hora?",
  cancelWhy: (when) => `La hora del ${when} quedará disponible para otra persona.`,
  cancelYes: "Sí, anular la hora",
  cancelNo: "No, conservarla",
};

const english = {
  name: "English",
  title: "Medical appointments",
  skip: "Skip to the content",
  language: "Language",
  sections: "Sections",
  book: "Book",
  mine: "My appointments",
  loading: "Loading…",

  person: "Who is the appointment for?",
  insuredId: "Insured person's code",
  insuredIdHint: "Five digits, as on your card.",
  insuredIdWrong: "Enter the five digits of the insured person's code.",
  proceed: "Continue",
  insured: (id) => `Insured person ${id}`,
  changePerson: "Change person",

  signIn: "Sign in",
  signInWhy: "To book and to see your appointments we need to know who you are.",
  signInButton: "Sign in",
  signInAgain: "Your session has ended. Sign in again to go on.",
  signInFailed: "Signing in did not work. Try again.",
  signOut: "Sign out",
  token: "Access token",
  tokenHint: "On a local installation, `cargo xtask token` prints it. It is kept in this tab's memory alone.",
  tokenWrong: "Paste the whole token: three parts with full stops between them.",

  choose: "Book an appointment",
  chooseMove: "Choose the new time",
  moving: (when) => `You are moving your appointment of ${when}. You keep it until the new time is confirmed.`,
  keepIt: "Keep the present time",
  country: "Country",
  specialty: "Specialty",
  center: "Center",
  anyCenter: "Any center",
  day: "Day",
  pick: "Choose…",
  noCatalog: "This country does not publish its times online. Contact your medical center.",
  times: (day) => `Free times on ${day}`,
  local: (zone) => `The medical center's local time (UTC${zone}).`,
  free: (count) => (count === 1 ? "1 free time" : `${count} free times`),
  noneFree: "Nothing is free. Try another center or another specialty.",
  moreDays: "Show more days",
  reserve: "Book this time",
  move: "Move to this time",
  chooseTime: "Choose a time.",

  booking: "Booking your appointment…",
  movingNow: "Moving your appointment…",
  canLeave: "You may close this page: your list will show the outcome.",
  booked: "Your appointment is confirmed",
  moved: "Your appointment has been moved",
  notBooked: "This time could not be booked",
  unfinished: "We do not know yet whether it was booked",
  otherOutcome: "This is how your appointment is",
  nextFree: "These times are the next free ones",
  calendar: "Add to calendar (.ics)",
  another: "Book another appointment",
  toList: "See my appointments",
  again: "Try again",
  forget: "Stop trying",
  onceOnly: "Your request may have been recorded. Trying again does not book twice.",
  when: "Date and time",
  practitioner: "Practitioner",

  list: "My appointments",
  none: "You have no appointments yet.",
  more: "Show more appointments",
  refreshed: "The list is up to date.",
  number: (id) => `Slot no. ${id}`,
  status: {
    pending: "In progress",
    completed: "Confirmed",
    rejected: "Not booked",
    failed: "Delayed",
    cancelling: "Being cancelled",
    cancelled: "Cancelled",
  },
  statusMoved: "Moved",
  statusOther: "Another status",
  reschedule: "Move",
  cancel: "Cancel",
  cancelQuestion: "Cancel this appointment?",
  cancelWhy: (when) => `The appointment of ${when} will be free for somebody else.`,
  cancelYes: "Yes, cancel it",
  cancelNo: "No, keep it",
  ofAppointment: (action, when) => `${action}: ${when}`,

  at: (day, time) => `${day}, ${time}`,
  offline: "There is no connection",
  offlineDo: "Check your connection to the Internet. We go on when it is back, or try again yourself.",
  busy: "The service is busy",
  busyDo: (seconds) => `Wait ${seconds === 1 ? "a second" : `${seconds} seconds`} and try again.`,
  busyRetry: (seconds) => `The service is busy. We try again in ${seconds} s.`,
  tooMany: "Too many requests",
  unexpected: "Something went wrong",
  unexpectedDo: "Try again. If it happens again, contact support.",
};

/** The texts of each language, by its tag. */
export const TEXTS = { "es-PE": spanish, "es-CL": chilean, en: english };
const STORE = "language";

/** The languages, by tag. */
export const languages = Object.keys(TEXTS).map((tag) => [tag, TEXTS[tag].name]);

/** The tag of the language that is shown. */
export let language = initial();

/** A text of the present language; one that depends on something gets it. */
export function t(key, ...values) {
  const text = TEXTS[language][key];
  return typeof text === "function" ? text(...values) : text;
}

/** The word for an appointment's status; also for one of a later version of the API. */
export function statusText({ status, reason }) {
  if (status === "cancelled" && reason === "moved") return t("statusMoved");
  return t("status")[status] ?? t("statusOther");
}

export function speak(tag) {
  language = TEXTS[tag] ? tag : "es-PE";
  sessionStorage.setItem(STORE, language);
}

/** What was chosen in this tab, else the first of the browser's languages that the page knows. */
function initial() {
  const chosen = sessionStorage.getItem(STORE);
  if (TEXTS[chosen]) return chosen;
  for (const tag of navigator.languages) {
    if (tag === "es-CL") return tag;
    if (tag.startsWith("es")) return "es-PE";
    if (tag.startsWith("en")) return "en";
  }
  return "es-PE";
}

/** The country's name. */
export function countryName(code) {
  return new Intl.DisplayNames([language], { type: "region" }).of(code) ?? code;
}

/** A local time as `2026-11-25T09:00:00-05:00` writes it, as an instant of UTC: the browser's own time zone never matters. */
function asWritten(start) {
  return new Date(`${start.slice(0, 16)}Z`);
}

/** The day of a local time, in words. */
export function dayText(start) {
  const format = { weekday: "long", day: "numeric", month: "long", timeZone: "UTC" };
  return new Intl.DateTimeFormat(language, format).format(asWritten(`${start.slice(0, 10)}T00:00`));
}

/** The hour of a local time. */
export function timeText(start) {
  return new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit", timeZone: "UTC" }).format(asWritten(start));
}

/** The offset of a slot's local time, with a minus sign as people write it. */
export const zoneText = (slot) => slot.utcOffset.replace("-", "−");

/** Day and hour of a slot, or its number where nothing more is known. */
export function whenText(slot, scheduleId) {
  return slot ? t("at", dayText(slot.start), timeText(slot.start)) : t("number", scheduleId);
}
