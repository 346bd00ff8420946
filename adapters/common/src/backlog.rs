//! The pausing of operations whose events are not taken.

use oci_proto::Event;

/// The number of messages at which an operation is paused, until fewer than half as many are left.
const FULL: usize = 64;

/// Decides when an operation must be paused because its call does not take its messages. For authors of clients.
///
/// One page of a list counts as a full backlog: the next page is requested while its entries are taken, and no further
/// one.
#[derive(Debug, Default)]
pub struct Backlog {
    is_paused: bool,
}

impl Backlog {
    /// Returns whether the operation must be paused, now that `waiting` messages include a new one: this event, or
    /// another message.
    pub fn must_pause(&mut self, event: Option<&Event>, waiting: usize) -> bool {
        let is_page = matches!(event, Some(Event::Tags(_) | Event::Repositories(_) | Event::Referrers(_)));
        let must_pause = !self.is_paused && (is_page || waiting >= FULL);
        self.is_paused |= must_pause;
        must_pause
    }

    /// Returns whether the operation must be resumed now that one of its messages was taken and `waiting` are left.
    pub fn must_resume(&mut self, waiting: usize) -> bool {
        let must_resume = self.is_paused && waiting < FULL / 2;
        self.is_paused &= !must_resume;
        must_resume
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_pauses_once_until_it_is_less_than_half_full() {
        let mut backlog = Backlog::default();
        let paused: Vec<_> = (1..=100).filter(|waiting| backlog.must_pause(None, *waiting)).collect();
        assert_eq!(paused, [64]);
        let resumed: Vec<_> = (0..100).rev().filter(|left| backlog.must_resume(*left)).collect();
        assert_eq!(resumed, [31]);
        assert!(backlog.must_pause(None, 64));
    }

    #[test]
    fn a_page_of_a_list_pauses_until_it_is_taken() {
        let mut backlog = Backlog::default();
        assert!(!backlog.must_pause(Some(&Event::LeftOut(1)), 1));
        for page in [Event::Tags(Vec::new()), Event::Repositories(Vec::new()), Event::Referrers(Vec::new())] {
            assert!(backlog.must_pause(Some(&page), 1));
            assert!(!backlog.must_pause(Some(&page), 2));
            assert!(backlog.must_resume(0));
        }
    }
}
