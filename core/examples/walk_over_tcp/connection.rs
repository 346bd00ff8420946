//! Carries out exchanges over one connection. This file implements the duties of a driver from the core's
//! manual; `wire.rs` implements the framing of HTTP.

use std::io::{self, Read};
use std::time::Duration;

use http::{Request, Uri};
use oci_proto::{Awaiting, Completion, Exchange, Fault, FaultKind, Payload, Receiving, Rest, Sending};
use oci_proto::{Sink, Source};

use super::head::{Framing, Head};
use super::wire::Wire;

/// The sinks and sources of the driver.
pub(crate) trait Contents {
    /// Writes bytes at the sink's offset. Truncates the sink to the offset first if it is longer.
    fn write(&mut self, sink: &Sink, bytes: &[u8]) -> io::Result<()>;
    /// Makes all written bytes visible to the rest of the program.
    fn flush(&mut self, sink: &Sink) -> io::Result<()>;
    /// Opens exactly the range of the source.
    fn read(&mut self, source: &Source) -> io::Result<Box<dyn Read>>;
}

/// A connection that is opened on demand and reused while it is healthy.
pub(crate) struct Connection {
    kept: Option<Wire>,
    silence: Duration,
}

impl Connection {
    /// `silence` is the timeout of a connection attempt, and of a read or write without progress. There is no
    /// total timeout.
    pub(crate) fn new(silence: Duration) -> Self {
        Self { kept: None, silence }
    }

    /// Carries out one exchange. A failure becomes the fault of its completion.
    pub(crate) fn carry(&mut self, exchange: Exchange, contents: &mut dyn Contents) -> Completion {
        let (request, sending, mut awaiting) = exchange.split();
        // The connection is closed unless it is put back.
        let answered = self.wire(request.uri(), &mut awaiting).and_then(|mut wire| {
            let head = ask(&mut wire, &request, sending, contents)?;
            let framing = head.framing(request.method())?;
            Ok((wire, head, framing))
        });
        let (mut wire, head, framing) = match answered {
            Ok(answered) => answered,
            Err(fault) => return awaiting.fail(fault),
        };
        wire.is_in_order &= head.keeps_open();
        let mut receiving = awaiting.head(head.status, head.headers);
        if let Err(fault) = receive(&mut wire, &mut receiving, framing, contents) {
            return receiving.fail(fault);
        }
        self.kept = Some(wire).filter(|wire| wire.is_in_order);
        receiving.finish()
    }

    /// Returns the kept connection if it is to the URL's host, or else a new one.
    fn wire(&mut self, uri: &Uri, awaiting: &mut Awaiting) -> Result<Wire, Fault> {
        if uri.scheme_str() != Some("http") {
            return Err(Fault::new(FaultKind::Unsupported, "this example speaks plain http only"));
        }
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let address = if uri.port().is_some() { host.to_owned() } else { format!("{host}:80") };
        let Some(kept) = self.kept.take().filter(|wire| wire.address == address) else {
            return Wire::open(address, self.silence, |ip| awaiting.connected(ip));
        };
        // If the server has closed it meanwhile, nothing was sent, and the session may retry any request.
        let peer = kept.peer().map_err(|error| Fault::new(FaultKind::NotSent, error))?;
        awaiting.connected(peer.ip())?;
        Ok(kept)
    }
}

/// Sends the request and reads the head of its final response.
fn ask(
    wire: &mut Wire,
    request: &Request<Payload>,
    sending: Option<Sending>,
    contents: &mut dyn Contents,
) -> Result<Head, Fault> {
    let mut payload: Box<dyn Read + '_> = match request.body() {
        Payload::Empty => Box::new(io::empty()),
        Payload::Bytes(bytes) => Box::new(&bytes[..]),
        Payload::Source(source) => contents.read(source).map_err(storage)?,
    };
    wire.start(request.method(), request.uri(), request.headers())?;
    if let Some(sending) = sending
        && let Some(head) = send(wire, &mut payload, sending)?
    {
        // The payload is incomplete, so no other request can follow.
        wire.is_in_order = false;
        return Ok(head);
    }
    loop {
        match wire.final_head()? {
            Some(head) => return Ok(head),
            None => wire.fill()?,
        }
    }
}

/// Sends the payload. Returns the head of the final response if it arrives before the whole payload is sent.
fn send(wire: &mut Wire, payload: &mut dyn Read, mut sending: Sending) -> Result<Option<Head>, Fault> {
    let mut chunk = [0; 16 << 10];
    loop {
        let length = payload.read(&mut chunk).map_err(storage)?;
        if length == 0 {
            sending.finish()?;
            return Ok(None);
        }
        wire.read_ready()?;
        if let Some(head) = wire.final_head()? {
            return Ok(Some(head));
        }
        // A rejected chunk must not be sent.
        let payload = sending.push(&chunk[..length])?;
        if wire.write(&chunk[payload]).is_err() {
            // A server often sends a response before it closes its side.
            wire.is_in_order = false;
            return Ok(None);
        }
    }
}

/// Reads the body as far as it is wanted, and writes it to its sink.
fn receive(
    wire: &mut Wire,
    receiving: &mut Receiving,
    mut body: Framing,
    contents: &mut dyn Contents,
) -> Result<(), Fault> {
    while receiving.rest() == Rest::Wanted {
        // Cloned before `push`, which moves the offset.
        let sink = receiving.sink().cloned();
        let Some(chunk) = wire.body(&mut body)? else {
            // The framed end. The exchange may finish only now, after everything is written.
            return sink.map_or(Ok(()), |sink| contents.flush(&sink).map_err(storage));
        };
        // If the chunk is refused, `rest` has changed.
        if let (Ok(range), Some(sink)) = (receiving.push(&chunk), sink) {
            contents.write(&sink, &chunk[range]).map_err(storage)?;
        }
    }
    wire.is_in_order &= match receiving.rest() {
        Rest::Drain(most) => drain(wire, body, most),
        Rest::Wanted | Rest::Close => false,
    };
    Ok(())
}

/// Drains the body. Returns whether it ended within `most` bytes. A failure does not affect the exchange.
fn drain(wire: &mut Wire, mut body: Framing, most: u64) -> bool {
    let mut left = most;
    while body != Framing::UntilClosed {
        match wire.body(&mut body) {
            Ok(None) => return true,
            Ok(Some(chunk)) if chunk.len() as u64 <= left => left -= chunk.len() as u64,
            Ok(Some(_)) | Err(_) => break,
        }
    }
    false
}

fn storage(error: io::Error) -> Fault {
    Fault::new(FaultKind::Storage, error)
}
