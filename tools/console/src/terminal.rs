//! What the console shows, for a terminal of 80 columns.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use local_stack::observation::QueueState;
use operator::redrive::DeadLetter;
use textwrap::{Options, WordSeparator, WordSplitter};

use crate::history::{History, reason};
use crate::server::why;
use crate::spans::{Level, LogLine};
use crate::state::{Rows, State};

/// How wide every line is at most.
pub const WIDTH: usize = 80;

/// How many dead letters, given-up appointments and errors are shown each.
const SHOWN: usize = 5;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// By escape sequences.
    On,
    /// Plain text.
    Off,
}

impl Colour {
    /// For standard output: on where it is a terminal and `NO_COLOR` (<https://no-color.org>) is not set.
    #[must_use]
    pub fn of_output() -> Self {
        Self::of(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
    }

    /// For standard error, likewise.
    #[must_use]
    pub fn of_errors() -> Self {
        Self::of(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
    }

    const fn of(is_terminal: bool, unwanted: bool) -> Self {
        if is_terminal && !unwanted { Self::On } else { Self::Off }
    }

    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }

    pub(crate) fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What tells of something at this level.
    pub(crate) fn of_level(self, level: Level, text: &str) -> String {
        Self::code(level).map_or_else(|| text.to_owned(), |code| self.paint(code, text))
    }

    /// The colour of a level that asks for attention.
    pub(crate) const fn code(level: Level) -> Option<&'static str> {
        match level {
            Level::Error => Some("31"),
            Level::Warn => Some("33"),
            Level::Info | Level::Debug => None,
        }
    }
}

/// A number of things: `1 message`, `2 messages`.
#[must_use]
pub fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A time span by its greatest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// Where a stack is, and what its logs told of late: `cargo xtask status`.
#[must_use]
pub fn status(state: &State, history: &History, colour: Colour) -> String {
    let mut text = String::new();
    let sections = [
        queues(&state.messages.queues, colour),
        dead_letters(&state.messages.dead_letters, history, colour),
        given_up(state, colour),
        countries(state, colour),
        troubles(state, colour),
        errors(history, colour),
    ];
    for section in sections.into_iter().filter(|section| !section.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&section);
    }
    text
}

/// A log line of level WARN or ERROR with its reason, its trace and its appointment.
#[must_use]
pub fn log_line(line: &LogLine, colour: Colour) -> String {
    let time = line.timestamp.strftime("%H:%M:%S").to_string();
    let head = format!("{time} {} {}: ", line.level.as_str(), line.service);
    let mut text = wrapped(&format!("{head}{}", line.message), 4);
    if let Some(reason) = reason(line) {
        text += &wrapped(&format!("    {reason}"), 4);
    }
    let message_id = line.fields.get("message_id").and_then(|id| id.as_str());
    if let Some(trace) = &line.trace_id {
        text += &colour.dim(&format!("    trace {trace}"));
        text.push('\n');
    } else if let Some(message_id) = message_id {
        text += &colour.dim(&format!("    message {message_id}"));
        text.push('\n');
    }
    if let Some(appointment) = &line.appointment_id {
        text += &colour.dim(&format!("    appointment {appointment}"));
        text.push('\n');
    }
    // Coloured after it was wrapped: escape sequences have no width.
    text.replacen(line.level.as_str(), &colour.of_level(line.level, line.level.as_str()), 1)
}

fn queues(queues: &[QueueState], colour: Colour) -> String {
    let mut text =
        format!("{}\n", colour.heading(&format!("{:<30}{:>10}{:>12}{:>12}", "Queues", "waiting", "in work", "oldest")));
    for queue in queues {
        let oldest = queue.oldest_seconds.map_or_else(|| "-".to_owned(), age);
        let row = format!("{:<30}{:>10}{:>12}{oldest:>12}", queue.name, queue.visible, queue.hidden);
        let is_bad = queue.dead_letters && queue.visible + queue.hidden > 0;
        let _ = writeln!(text, "{}", if is_bad { colour.bad(&row) } else { row });
    }
    text
}

fn section(title: &str, count: usize, colour: Colour) -> String {
    let none = if count == 0 { "none".to_owned() } else { count.to_string() };
    format!("{}: {none}\n", colour.heading(title))
}

fn more(text: &mut String, count: usize, colour: Colour) {
    if count > SHOWN {
        let _ = writeln!(text, "  {}", colour.dim(&format!("and {} more", count - SHOWN)));
    }
}

fn dead_letters(letters: &[DeadLetter], history: &History, colour: Colour) -> String {
    let mut text = section("Dead letters", letters.len(), colour);
    for letter in letters.iter().take(SHOWN) {
        let kind = letter.kind.as_deref().unwrap_or("unreadable");
        let head = format!("  {} {kind}, sent {} ago", letter.queue, age(letter.age_seconds));
        text += &wrapped(&head, 4);
        if let Some(why) = why(letter, history) {
            text += &colour.bad(wrapped(&format!("    {why}"), 4).trim_end());
            text.push('\n');
        }
        if let Some(trace) = &letter.trace_id {
            let _ = writeln!(text, "    {}", colour.dim(&format!("trace {trace}")));
        }
    }
    more(&mut text, letters.len(), colour);
    text
}

fn given_up(state: &State, colour: Colour) -> String {
    let mut text = section("Given up", state.given_up.len(), colour);
    for given_up in state.given_up.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}  {}  {}", given_up.country, given_up.appointment_id, given_up.status);
        let _ = writeln!(text, "    {}", colour.dim(&format!("trace {}", given_up.trace_id)));
    }
    more(&mut text, state.given_up.len(), colour);
    text
}

fn countries(state: &State, colour: Colour) -> String {
    let mut text = format!("{}\n", colour.heading("Countries"));
    for (country, rows) in &state.countries {
        text += &match rows {
            Rows::Counted(counts) => {
                let list = |counts: &std::collections::BTreeMap<String, u64>| match counts.len() {
                    0 => "none".to_owned(),
                    _ => counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", "),
                };
                let (appointments, slots) = (list(&counts.appointments), list(&counts.slots));
                wrapped(&format!("  {country} appointments: {appointments}; slots: {slots}"), 6)
            }
            Rows::Unknown { error } => colour.bad(wrapped(&format!("  {country} {error}"), 6).trim_end()) + "\n",
        };
    }
    text
}

fn troubles(state: &State, colour: Colour) -> String {
    let mut text = String::new();
    for hop in state.hops.iter().filter(|hop| hop.broken) {
        let _ = writeln!(text, "{}", colour.bad(&format!("{} is broken on purpose: the console heals it", hop.hop)));
    }
    for problem in &state.problems {
        text += &colour.bad(wrapped(problem, 4).trim_end());
        text.push('\n');
    }
    text
}

fn errors(history: &History, colour: Colour) -> String {
    let errors: Vec<&LogLine> = history.errors().filter(|line| line.level == Level::Error).collect();
    let mut text = section("Errors", errors.len(), colour);
    for line in errors.iter().take(SHOWN) {
        text += &log_line(line, colour);
    }
    more(&mut text, errors.len(), colour);
    text
}

/// The text in lines of at most [`WIDTH`] columns, each with its end; all but the first are indented. A word that is longer
/// than a line is cut.
fn wrapped(text: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    textwrap::fill(text, options(&indent)) + "\n"
}

/// An error of one line or several, in lines of at most [`WIDTH`] columns, each with its end. A longer word is a path or an
/// address, which stays whole to be copied.
#[must_use]
pub fn error(text: &str) -> String {
    text.lines().map(|line| textwrap::fill(line, options("  ").break_words(false)) + "\n").collect()
}

/// Lines end between words alone: within one, as in `--no-console`, a hyphen is part of it.
fn options(indent: &str) -> Options<'_> {
    Options::new(WIDTH)
        .subsequent_indent(indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use local_stack::fault::HopState;
    use local_stack::observation::{Counts, Messages};

    use super::*;
    use crate::state::Unanswered;

    const TRACE: &str = "f44af53fcfacf9aa38d2748c17b35542";

    fn queue(name: &str, visible: u64, oldest_seconds: Option<u64>) -> QueueState {
        let dead_letters = name.ends_with("_DLQ");
        QueueState { name: name.to_owned(), dead_letters, visible, hidden: 0, oldest_seconds }
    }

    fn state() -> State {
        let letter = DeadLetter {
            queue: "SQS_PE_DLQ".to_owned(),
            back_to: "SQS_PE".to_owned(),
            message_id: "m1".to_owned(),
            age_seconds: 75,
            body: "poison".to_owned(),
            appointment_id: None,
            trace_id: None,
            kind: None,
        };
        let queues = vec![queue("SQS_PE", 0, None), queue("SQS_PE_DLQ", 1, Some(75))];
        let counts = Counts {
            appointments: BTreeMap::from([("booked".to_owned(), 3), ("rejected".to_owned(), 1)]),
            slots: BTreeMap::new(),
        };
        State {
            messages: Messages { queues, dead_letters: vec![letter] },
            given_up: vec![Unanswered {
                appointment_id: "01890f3e-6b7c-7cc2-98c4-dc0c0c07398f".to_owned(),
                insured_id: "00123".to_owned(),
                country: "CL".to_owned(),
                status: "failed".to_owned(),
                command: "appointment.decision_requested",
                trace_id: TRACE.to_owned(),
                next: "2026-11-24T09:30:00.000Z".to_owned(),
            }],
            countries: BTreeMap::from([
                ("CL".to_owned(), Rows::Unknown { error: "cannot connect to the database".to_owned() }),
                ("PE".to_owned(), Rows::Counted(counts)),
            ]),
            hops: vec![HopState { hop: "database-CL".to_owned(), broken: true }],
            problems: Vec::new(),
        }
    }

    fn history() -> History {
        let mut history = History::default();
        let at = r#""timestamp":"2026-11-28T03:41:05Z","level":"ERROR","service":"appointment-pe""#;
        for rest in [
            r#""message":"message is no command for this country","message_id":"m1","failure":"expected value at line 1 column 1""#.to_owned(),
            format!(r#""message":"appointment given up: delivered for the last time, and undecided, which takes two lines","trace_id":"{TRACE}""#),
        ] {
            history.add(LogLine::parse(&format!("{{{at},{rest}}}")).unwrap());
        }
        history
    }

    #[test]
    fn the_status_says_what_is_where_in_80_columns() {
        let expected = "\
Queues                           waiting     in work      oldest
SQS_PE                                 0           0           -
SQS_PE_DLQ                             1           0       1 min

Dead letters: 1
  SQS_PE_DLQ unreadable, sent 1 min ago
    expected value at line 1 column 1

Given up: 1
  CL  01890f3e-6b7c-7cc2-98c4-dc0c0c07398f  failed
    trace f44af53fcfacf9aa38d2748c17b35542

Countries
  CL cannot connect to the database
  PE appointments: 3 booked, 1 rejected; slots: none

database-CL is broken on purpose: the console heals it

Errors: 2
03:41:05 ERROR appointment-pe: appointment given up: delivered for the last
    time, and undecided, which takes two lines
    trace f44af53fcfacf9aa38d2748c17b35542
03:41:05 ERROR appointment-pe: message is no command for this country
    expected value at line 1 column 1
    message m1
";
        let shown = status(&state(), &history(), Colour::Off);
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
    }

    #[test]
    fn colour_changes_no_letter() {
        let coloured = status(&state(), &history(), Colour::On);
        assert!(coloured.contains("\u{1b}[31m"), "{coloured}");
        let mut plain = coloured;
        for code in ["1", "2", "31", "33", "0"] {
            plain = plain.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(plain, status(&state(), &history(), Colour::Off));
    }

    #[test]
    fn only_a_terminal_whose_user_wants_it_gets_colour() {
        assert_eq!(Colour::of(true, false), Colour::On);
        assert_eq!(Colour::of(true, true), Colour::Off);
        assert_eq!(Colour::of(false, false), Colour::Off);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| counted(number, "message")), ["0 messages", "1 message", "2 messages"]);
        assert_eq!([59, 60, 7200, 86_400, 200_000].map(age), ["59 s", "1 min", "2 h", "1 day", "2 days"]);
    }

    #[test]
    fn a_word_longer_than_a_line_is_cut() {
        let long = "x".repeat(200);
        let text = wrapped(&format!("  {long} end"), 4);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.chars().filter(|letter| *letter == 'x').count(), 200);
        assert!(text.ends_with("end\n"));
    }

    #[test]
    fn an_error_fits_80_columns_and_keeps_what_one_copies_whole() {
        let path = format!("/{}/terraform.tfvars", "folder/".repeat(14));
        let text = format!(
            "error: cannot listen on 127.0.0.1:3001 for the console: stop what is there, or choose another port with \
             --console-port: cannot read {path}:\nno such file\n\nFor more information, try '--help'."
        );
        let expected = format!(
            "error: cannot listen on 127.0.0.1:3001 for the console: stop what is there, or\n  \
             choose another port with --console-port: cannot read\n  {path}:\nno such file\n\nFor more information, try '--help'.\n"
        );
        let shown = error(&text);
        assert_eq!(shown, expected);
        let long: Vec<&str> = shown.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert_eq!(long.len(), 1, "only the path: {long:?}");
    }
}
