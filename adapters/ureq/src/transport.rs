//! ureq, with all features disabled that the core implements.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response, StatusCode};
use oci_proto::{Fault, FaultKind, Limits, Reach};
use oci_proto_common::{
    Awaited, BuildError, IDLE_CONNECTION, Monitor, Network, Proxies, Proxy, ProxyProtocol, Route, tls_message,
};
use ureq::config::AutoHeaderValue;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector};
use ureq::{Agent, AsSendBody, Body, Error, SendBody, Timeout};

use crate::connecting::Connecting;
use crate::forward::Forward;
use crate::link::Link;
use crate::payload::PayloadReader;
use crate::reach::ReachResolver;
use crate::tcp::Tcp;
use crate::tls::Tls;

/// The limit on the head of a response, in bytes. Registries send less, and other clients allow as much.
const HEAD_BYTES: usize = 64 << 10;
/// The size of the output buffer. A line of a request's head must fit, and bearer tokens have several KiB.
const OUTPUT_BYTES: usize = 64 << 10;
/// The size of the input buffer. ureq's default of 128 KiB costs about 3 % more CPU time for a large blob; a
/// larger buffer costs memory on each connection.
const INPUT_BYTES: usize = 256 << 10;

/// Sends requests, and converts the errors of ureq to faults.
pub(crate) struct Transport {
    /// An agent for each reach, without a proxy.
    direct: [(Reach, Agent); 3],
    proxies: Arc<Proxies>,
    /// An agent for each proxy.
    proxied: Vec<(Proxy, Agent)>,
    monitor: Arc<Monitor>,
    connect_timeout: Duration,
    idle_timeout: Duration,
}

impl Transport {
    pub(crate) fn new(network: Network, limits: &Limits, idle_timeout: Duration) -> Result<Self, BuildError> {
        let Network { proxies, trust, connect_timeout, .. } = network;
        let tls = trust.into_tls(Arc::new(rustls::crypto::ring::default_provider()))?;
        let (tls, proxies, monitor) = (Tls(Arc::new(tls)), Arc::new(proxies), Arc::<Monitor>::default());
        let agent = |proxy: Option<ureq::Proxy>, reach: Reach| {
            let config = Agent::config_builder()
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
                // Each request has a timeout of its own for the head of the response. A body has one until its next data,
                // which ureq does not know; see `Open::read`.
                .timeout_per_write(Some(idle_timeout))
                .build();
            // ureq's default chain, except for absolute-form, TCP and TLS.
            let connector =
                ().chain(SocksConnector::default())
                    .chain(Forward { proxies: proxies.clone(), tls: tls.clone() })
                    .chain(ConnectProxyConnector::default())
                    .chain(Tcp)
                    .chain(tls.clone());
            let connector = Connecting { chain: connector, monitor: monitor.clone() };
            Agent::with_parts(config, connector, ReachResolver::new(reach))
        };
        let through = |proxy: &Proxy| Ok((proxy.clone(), agent(Some(of_ureq(proxy)?), Reach::Anywhere)));
        Ok(Self {
            direct: [Reach::Anywhere, Reach::Public, Reach::ThisMachine]
                .map(|reach| (reach, agent(None, reach))),
            proxied: proxies.iter().map(through).collect::<Result<_, _>>()?,
            proxies,
            monitor,
            connect_timeout,
            idle_timeout,
        })
    }

    pub(crate) fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// Returns the time limit for the next data of a body.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Sends a request and waits for the head of its response.
    pub(crate) fn send(
        &self,
        mut request: Request<()>,
        mut payload: Option<PayloadReader<'_>>,
        reach: Reach,
        limits: RequestLimits,
    ) -> Result<Response<Body>, Fault> {
        let route = self.proxies.route(request.uri());
        let proxied = self.proxied.iter().find(|(proxy, _)| Some(proxy) == route.proxy());
        let direct = || self.direct.iter().find(|(of, _)| *of == reach);
        let Some(agent) = proxied.map(|(_, agent)| agent).or_else(|| Some(&direct()?.1)) else {
            return Err(Fault::new(FaultKind::Unsupported, "the reach of the exchange is not supported"));
        };
        if let Route::Forward(proxy) = route
            && let Some(login) = proxy.authorization()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        // The core has set Content-Length, which ureq uses for framing.
        let head_limit = self.idle_timeout.saturating_add(limits.processing);
        let sent = match &mut payload {
            None => run(agent, request, limits.exchange, head_limit),
            Some(payload) => {
                run(agent, request.map(|()| SendBody::from_reader(payload)), limits.exchange, head_limit)
            }
        };
        match sent {
            Ok(mut response) => match route {
                Route::Forward(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    Err(proxy.login_refused())
                }
                Route::Direct => {
                    if let Some(peer) = Link::current().peer() {
                        response.extensions_mut().insert(Peer(peer));
                    }
                    Ok(response)
                }
                _ => Ok(response),
            },
            Err(Error::Timeout(Timeout::RecvResponse)) => Err(Awaited::Head.timed_out(head_limit)),
            // The type of the error has no status.
            Err(Error::ConnectProxyFailed(why)) if why.contains("responded 407") => {
                Err(route.proxy().map_or_else(|| Fault::new(FaultKind::Proxy, &why), Proxy::login_refused))
            }
            Err(error) => {
                let fault = self.fault(error);
                Err(match route.proxy() {
                    Some(proxy) if fault.kind() == FaultKind::Connect => {
                        let message = format_args!("through the proxy {proxy}: {}", fault.message());
                        Fault::new(FaultKind::Connect, message)
                    }
                    _ => fault,
                })
            }
        }
    }

    /// Closes the connections of all running exchanges.
    pub(crate) fn shut_down(&self) {
        let direct = self.direct.iter().map(|(_, agent)| agent);
        for agent in direct.chain(self.proxied.iter().map(|(_, agent)| agent)) {
            agent.clone().shutdown();
        }
    }

    /// Converts an error of ureq to a fault.
    pub(crate) fn fault(&self, error: Error) -> Fault {
        match error {
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                Awaited::Connection.timed_out(self.connect_timeout)
            }
            Error::Timeout(Timeout::PerWrite) => Awaited::Request.timed_out(self.idle_timeout),
            Error::Timeout(Timeout::PerRead) => Awaited::Body.timed_out(self.idle_timeout),
            Error::Timeout(_) => Fault::new(FaultKind::Timeout, "the operation's deadline has passed"),
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::InvalidProxyUrl
            | Error::ConnectProxyFailed(_) => Fault::new(FaultKind::Connect, error),
            Error::Tls(_) | Error::TlsRequired => Fault::new(FaultKind::Tls, error),
            Error::Io(error) => Self::io_fault(&error),
            Error::Other(error) => match error.downcast::<Fault>() {
                Ok(fault) => *fault,
                Err(error) => Fault::new(FaultKind::Reset, error),
            },
            // Its message contains the URL, whose query may contain a signature.
            Error::BadUri(_) => Fault::new(FaultKind::Connect, "the URL has no host, or an unknown scheme"),
            other => Fault::new(FaultKind::Reset, other),
        }
    }

    fn io_fault(error: &io::Error) -> Fault {
        if let Some(inner) = error.get_ref() {
            if let Some(error) = inner.downcast_ref::<rustls::Error>() {
                return Fault::new(FaultKind::Tls, tls_message(error));
            }
            // From the source of a payload.
            if let Some(fault) = inner.downcast_ref::<Fault>() {
                return fault.clone();
            }
        }
        Fault::new(FaultKind::Reset, error)
    }
}

/// Converts a proxy to one of ureq, with its login.
fn of_ureq(proxy: &Proxy) -> Result<ureq::Proxy, BuildError> {
    let protocol = match proxy.protocol() {
        ProxyProtocol::Http => ureq::ProxyProtocol::Http,
        ProxyProtocol::Https => ureq::ProxyProtocol::Https,
        // The proxy resolves names, which is what `socks5` means elsewhere.
        ProxyProtocol::Socks5 => ureq::ProxyProtocol::Socks5h,
    };
    let mut builder = ureq::Proxy::builder(protocol);
    if let Some(authority) = proxy.uri().authority() {
        builder = builder.host(authority.host()).port(authority.port_u16().unwrap_or_default());
    }
    if let Some(login) = proxy.login() {
        builder = builder.username(&login.username).password(login.password.reveal());
    }
    builder.build().map_err(|_| BuildError::Proxy)
}

/// The address of the server that sent a response, in its extensions. Through a proxy it is unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The time limits of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLimits {
    /// The limit of the whole exchange.
    pub(crate) exchange: Option<Duration>,
    /// The time that the server may take to process the request, besides the idle timeout.
    pub(crate) processing: Duration,
}

fn run(
    agent: &Agent,
    request: Request<impl AsSendBody>,
    time: Option<Duration>,
    head_limit: Duration,
) -> Result<Response<Body>, Error> {
    let configured = agent.configure_request(request).timeout_recv_response(Some(head_limit));
    let configured = if time.is_some() { configured.timeout_global(time) } else { configured };
    agent.run(configured.build())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::connecting::connect_error;
    use oci_proto_common::Settings;

    fn transport() -> Transport {
        let network = Settings::default().proxy(None).unwrap().network().unwrap();
        Transport::new(network, &Limits::default(), Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn only_an_error_of_connecting_is_a_connect_fault() {
        let transport = transport();
        let kind = |error| transport.fault(error).kind();
        let look_up = || Error::Io(io::Error::other("failed to lookup address information"));
        let unreachable = || Error::Io(io::ErrorKind::HostUnreachable.into());
        for error in [look_up(), unreachable()] {
            assert_eq!(kind(error), FaultKind::Reset);
        }
        assert_eq!(kind(connect_error(look_up())), FaultKind::Connect);
        assert_eq!(kind(connect_error(unreachable())), FaultKind::Connect);
        assert_eq!(kind(connect_error(Error::Io(io::ErrorKind::ConnectionReset.into()))), FaultKind::Reset);
        assert_eq!(kind(connect_error(Error::Io(io::ErrorKind::UnexpectedEof.into()))), FaultKind::Reset);
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = Error::Io(io::Error::new(io::ErrorKind::InvalidData, certificate));
        assert_eq!(kind(connect_error(wrapped)), FaultKind::Tls);
    }

    #[test]
    fn a_failure_to_connect_is_a_connect_fault() {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // A label of more than 63 bytes is never looked up.
        for authority in [unused.to_string(), format!("{}.invalid", "x".repeat(64))] {
            let request = Request::get(format!("http://{authority}/")).body(()).unwrap();
            let fault =
                transport().send(request, None, Reach::Anywhere, RequestLimits::default()).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Connect, "{fault}");
        }
    }

    #[test]
    fn messages_contain_no_query() {
        let transport = transport();
        let request = Request::get("ftp://cdn.example/blob?signature=secret").body(()).unwrap();
        let fault = transport.send(request, None, Reach::Anywhere, RequestLimits::default()).unwrap_err();
        assert!(!fault.message().contains("secret"), "{}", fault.message());
    }

    #[test]
    fn a_public_reach_excludes_loopback() {
        let transport = transport();
        for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let request = Request::get(format!("http://{host}:{port}/")).body(()).unwrap();
            let fault = transport.send(request, None, Reach::Public, RequestLimits::default()).unwrap_err();
            assert_eq!(fault.kind(), FaultKind::OutOfReach, "{host}: {fault}");
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "{host} was connected to");
        }
    }
    #[test]
    fn the_address_of_a_server_is_known_on_new_and_kept_connections() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for _ in 0..2 {
                let _ = stream.read(&mut [0; 1000]).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            }
        });
        let transport = transport();
        for host in ["localhost", "LOCALHOST"] {
            let link = Arc::new(Link::default());
            let request = Request::get(format!("http://{host}:{port}/")).body(()).unwrap();
            let send = || transport.send(request, None, Reach::ThisMachine, RequestLimits::default());
            let mut response = link.call(send).unwrap();
            let peer = response.extensions().get().map(|Peer(peer)| peer.is_loopback());
            assert_eq!(peer, Some(true), "{host}");
            assert_eq!(response.body_mut().read_to_string().unwrap(), "ok");
        }
        serving.join().unwrap();
    }

    #[test]
    fn the_address_of_a_server_behind_a_proxy_is_unknown() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1000]).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        });
        let network = Settings::default().proxy(Some(&proxy)).unwrap().network().unwrap();
        let transport = Transport::new(network, &Limits::default(), Duration::from_secs(9)).unwrap();
        let request = Request::get("http://registry.test/").body(()).unwrap();
        let link = Arc::new(Link::default());
        let send = || transport.send(request, None, Reach::Public, RequestLimits::default());
        let response = link.call(send).unwrap();
        assert!(response.extensions().get::<Peer>().is_none());
        serving.join().unwrap();
    }
}
