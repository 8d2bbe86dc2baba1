// An appointment as a file for the calendar (RFC 5545).

const ENCODER = new TextEncoder();

/** The text of an `.ics` file. `now` is a `Date`, and `summary` what the calendar shows. */
export function calendarText(appointment, summary, now) {
  const { slot } = appointment;
  const lines = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//medical-appointments//booking-page//ES",
    "CALSCALE:GREGORIAN",
    "METHOD:PUBLISH",
    "BEGIN:VEVENT",
    `UID:${appointment.appointmentId}@${location.hostname}`,
    `DTSTAMP:${instant(now.toISOString())}`,
    `DTSTART:${instant(slot.startsAt)}`,
    `DTEND:${instant(slot.endsAt)}`,
    `SUMMARY:${escaped(summary)}`,
    `LOCATION:${escaped(slot.center)}`,
    `DESCRIPTION:${escaped(`${slot.specialty}\n${slot.practitioner}`)}`,
    "STATUS:CONFIRMED",
    "END:VEVENT",
    "END:VCALENDAR",
  ];
  return lines.map((line) => `${folded(line)}\r\n`).join("");
}

/** `2026-11-25T14:00:00.000Z` as `20261125T140000Z` (section 3.3.5, form 2). */
function instant(text) {
  return `${text.slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}

/** Section 3.3.11. */
function escaped(text) {
  return text.replaceAll(/[\\;,]/g, (character) => `\\${character}`).replaceAll("\n", "\\n");
}

/** Lines of at most 75 octets, none of which ends within a character (section 3.1). */
function folded(line) {
  let result = "";
  let octets = 0;
  for (const character of line) {
    const length = ENCODER.encode(character).length;
    if (octets + length > 75) {
      result += "\r\n ";
      octets = 1;
    }
    result += character;
    octets += length;
  }
  return result;
}
