//! Redaction: no text that leaves a session contains a secret that its requests have shown to servers.

use std::sync::Arc;

use http::header::{LINK, LOCATION};
use http::{HeaderMap, HeaderValue, Uri};

use crate::auth::credentials::{Credentials, basic};
use crate::header::link::Link;
use crate::header::location::resolve;
use crate::header::url::UrlKind;
use crate::op::event::{Event, MirrorReport, Retry};
use crate::session::state::Session;
use crate::session::task::{Purpose, Task};
use crate::types::id::{OpId, TaskId};
use crate::types::secret::Secret;
use crate::walker::finding::Finding;
use crate::wire::percent;
use crate::wire::redact::{Forms, Redactor};

impl Session {
    /// Redacts the texts of an event. Descriptors, documents and lists are content, which is not changed.
    pub(super) fn redact(&mut self, op: OpId, event: &mut Event) {
        match event {
            Event::Failed(error)
            | Event::Retry(Retry { error, .. })
            | Event::Mirror(MirrorReport { error: Some(error), .. }) => {
                let forms = self.forms(op);
                *error = error.clone().map_texts(|_, text| forms.hide(text));
            }
            Event::Finding(Finding { digest, detail, .. }) => {
                let forms = self.forms(op);
                *detail = forms.hide(detail);
                if let Some(digest) = digest {
                    *digest = digest.map_text(&mut |text| forms.hide(text));
                }
            }
            // A warning is redacted when it is received, since each text is reported once.
            Event::Resolved(_)
            | Event::Node(_)
            | Event::Skipped(_)
            | Event::Stored(..)
            | Event::Acknowledged { .. }
            | Event::Tags(_)
            | Event::Repositories(_)
            | Event::Referrers(_)
            | Event::LeftOut(_)
            | Event::Exists(_)
            | Event::Mirror(_)
            | Event::Warning(_)
            | Event::Accepted { .. }
            | Event::Done => {}
        }
    }

    /// Returns the forms of all secrets that the requests of an operation have shown. They are computed again
    /// only if other secrets have been shown since.
    pub(super) fn forms(&mut self, op: OpId) -> Arc<Forms> {
        let shown = self.redactor(op);
        let Some(running) = self.ops.get_mut(&op) else { return Arc::default() };
        match &running.forms {
            Some((of, forms)) if *of == shown => Arc::clone(forms),
            _ => {
                let forms = Arc::new(shown.forms());
                running.forms = Some((shown, Arc::clone(&forms)));
                forms
            }
        }
    }

    /// Returns the redactor for all that the requests of an operation have shown.
    fn redactor(&self, op: OpId) -> Redactor {
        let Some(running) = self.ops.get(&op) else { return Redactor::default() };
        let mut redactor = running.shown.clone();
        for task in running.tasks.iter().filter_map(|id| self.tasks.get(id)) {
            task.add_to(&mut redactor);
        }
        // A token may have been fetched with the login for another operation.
        let targets = running.op.targets().iter().flat_map(|target| target.with_mirrors());
        let logins = targets.filter_map(|target| self.auth.login(target));
        for header in logins.filter_map(Credentials::header) {
            redactor.add_header(&header);
        }
        for header in self.config.proxies.iter().filter_map(proxy_login) {
            redactor.add_header(&header);
        }
        for (_, _, value) in self.config.headers.iter() {
            redactor.add_value(value);
        }
        redactor
    }

    /// Remembers the URLs that a response supplies, since it may repeat the values of their queries elsewhere, and
    /// they are requested later or never.
    pub(super) fn remember_urls(&mut self, op: OpId, from: &Uri, headers: &HeaderMap) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        for url in supplied_urls(from, headers) {
            running.shown.add(None, &url, UrlKind::Upload);
        }
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
        if self.has_own_url() {
            self.authorization.iter().for_each(|header| redactor.add_header(header));
        } else {
            redactor.add(self.authorization.as_ref(), &self.uri, self.kind.url_kind());
        }
        if let Purpose::Token(token) = &self.purpose
            && let Some(header) = token.login().and_then(Credentials::header)
        {
            redactor.add_header(&header);
        }
    }
}

/// Returns the URLs in the Location and Link headers of a response from `from`: of each, as many as a server has reason
/// to send, so that they do not displace others.
fn supplied_urls(from: &Uri, headers: &HeaderMap) -> impl Iterator<Item = Uri> {
    const MOST: usize = 2;
    let locations = headers.get_all(LOCATION).iter().map(|value| value.as_bytes().to_vec());
    let links =
        headers.get_all(LINK).iter().flat_map(|value| Link::parse(value.as_bytes()).unwrap_or_default());
    let links = links.map(|link| link.target().as_bytes().to_vec());
    locations.take(MOST).chain(links.take(MOST)).filter_map(|target| {
        // The query of a URL that cannot be used may be secret too.
        let query = || target.iter().position(|byte| *byte == b'?').map(|at| [b"/", &target[at..]].concat());
        resolve(from, &target).ok().or_else(|| Uri::try_from(query()?).ok())
    })
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
    use crate::config::Config;
    use crate::types::reference::registry::Registry;

    #[test]
    fn forms_are_computed_once_until_another_secret_is_shown() {
        let config = Config { proxies: vec!["http://user:s3cret@h".into()], ..Config::default() };
        let mut session = Session::new(config, 0);
        let op = session.resolve(&"registry.example/a:1".parse().unwrap(), None);
        let first = session.forms(op);
        assert!(Arc::ptr_eq(&first, &session.forms(op)));
        let shown = &mut session.ops.get_mut(&op).unwrap().shown;
        shown.add_header(&HeaderValue::from_static("Bearer token"));
        let second = session.forms(op);
        assert_eq!(
            (first.hide("token s3cret"), second.hide("token s3cret")),
            ("token REDACTED".to_owned(), "REDACTED REDACTED".to_owned())
        );
        assert!(Arc::ptr_eq(&second, &session.forms(op)));
    }

    #[test]
    fn configured_headers_are_secrets_and_displace_no_others() {
        let mut config = Config::default();
        let registry: Registry = "registry.example".parse().unwrap();
        for number in 0..40 {
            let name = format!("x-{number}").parse().unwrap();
            config.headers.insert(registry.clone(), name, format!("key {number}!").parse().unwrap()).unwrap();
        }
        let mut session = Session::new(config, 0);
        let op = session.resolve(&"registry.example/a:1".parse().unwrap(), None);
        let shown = &mut session.ops.get_mut(&op).unwrap().shown;
        shown.add_header(&HeaderValue::from_static("Bearer token"));
        assert_eq!(session.forms(op).hide("token, key 0!, key 39!"), "REDACTED, REDACTED, REDACTED");
    }

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
