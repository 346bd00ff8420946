//! Redaction: no text that leaves a session contains a secret that its requests have shown to servers.

use http::HeaderValue;

use crate::auth::credentials::{Credentials, basic};
use crate::op::event::{Event, Retry};
use crate::session::state::Session;
use crate::session::task::{Purpose, Task};
use crate::types::id::{OpId, TaskId};
use crate::types::secret::Secret;
use crate::walker::finding::Finding;
use crate::wire::percent;
use crate::wire::redact::Redactor;

impl Session {
    /// Redacts the texts of an event. Descriptors and documents are content, which is not changed.
    pub(super) fn redact(&self, op: OpId, event: &mut Event) {
        match event {
            Event::Failed(error) | Event::Retry(Retry { error, .. }) => {
                let redactor = self.redactor(op);
                *error = error.clone().map_texts(|_, text| redactor.hide(text));
            }
            Event::Finding(Finding { digest, detail, .. }) => {
                let redactor = self.redactor(op);
                *detail = redactor.hide(detail);
                if let Some(digest) = digest {
                    *digest = digest.map_text(&mut |text| redactor.hide(text));
                }
            }
            // A warning is redacted when it is received, since each text is reported once.
            Event::Resolved(_) | Event::Node(_) | Event::Skipped(_) | Event::Warning(_) | Event::Done => {}
        }
    }

    /// Returns the redactor for all that the requests of an operation have shown.
    pub(super) fn redactor(&self, op: OpId) -> Redactor {
        let Some(running) = self.ops.get(&op) else { return Redactor::default() };
        let mut redactor = running.shown.clone();
        for task in running.tasks.iter().filter_map(|id| self.tasks.get(id)) {
            task.add_to(&mut redactor);
        }
        // A token may have been fetched with the login for another operation.
        let logins = running.op.targets().iter().filter_map(|target| self.auth.login(target));
        for header in logins.filter_map(Credentials::header) {
            redactor.add_header(&header);
        }
        for header in self.config.proxies.iter().filter_map(proxy_login) {
            redactor.add_header(&header);
        }
        redactor
    }

    /// Remembers what the last request of a task has shown, for the operations that it serves.
    pub(super) fn remember(&mut self, id: TaskId) {
        for op in self.ops_of(id) {
            if let (Some(task), Some(running)) = (self.tasks.get(&id), self.ops.get_mut(&op)) {
                task.add_to(&mut running.shown);
            }
        }
    }
}

impl Task {
    /// Adds what its last request has shown.
    pub(super) fn add_to(&self, redactor: &mut Redactor) {
        redactor.add(self.authorization.as_ref(), &self.uri, self.kind.url_kind());
        if let Purpose::Token(token) = &self.purpose
            && let Some(header) = token.login().and_then(Credentials::header)
        {
            redactor.add_header(&header);
        }
    }
}

/// Returns the login in a proxy's URL, in the form in which the proxy receives it.
fn proxy_login(url: &Secret) -> Option<HeaderValue> {
    let url = url.reveal();
    let (login, _) = url.split_once("://").map_or(url, |(_, rest)| rest).rsplit_once('@')?;
    let (username, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text| percent::decode(text).unwrap_or_default().into_owned();
    basic(&decoded(username), &decoded(password).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_receives_the_decoded_login_of_its_url() {
        for (url, login) in [
            ("http://user:s3%40cret@h:1", basic("user", &"s3@cret".into())),
            ("user:a@b@h", basic("user", &"a@b".into())),
            ("socks5://user@h/", basic("user", &"".into())),
            ("http://h:1/", None),
        ] {
            assert_eq!(proxy_login(&url.into()), login, "{url}");
        }
    }
}
