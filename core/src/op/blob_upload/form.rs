//! The form in which content is sent to a registry: whole, or in chunks.

use http::StatusCode;

use crate::error::Error;
use crate::op::blob_upload::headers::is_too_small;
use crate::op::habits::{Habit, Habits};
use crate::wire::origin::Origin;

/// The form of an upload. It changes when the registry refuses it.
#[derive(Debug)]
pub(super) struct Form {
    /// The maximum size of a chunk, once the content must be sent in chunks.
    chunk: Option<u64>,
    /// The refusal of an earlier form, until the registry accepts one.
    refusal: Option<Error>,
    /// The size of a chunk without a hint.
    default: u64,
}

/// The size of a chunk after a 413 response without another hint.
const REDUCED: u64 = 4 << 20;
/// The smallest chunk that is tried.
const SMALLEST: u64 = 1 << 20;
/// The largest chunk that is tried if chunks are refused as too small.
pub(super) const LARGEST: u64 = 64 << 20;

impl Form {
    /// Creates the form of content that is sent whole, or in chunks of `default` bytes.
    pub(super) fn new(default: u64) -> Self {
        Self { chunk: None, refusal: None, default }
    }

    /// Returns whether the content is sent in chunks because the registry has refused another form.
    pub(super) fn is_chunked(&self) -> bool {
        self.chunk.is_some()
    }

    /// Returns whether the whole content may be sent in one request.
    pub(super) fn is_whole(&self, habit: Habit) -> bool {
        habit.takes_whole && !self.is_chunked()
    }

    /// Returns the maximum number of bytes of a request, or `None` if it has no limit.
    pub(super) fn limit(&self, habit: Habit) -> Option<u64> {
        let learnt = match (self.chunk, habit.takes_whole) {
            (None, true) => return habit.max_bytes,
            (Some(chunk), _) => chunk,
            (None, false) => self.default,
        };
        Some(learnt.max(habit.min_chunk).min(habit.max_bytes.unwrap_or(u64::MAX)).max(1))
    }

    /// Changes to chunks after the registry has refused the whole content, of this size. Returns whether another form
    /// is left.
    pub(super) fn refused_whole(&mut self, error: &Error, size: u64, habit: Habit) -> bool {
        let chunk = match is_too_large(error) {
            _ if self.refusal.is_some() => None,
            true => self.smaller(size).map(|chunk| chunk.min(REDUCED)),
            false => Some(self.default.max(habit.min_chunk)),
        };
        self.change(chunk, error)
    }

    /// Changes to smaller chunks after one of this size was too large. Returns whether another form is left.
    pub(super) fn too_large(&mut self, error: &Error, size: u64) -> bool {
        self.change(self.smaller(size), error)
    }

    /// Changes to larger chunks if the registry says that one of this size was too small. Returns their size.
    ///
    /// `min` is the minimum size that it announces.
    pub(super) fn too_small(
        &mut self,
        error: &Error,
        min: Option<u64>,
        size: u64,
        habit: Habit,
    ) -> Option<u64> {
        let used = self.limit(habit).unwrap_or(size).max(size);
        let grown = match min {
            Some(min) if min > used => Some(min),
            _ => is_too_small(error).then(|| used.saturating_mul(2)),
        };
        let grown = grown.filter(|grown| *grown <= LARGEST)?;
        self.chunk = Some(grown);
        Some(grown)
    }

    /// Notes what the registry accepts after it has refused another form.
    pub(super) fn accepted(&mut self, origin: &Origin, habits: &mut Habits) {
        let Some(refusal) = self.refusal.take() else { return };
        habits.note(origin, |habit| {
            if is_too_large(&refusal) {
                habit.max_bytes = self.chunk;
            } else {
                habit.takes_whole = false;
            }
        });
    }

    /// Takes the refusal of an earlier form.
    pub(super) fn take_refusal(&mut self) -> Option<Error> {
        self.refusal.take()
    }

    fn change(&mut self, chunk: Option<u64>, error: &Error) -> bool {
        if chunk.is_some() {
            (self.chunk, self.refusal) = (chunk, Some(error.clone()));
        }
        chunk.is_some()
    }

    /// Returns the size of the chunks after one of this size was too large, or `None` if no smaller one is tried.
    fn smaller(&self, size: u64) -> Option<u64> {
        let smallest = SMALLEST.min(self.default);
        (size > smallest).then(|| (size / 2).clamp(smallest, self.default))
    }
}

fn is_too_large(error: &Error) -> bool {
    error.status() == Some(StatusCode::PAYLOAD_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::error::Responder;
    use crate::wire::error_body;

    const MIB: u64 = 1 << 20;

    fn refusal(code: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(code).unwrap();
        let refusal = error_body::refusal(status, Responder::Registry, &HeaderMap::new(), body.as_bytes(), 1);
        Error::of_request(&Method::PUT, "https://registry.example/u".to_owned(), 0, refusal)
    }

    /// The habit that an upload leaves behind.
    fn habit_after(mut form: Form) -> Habit {
        let (origin, mut habits) =
            (Origin::of(&"https://registry.example/".parse().unwrap()).unwrap(), Habits::default());
        form.accepted(&origin, &mut habits);
        habits.of(&origin)
    }

    #[test]
    fn content_that_is_too_large_is_sent_in_ever_smaller_chunks() {
        let (mut form, habit, error) = (Form::new(8 * MIB), Habit::default(), refusal(413, ""));
        assert_eq!((form.is_whole(habit), form.limit(habit)), (true, None));
        assert!(form.refused_whole(&error, 100 * MIB, habit));
        assert_eq!((form.is_whole(habit), form.limit(habit)), (false, Some(4 * MIB)));
        for smaller in [2 * MIB, MIB] {
            assert!(form.too_large(&error, form.limit(habit).unwrap()));
            assert_eq!(form.limit(habit), Some(smaller));
        }
        assert!(!form.too_large(&error, MIB), "a smaller chunk was tried");
        let expected = Habit { max_bytes: Some(MIB), ..habit };
        assert_eq!(habit_after(form), expected);
    }

    #[test]
    fn content_that_is_refused_for_another_reason_is_sent_in_chunks_once() {
        let (mut form, habit, error) = (Form::new(8 * MIB), Habit::default(), refusal(405, ""));
        assert!(form.refused_whole(&error, 1, Habit { min_chunk: 10 * MIB, ..habit }));
        assert_eq!(form.limit(habit), Some(10 * MIB));
        assert!(!form.refused_whole(&error, 1, habit), "it was changed twice");
        assert_eq!(habit_after(form), Habit { takes_whole: false, ..habit });
    }

    #[test]
    fn chunks_that_are_too_small_grow_up_to_a_limit() {
        let habit = Habit { takes_whole: false, ..Habit::default() };
        let too_small =
            refusal(400, r#"{"errors":[{"code":"SIZE_INVALID","message":"chunk is too small"}]}"#);
        for (min, size, grown) in [
            (Some(9 * MIB), 8 * MIB, Some(9 * MIB)),
            (Some(7 * MIB), 8 * MIB, Some(16 * MIB)),
            (None, 8 * MIB, Some(16 * MIB)),
            (None, 32 * MIB, Some(64 * MIB)),
            (None, 33 * MIB, None),
            (Some(65 * MIB), 8 * MIB, None),
        ] {
            let mut form = Form::new(8 * MIB);
            assert_eq!(form.too_small(&too_small, min, size, habit), grown, "{min:?} {size}");
            assert_eq!(form.limit(habit), Some(grown.unwrap_or(8 * MIB)));
        }
        let other = refusal(400, "");
        assert_eq!(Form::new(8 * MIB).too_small(&other, None, 8 * MIB, habit), None);
    }

    #[test]
    fn a_form_that_was_never_refused_teaches_nothing() {
        assert_eq!(habit_after(Form::new(8 * MIB)), Habit::default());
    }
}
