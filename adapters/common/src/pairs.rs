//! The pipes of a copy between registries.

use std::collections::BTreeMap;

use oci_proto::{Digest, ExchangeId};

/// The pipes between the downloads and the uploads of an operation. `S` is the end of a pipe that a download writes
/// to, and `R` the end that its upload reads from. For authors of clients.
///
/// The session sends the exchanges of a pair in turn, the download first. While the upload is in flight, it may repeat
/// the download, which then continues in the same pipe. Once the upload has ended, the session may send another pair
/// for the same content. That pair must have a pipe of its own, since halves of the former may still run, and their
/// bytes may still be in the former pipe. The digest does not tell one pair from the next, but the upload does.
#[derive(Debug)]
pub struct Pairs<S, R>(BTreeMap<Digest, Pair<S, R>>);

#[derive(Debug)]
enum Pair<S, R> {
    /// The upload was not sent yet.
    Begun(S, R),
    Complete(S, ExchangeId),
}

impl<S: Clone, R> Pairs<S, R> {
    /// Returns the end for a download: that of its pair, or of a new pipe from `open`. `is_in_flight` tells whether the
    /// session still waits for the end of an upload.
    pub fn download(
        &mut self,
        digest: &Digest,
        is_in_flight: impl Fn(ExchangeId) -> bool,
        open: impl FnOnce() -> (S, R),
    ) -> S {
        self.0.retain(|_, pair| match pair {
            Pair::Begun(..) => true,
            Pair::Complete(_, upload) => is_in_flight(*upload),
        });
        if let Some(Pair::Complete(writer, _)) = self.0.get(digest) {
            return writer.clone();
        }
        let (writer, reader) = open();
        // In place of a pair whose upload was aborted before it was sent.
        self.0.insert(digest.clone(), Pair::Begun(writer.clone(), reader));
        writer
    }

    /// Returns the end for the upload of the pair whose download was sent last, unless another upload has it.
    pub fn upload(&mut self, digest: &Digest, upload: ExchangeId) -> Option<R> {
        let Pair::Begun(writer, reader) = self.0.remove(digest)? else { return None };
        self.0.insert(digest.clone(), Pair::Complete(writer, upload));
        Some(reader)
    }
}

impl<S, R> Default for Pairs<S, R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use oci_proto::{Algorithm, Config, Output, Session, Time};

    use super::*;

    type Bytes = &'static str;

    fn ids() -> [ExchangeId; 2] {
        let mut session = Session::new(Config::default(), 0);
        ["one", "two"].map(|name| {
            session.exists(&format!("registry.example/{name}:1").parse().unwrap());
            match session.poll_output(Time::ZERO) {
                Output::Send(exchange) => exchange.id(),
                other => panic!("{other:?}"),
            }
        })
    }

    fn bytes(reader: Option<Receiver<Bytes>>) -> Vec<Bytes> {
        reader.expect("the upload has a pipe").try_iter().collect()
    }

    #[test]
    fn a_repeated_download_continues_in_the_pipe_of_its_upload() {
        let (digest, [upload, _]) = (Digest::of(Algorithm::Sha256, b"x"), ids());
        let mut pairs = Pairs::<Sender<Bytes>, Receiver<Bytes>>::default();
        pairs.download(&digest, |_| true, channel).send("first").unwrap();
        let reader = pairs.upload(&digest, upload);
        pairs.download(&digest, |id| id == upload, channel).send("repeated").unwrap();
        assert_eq!(bytes(reader), ["first", "repeated"]);
    }

    #[test]
    fn a_pair_that_is_sent_again_has_its_own_pipe_although_the_former_is_still_read() {
        let (digest, [former, next]) = (Digest::of(Algorithm::Sha256, b"x"), ids());
        let mut pairs = Pairs::<Sender<Bytes>, Receiver<Bytes>>::default();
        let stale = pairs.download(&digest, |_| true, channel);
        let kept = pairs.upload(&digest, former);
        pairs.download(&digest, |id| id != former, channel).send("next").unwrap();
        stale.send("stale").unwrap();
        assert_eq!(bytes(pairs.upload(&digest, next)), ["next"]);
        assert_eq!(bytes(kept), ["stale"]);
    }

    #[test]
    fn a_pair_whose_upload_was_never_sent_leaves_no_bytes() {
        let (digest, [upload, _]) = (Digest::of(Algorithm::Sha256, b"x"), ids());
        let mut pairs = Pairs::<Sender<Bytes>, Receiver<Bytes>>::default();
        let stale = pairs.download(&digest, |_| true, channel);
        stale.send("stale").unwrap();
        pairs.download(&digest, |_| true, channel).send("next").unwrap();
        assert_eq!(bytes(pairs.upload(&digest, upload)), ["next"]);
        assert!(stale.send("stale").is_err(), "nothing reads the former pipe");
    }

    #[test]
    fn a_second_upload_without_a_download_has_no_pipe() {
        let (digest, [first, second]) = (Digest::of(Algorithm::Sha256, b"x"), ids());
        let mut pairs = Pairs::<Sender<Bytes>, Receiver<Bytes>>::default();
        pairs.download(&digest, |_| true, channel);
        assert!(pairs.upload(&digest, first).is_some());
        assert!(pairs.upload(&digest, second).is_none());
    }
}
