//! The texts for people: there for everything that they may meet, in their language and in no other.

use appointment::{Reason, Status};
use edge_component::{Language, Problem, ProblemCode, status_text};
use regex::Regex;
use serde_json::Value;

/// Every status with every reason and without one, with values of a later version beside them.
fn states() -> Vec<(String, Option<String>)> {
    let statuses = Status::known().map(|status| status.to_string()).chain(["archived".to_owned()]);
    let reasons: Vec<Option<String>> = Reason::known()
        .map(|reason| Some(reason.to_string()))
        .chain([None, Some("moved_by_storm".to_owned())])
        .collect();
    statuses.flat_map(|status| reasons.iter().map(move |reason| (status.clone(), reason.clone()))).collect()
}

fn problems(language: Language) -> Vec<Value> {
    let problem = |code: &ProblemCode| {
        let response = Problem::new(*code).with_instance("urn:x:1".to_owned()).into_response(language);
        serde_json::from_slice(response.body()).unwrap()
    };
    ProblemCode::ALL.iter().map(problem).collect()
}

fn texts(language: Language) -> Vec<String> {
    let states = states();
    let states = states.iter().map(|(status, reason)| status_text(status, reason.as_deref(), language).to_owned());
    let problems = problems(language);
    let text = |problem: &Value, field: &str| problem[field].as_str().unwrap().to_owned();
    let of_problems = problems.iter().flat_map(|problem| [text(problem, "title"), text(problem, "detail")]);
    states.chain(of_problems).collect()
}

#[test]
fn spanish_holds_no_english_word_but_in_quotes() {
    let quoted = Regex::new("«[^»]*»").unwrap();
    // A name as programs write it, and words that only English has.
    let name = Regex::new(r"[a-z][A-Z]|_|[A-Z][a-z]+-[A-Z]|`").unwrap();
    let english = Regex::new(
        r"(?i)\b(the|is|errors?|fields?|member|body|request|header|cursor is|pending|failed|completed|rejected|cancelling|cancelled|allow|instance|status|reason)\b",
    )
    .unwrap();
    for text in texts(Language::Spanish).into_iter().chain(texts(Language::ChileanSpanish)) {
        let plain = quoted.replace_all(&text, "").replace("Error interno", "");
        assert!(!name.is_match(&plain) && !english.is_match(&plain), "{text}");
    }
}

/// The page speaks of «horas» to people in Chile, and the API's texts are shown beside its own. What only a programmer reads is the same.
#[test]
fn chile_has_its_own_words() {
    let words = Regex::new(r"(?i)\b(citas?|horarios?|cancel\w*|reprogram\w*|reserv\w*)\b").unwrap();
    let of_body = ["Envíe los datos de la cita"];
    for text in texts(Language::ChileanSpanish) {
        assert!(!words.is_match(&text) || of_body.iter().any(|start| text.starts_with(start)), "{text}");
    }
}

#[test]
fn each_text_is_a_sentence_of_its_language() {
    let (spanish, english) = (texts(Language::Spanish), texts(Language::English));
    assert!(spanish.iter().zip(&english).all(|(spanish, english)| spanish != english));
    for text in spanish.iter().chain(&english).chain(&texts(Language::ChileanSpanish)) {
        assert!(text.chars().next().unwrap().is_uppercase() && text.len() <= 160, "{text}");
        assert!(!text.contains("  ") && !text.contains(" ,"), "{text}");
    }
    for (status, reason) in states() {
        for language in [Language::Spanish, Language::ChileanSpanish, Language::English] {
            assert!(status_text(&status, reason.as_deref(), language).ends_with('.'), "{status} {reason:?}");
        }
    }
}

/// Statuses and reasons that ask the person to do different things have different texts.
#[test]
fn every_status_and_reason_has_its_text() {
    for language in [Language::Spanish, Language::ChileanSpanish, Language::English] {
        let mut seen = std::collections::HashMap::new();
        for (status, reason) in [
            ("pending", None),
            ("completed", None),
            ("rejected", Some("slot_taken")),
            ("rejected", Some("already_booked")),
            ("rejected", Some("not_processed")),
            ("rejected", Some("slot_unknown")),
            ("rejected", Some("slot_past")),
            ("rejected", Some("slot_withdrawn")),
            ("rejected", Some("too_many_open")),
            ("rejected", Some("original_not_booked")),
            ("rejected", Some("already_started")),
            ("rejected", None),
            ("failed", Some("processing_failed")),
            ("failed", Some("not_processed")),
            ("cancelling", None),
            ("cancelled", Some("moved")),
            ("cancelled", Some("slot_withdrawn")),
            ("cancelled", None),
            ("of a later version", None),
        ] {
            let text = status_text(status, reason, language);
            assert_eq!(seen.insert(text, (status, reason)), None, "{text}");
        }
    }
}

/// The wordings that the product owner gave, word for word.
#[test]
fn the_agreed_wordings_are_there() {
    let detail = |code: ProblemCode, language: Language| {
        let response = Problem::new(code).into_response(language);
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        (body["title"].as_str().unwrap().to_owned(), body["detail"].as_str().unwrap().to_owned())
    };
    assert_eq!(detail(ProblemCode::InvalidBody, Language::Spanish).1, "Corrija los campos indicados en «errors».");
    assert_eq!(detail(ProblemCode::InvalidBody, Language::English).1, "Correct the fields listed in `errors`.");
    assert_eq!(detail(ProblemCode::EmptyBody, Language::Spanish).0, "La solicitud está vacía");
    assert_eq!(detail(ProblemCode::NotFound, Language::Spanish).0, "No encontrado");
    assert!(detail(ProblemCode::MethodNotAllowed, Language::Spanish).1.contains("el encabezado «Allow»"));
    assert_eq!(detail(ProblemCode::Unauthorized, Language::Spanish).1, "Inicie sesión nuevamente.");
    assert_eq!(status_text("pending", None, Language::Spanish), "Estamos procesando su cita.");
    for text in texts(Language::English) {
        assert!(!text.contains("member") && !text.contains("in capitals"), "{text}");
    }
}
