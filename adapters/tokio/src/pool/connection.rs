//! A new connection.

use hyper::client::conn::http1;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;

use crate::connector::Stream;
use crate::fault::BoxError;
use crate::pool::exclusive::Exclusive;
use crate::pool::failed::End;
use crate::pool::shared::Shared;

/// A connection that is ready for requests.
pub(crate) enum Connection {
    Exclusive(Exclusive),
    Shared(Shared),
}

impl Connection {
    /// Speaks the HTTP that the two sides agreed on, and spawns the task that drives the connection.
    pub(crate) async fn open(stream: MaybeHttpsStream<Stream>) -> Result<Self, BoxError> {
        let connected = stream.connected();
        if connected.is_negotiated_h2() {
            return Ok(Self::Shared(Shared::open(stream).await?));
        }
        let (sender, connection) = http1::Builder::new().handshake(stream).await?;
        Ok(Self::Exclusive(Exclusive::new(sender, connected, End::of(connection))))
    }
}
