use appointment::{AppointmentId, Status};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The only version of a cursor so far.
const VERSION: u8 = 1;

/// Version, filter, and the 16 bytes of an appointment id.
const LENGTH: usize = 18;

/// Where a page of a person's list ended: opaque to clients, base64url of version, filter and the page's last appointment.
///
/// It names no person: the partition to read always comes from the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The filter of the list that it belongs to.
    pub(crate) status: Option<Status>,
    /// The last appointment that was looked at.
    pub(crate) after: AppointmentId,
}

impl Cursor {
    pub(crate) fn encode(self) -> String {
        let mut bytes = [0; LENGTH];
        let [version, filter, id @ ..] = &mut bytes;
        *version = VERSION;
        *filter = filter_code(self.status);
        id.copy_from_slice(self.after.as_uuid().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor, `None` if we did not write the text.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? != LENGTH {
            return None;
        }
        let [version, filter, id @ ..] = bytes;
        if version != VERSION {
            return None;
        }
        let mut filters = std::iter::once(None).chain(Status::known().map(Some));
        let status = filters.find(|status| filter_code(*status) == filter)?;
        Some(Self { status, after: uuid::Uuid::from_bytes(id).try_into().ok()? })
    }
}

/// One byte for a filter. The codes of a version never change.
const fn filter_code(status: Option<Status>) -> u8 {
    match status {
        None => 0,
        Some(Status::Pending) => 1,
        Some(Status::Failed) => 2,
        Some(Status::Completed) => 3,
        Some(Status::Rejected) => 4,
        Some(Status::Cancelling) => 5,
        Some(Status::Cancelled) => 6,
        // Nobody can ask for it.
        Some(Status::Unknown(_)) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let after = "01930000-0000-7000-8000-000000000001".parse().unwrap();
        for status in std::iter::once(None).chain(Status::known().map(Some)) {
            let cursor = Cursor { status, after };
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    #[test]
    fn what_we_did_not_write_is_no_cursor() {
        let zeros = URL_SAFE_NO_PAD.encode([0; LENGTH]);
        let unknown_filter = URL_SAFE_NO_PAD.encode([VERSION; LENGTH]);
        for text in ["", "AAAA", "not base64!", zeros.as_str(), unknown_filter.as_str()] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }
}
