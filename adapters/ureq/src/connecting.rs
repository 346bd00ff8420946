//! Tells errors of connecting apart from others: only after them is it certain that no request was sent.

use std::io::ErrorKind;

use oci_proto::{Fault, FaultKind};
use ureq::Error;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport};

/// A chain of connectors whose I/O errors become faults.
#[derive(Debug)]
pub(crate) struct Connecting<C>(pub(crate) C);

impl<In: Transport, C: Connector<In>> Connector<In> for Connecting<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(connect_error)
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
