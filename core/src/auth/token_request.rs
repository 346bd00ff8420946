//! Token requests, to the token server in a registry's challenge.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Uri};

use crate::auth::credentials;
use crate::auth::credentials::Credentials;
use crate::auth::tokens::TokenKey;
use crate::config::Config;
use crate::types::secret::Secret;
use crate::wire::origin::Origin;
use crate::wire::percent::push_pair;
use crate::wire::request::{Accepting, Payload};
use crate::wire::status::RequestKind;
use crate::wire::{request, status};

/// A token request: POST with a refresh token, or GET with a user name and password or anonymously.
#[derive(Debug)]
pub(crate) struct TokenRequest {
    key: TokenKey,
    kind: RequestKind,
}

impl TokenRequest {
    pub(crate) fn new(key: TokenKey) -> Self {
        let kind = match &key.credentials {
            Some(Credentials::Identity(_)) => RequestKind::PostToken,
            _ => RequestKind::GetToken,
        };
        Self { key, kind }
    }

    /// Returns the origin of the registry that the token is for.
    pub(crate) fn registry(&self) -> &Origin {
        &self.key.registry
    }

    pub(crate) fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Returns the URL. For GET, it is the realm with its own query, the service, if any, and each scope.
    ///
    /// Source: Docker's token authentication page.
    pub(crate) fn uri(&self) -> Uri {
        let realm = &self.key.realm.0;
        if self.kind == RequestKind::PostToken {
            return realm.clone();
        }
        let mut query = realm.query().unwrap_or_default().to_owned();
        if !self.key.service.is_empty() {
            push_pair(&mut query, "service", &self.key.service);
        }
        for scope in self.key.scope.params() {
            push_pair(&mut query, "scope", &scope);
        }
        let path =
            if query.is_empty() { realm.path().to_owned() } else { format!("{}?{query}", realm.path()) };
        let mut parts = realm.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        // The query is too long for a URL. Without it, the server responds that parameters are missing.
        Uri::from_parts(parts).unwrap_or_else(|_| realm.clone())
    }

    /// Returns whether the request contains a login.
    pub(crate) fn has_login(&self) -> bool {
        self.key.credentials.is_some()
    }

    /// Switches to GET if `status` indicates that the server does not accept a refresh token by POST.
    /// Returns whether it switched.
    pub(crate) fn fall_back(&mut self, status: StatusCode) -> bool {
        let switches = self.kind == RequestKind::PostToken && status::refuses_refresh_token(status);
        if switches {
            self.kind = RequestKind::GetToken;
        }
        switches
    }

    /// Returns the login that the request contains.
    pub(crate) fn login(&self) -> Option<&Credentials> {
        self.key.credentials.as_ref()
    }

    /// Builds the request to `target`, which is [its URL](Self::uri) or a redirect's.
    pub(crate) fn build(&self, config: &Config, target: Uri) -> Request<Payload> {
        let mut request = request::build(config, self.kind.method(), target, Accepting::Json);
        let authorization = match &self.key.credentials {
            Some(Credentials::Basic { username, password }) => credentials::basic(username, password),
            Some(Credentials::Identity(token)) if self.kind == RequestKind::PostToken => {
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, form_type);
                *request.body_mut() = Payload::Bytes(self.form(token).into());
                None
            }
            // Servers without POST expect the user name of credential helpers.
            Some(Credentials::Identity(token)) => credentials::basic(Credentials::IDENTITY_USER, token),
            Some(Credentials::Bearer(_)) | None => None,
        };
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }

    /// Returns the form that exchanges a refresh token for an access token.
    ///
    /// Source: Docker's page on `OAuth2`; RFC 6749, section 6.
    fn form(&self, refresh_token: &Secret) -> String {
        let mut form = String::new();
        push_pair(&mut form, "grant_type", "refresh_token");
        if !self.key.service.is_empty() {
            push_pair(&mut form, "service", &self.key.service);
        }
        push_pair(&mut form, "client_id", "oci-proto");
        push_pair(&mut form, "scope", &self.key.scope.to_string());
        push_pair(&mut form, "refresh_token", refresh_token.reveal());
        form
    }
}
