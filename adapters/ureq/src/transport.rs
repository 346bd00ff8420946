//! ureq, with everything switched off that the core decides.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use oci_proto::{Fault, FaultKind, Limits, Payload};
use ureq::config::AutoHeaderValue;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, Proxy, Timeout};

use crate::proxy::Proxies;

/// Bounds a response's head: more than any registry sends, and what other clients allow.
const HEAD_BYTES: usize = 64 << 10;
/// A line of a request's head must fit: bearer tokens come to several KiB.
const OUTPUT_BYTES: usize = 64 << 10;
/// Read from a socket at a time. With 128 KiB, which is ureq's own choice, a large blob takes some 3 % more of a
/// processor's time; more than this costs memory on each connection.
const INPUT_BYTES: usize = 256 << 10;
/// Less than the minute after which many servers and middle boxes close an idle connection.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// Sends requests, and says in the core's words why one could not be sent.
pub(crate) struct Transport {
    direct: Agent,
    proxied: Proxies<Through>,
    requests: AtomicU64,
    connect_timeout: Duration,
    idle_timeout: Duration,
    /// Why no certificate can be trusted, if that is so.
    distrust: Option<String>,
}

/// What sends requests through a proxy.
struct Through {
    /// Its host and port, and nothing secret.
    name: String,
    agent: Agent,
}

/// What was being waited for when something broke.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Head,
    Body,
}

impl Transport {
    pub(crate) fn new(
        limits: &Limits,
        extra_roots: Vec<Certificate<'static>>,
        proxies: Proxies,
        connect_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        // Files of the system's store that cannot be read are left out; the others are worth having.
        let system = rustls_native_certs::load_native_certs();
        let mut roots: Vec<_> =
            system.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        roots.extend(extra_roots);
        let distrust = roots.is_empty().then(|| {
            let mut why =
                "this system has no root certificates: install them, set SSL_CERT_FILE, or give the \
                           client some"
                    .to_owned();
            for error in system.errors.iter().take(2) {
                why.push_str("; ");
                why.push_str(&error.to_string());
            }
            why
        });
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = |proxy: Option<Proxy>| {
            Agent::config_builder()
                .tls_config(tls.clone())
                .proxy(proxy)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(AutoHeaderValue::None)
                .accept(AutoHeaderValue::None)
                .accept_encoding(AutoHeaderValue::None)
                .no_delay(true)
                .max_response_header_size(HEAD_BYTES)
                .output_buffer_size(OUTPUT_BYTES)
                .input_buffer_size(INPUT_BYTES)
                .max_idle_connections(limits.in_flight)
                .max_idle_connections_per_host(limits.in_flight_per_origin)
                .timeout_connect(Some(connect_timeout))
                .max_idle_age(IDLE_CONNECTION)
                // A body may take as long as it moves. A head that trickles is late as a whole; more time
                // than for one read spares setting the socket's timeout for each request.
                .timeout_recv_response(Some(idle_timeout.saturating_mul(2)))
                .timeout_per_read(Some(idle_timeout))
                .timeout_per_write(Some(idle_timeout))
                .build()
                .new_agent()
        };
        Self {
            direct: agent(None),
            proxied: proxies.map(|proxy| Through {
                name: format!("{}:{}", proxy.host(), proxy.port()),
                agent: agent(Some(proxy)),
            }),
            requests: AtomicU64::new(0),
            connect_timeout,
            idle_timeout,
            distrust,
        }
    }

    /// How many requests were sent, or tried.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for the head of its response; all of it within `time`, where given.
    pub(crate) fn send(
        &self,
        request: Request<Payload>,
        time: Option<Duration>,
    ) -> Result<Response<Body>, Fault> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let proxy = self.proxied.of(request.uri());
        let agent = proxy.map_or(&self.direct, |proxy| &proxy.agent);
        let (head, payload) = request.into_parts();
        let sent = match &payload {
            Payload::Empty => run(agent, Request::from_parts(head, ()), time),
            Payload::Bytes(bytes) => run(agent, Request::from_parts(head, &bytes[..]), time),
            _ => return Err(Fault::new(FaultKind::Reset, "this client cannot send such a request body")),
        };
        sent.map_err(|error| {
            let fault = self.fault(Phase::Head, error);
            match proxy {
                Some(Through { name, .. }) if fault.kind() == FaultKind::Connect => Fault::new(
                    FaultKind::Connect,
                    format_args!("through the proxy {name}: {}", fault.message()),
                ),
                _ => fault,
            }
        })
    }

    /// Breaks what is still being carried. Nobody waits for it any more.
    pub(crate) fn shut_down(&self) {
        for agent in [&self.direct].into_iter().chain(self.proxied.iter().map(|proxy| &proxy.agent)) {
            agent.clone().shutdown();
        }
    }

    /// What went wrong, in the core's words.
    pub(crate) fn fault(&self, phase: Phase, error: Error) -> Fault {
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => Fault::new(
                FaultKind::Timeout,
                format_args!("no connection within {:?}", self.connect_timeout),
            ),
            Error::Timeout(Timeout::PerRead | Timeout::PerWrite | Timeout::RecvResponse) => {
                Fault::new(FaultKind::Timeout, format_args!("nothing moved for {:?}", self.idle_timeout))
            }
            Error::Timeout(_) => Fault::new(FaultKind::Timeout, "the operation's time is over"),
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::InvalidProxyUrl
            | Error::ConnectProxyFailed(_) => Fault::new(FaultKind::Connect, error),
            Error::Rustls(error) => self.tls_fault(&error),
            Error::Tls(_) | Error::TlsRequired | Error::Pem(_) => Fault::new(FaultKind::Tls, error),
            Error::Io(error) => self.io_fault(phase, &error),
            // Its message would show the URL, and with it a signature in the query.
            Error::BadUri(_) => Fault::new(FaultKind::Connect, "the URL has no host, or an unknown scheme"),
            other => Fault::new(FaultKind::Reset, other),
        }
    }

    fn tls_fault(&self, error: &rustls::Error) -> Fault {
        match &self.distrust {
            Some(distrust) => Fault::new(FaultKind::Tls, format_args!("{error} ({distrust})")),
            None => Fault::new(FaultKind::Tls, error),
        }
    }

    fn io_fault(&self, phase: Phase, error: &io::Error) -> Fault {
        if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return self.tls_fault(error);
        }
        // What rustls says of a connection that ends in the handshake, and nothing else does.
        if error.kind() == io::ErrorKind::UnexpectedEof && error.get_ref().is_none() {
            return Fault::new(FaultKind::Reset, "tls handshake eof");
        }
        let broken = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidData
        );
        match phase {
            // What else fails before the head is the way there. A failed look-up of a name has no kind
            // of its own.
            Phase::Head if !broken => Fault::new(FaultKind::Connect, error),
            Phase::Head | Phase::Body => Fault::new(FaultKind::Reset, error),
        }
    }
}

fn run(
    agent: &Agent,
    request: Request<impl ureq::AsSendBody>,
    time: Option<Duration>,
) -> Result<Response<Body>, Error> {
    let request = match time {
        None => request,
        time => agent.configure_request(request).timeout_global(time).build(),
    };
    agent.run(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_before_the_head_is_the_way_there_unless_the_connection_broke() {
        let second = Duration::from_secs(1);
        let transport = Transport::new(&Limits::default(), Vec::new(), Proxies::all(None), second, second);
        let kind = |phase, error| transport.fault(phase, error).kind();
        let look_up = || Error::Io(io::Error::other("failed to lookup address information"));
        let reset = || Error::Io(io::ErrorKind::ConnectionReset.into());
        let refused = || Error::Io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(kind(Phase::Head, look_up()), FaultKind::Connect);
        assert_eq!(kind(Phase::Head, refused()), FaultKind::Connect);
        assert_eq!(kind(Phase::Head, reset()), FaultKind::Reset);
        assert_eq!(kind(Phase::Body, reset()), FaultKind::Reset);
        assert_eq!(kind(Phase::Body, look_up()), FaultKind::Reset);
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = Error::Io(io::Error::new(io::ErrorKind::InvalidData, certificate));
        assert_eq!(kind(Phase::Head, wrapped), FaultKind::Tls);
    }

    #[test]
    fn a_message_shows_no_query() {
        let second = Duration::from_secs(1);
        let transport = Transport::new(&Limits::default(), Vec::new(), Proxies::all(None), second, second);
        let request = Request::get("ftp://cdn.example/blob?signature=secret").body(Payload::Empty).unwrap();
        let fault = transport.send(request, None).unwrap_err();
        assert!(!fault.message().contains("secret"), "{}", fault.message());
    }
}
