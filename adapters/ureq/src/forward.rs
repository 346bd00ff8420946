//! Requests in absolute-form to an HTTP proxy (RFC 9112, section 3.2.2), which ureq lacks: it opens a tunnel for
//! `http` URLs, too, which many proxies refuse.

use std::sync::Arc;

use oci_proto_common::{Proxies, Route};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};

use crate::tcp::Tcp;
use crate::tls::Tls;

/// Connects to the proxy that receives requests to a URL in absolute-form, if there is one.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) proxies: Arc<Proxies>,
    /// For a proxy with TLS.
    pub(crate) tls: Tls,
}

impl<In: Transport> Connector<In> for Forward {
    type Out = Either<In, Forwarded>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let (Route::Forward(proxy), Some(_)) = (self.proxies.route(details.uri), details.config.proxy())
        else {
            // Another route, or the connection to a proxy itself.
            return Ok(None);
        };
        let origin = format!("http://{}", details.uri.authority().map_or("", |authority| authority.as_str()));
        let addrs = details.resolver.resolve(proxy.uri(), details.config, details.timeout)?;
        let details = ConnectionDetails {
            uri: proxy.uri(),
            addrs,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let transport = Tcp.connect(&details, None::<()>)?;
        let transport = self.tls.connect(&details, transport)?;
        let forwarded = |transport: Box<dyn Transport>| Forwarded { transport, origin, is_writing: false };
        Ok(transport.map(|transport| Either::B(forwarded(transport.boxed()))))
    }
}

/// A connection to a proxy for requests to one origin.
#[derive(Debug)]
pub(crate) struct Forwarded {
    transport: Box<dyn Transport>,
    /// What precedes the path of a URL.
    origin: String,
    /// Whether a request was begun since the last read. The first bytes of a request contain its whole first line.
    is_writing: bool,
}

impl Transport for Forwarded {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.is_writing {
            return self.transport.transmit_output(amount, timeout);
        }
        self.is_writing = true;
        let output = self.transport.buffers().output();
        let room = output.len();
        let mut request = output[..amount].to_vec();
        let path = request.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
        request.splice(path..path, self.origin.bytes());
        for part in request.chunks(room) {
            self.transport.buffers().output()[..part.len()].copy_from_slice(part);
            self.transport.transmit_output(part.len(), timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.is_writing = false;
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}
