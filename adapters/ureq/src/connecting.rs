//! Tells errors of connections apart: only after an error of connecting is it certain that no request was sent, and
//! a broken connection is not the end of a response.

use std::io::ErrorKind;
use std::sync::Arc;

use oci_proto::{Fault, FaultKind};
use oci_proto_common::Monitor;
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};

use crate::link;

/// A chain of connectors with one time limit, whose I/O errors become faults.
#[derive(Debug)]
pub(crate) struct Connecting<C> {
    pub(crate) chain: C,
    pub(crate) monitor: Arc<Monitor>,
}

impl<In: Transport, C: Connector<In>> Connector<In> for Connecting<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // Some parts of the chain apply the timeout to each read: the response of a proxy, and a TLS handshake.
        let connected = link::within(details.timeout, || self.chain.connect(details, chained));
        if let Ok(Some(_)) = connected {
            self.monitor.connected();
        }
        connected.map_err(connect_error)
    }
}

/// Converts an I/O error of connecting or of a name resolution, which has no error kind, to a fault.
pub(crate) fn connect_error(error: Error) -> Error {
    let Error::Io(error) = error else { return error };
    let fault = match error.kind() {
        // The error of rustls for a connection that ends during the handshake.
        ErrorKind::UnexpectedEof if error.get_ref().is_none() => {
            Fault::new(FaultKind::Reset, "tls handshake eof")
        }
        // The connection broke during a handshake. Other errors of rustls are invalid data.
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::UnexpectedEof
        | ErrorKind::InvalidData => return Error::Io(error),
        _ => Fault::new(FaultKind::Connect, error),
    };
    Error::Other(Box::new(fault))
}

/// Converts the error of a connection that broke while it was read to a fault. ureq takes the error itself for
/// the end of the connection, and so of a body without a length.
pub(crate) fn broken(error: Error) -> Error {
    match error {
        Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof
            ) =>
        {
            Error::Other(Box::new(Fault::new(FaultKind::Reset, error)))
        }
        error => error,
    }
}
