//! The head of an HTTP/1.1 response, and the framing of its body.

use std::fmt;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::Status;
use oci_proto::{Fault, FaultKind};

pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Whether the version is HTTP/1.1, not 1.0.
    is_latest: bool,
}

/// The framing of a body (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes are left.
    Length(u64),
    /// The body ends when the connection is closed.
    UntilClosed,
    /// Chunked; the next line has the size of a chunk.
    ChunkSize,
    /// Chunked; this many bytes of the chunk are left, followed by CRLF.
    Chunk(u64),
    /// Chunked; only trailers are left.
    Trailers,
}

impl Head {
    /// Parses a head, if it is complete. Also returns its length.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut head = httparse::Response::new(&mut fields);
        let Status::Complete(length) = head.parse(bytes).map_err(broken)? else { return Ok(None) };
        let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(broken)?;
        let mut headers = HeaderMap::new();
        for field in head.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(broken)?;
            headers.append(name, HeaderValue::from_bytes(field.value).map_err(broken)?);
        }
        Ok(Some((length, Self { status, headers, is_latest: head.version == Some(1) })))
    }

    /// Returns whether the connection may be reused.
    pub(crate) fn keeps_open(&self) -> bool {
        let is_ambiguous =
            self.headers.contains_key(TRANSFER_ENCODING) && self.headers.contains_key(CONTENT_LENGTH);
        let closes = self.tokens(&CONNECTION).any(|token| token.eq_ignore_ascii_case("close"));
        self.is_latest && !is_ambiguous && !closes && !self.status.is_informational()
    }

    /// Returns the framing of the body in a response to `method`.
    pub(crate) fn framing(&self, method: &Method) -> Result<Framing, Fault> {
        let has_none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&self.status);
        if *method == Method::HEAD || has_none || self.status.is_informational() {
            return Ok(Framing::Length(0));
        }
        if self.headers.contains_key(TRANSFER_ENCODING) {
            let is_chunked = self.tokens(&TRANSFER_ENCODING).map(str::to_ascii_lowercase).eq(["chunked"]);
            return if is_chunked {
                Ok(Framing::ChunkSize)
            } else {
                Err(broken("an unknown transfer coding"))
            };
        }
        let mut lengths = self.tokens(&CONTENT_LENGTH);
        let Some(length) = lengths.next() else { return Ok(Framing::UntilClosed) };
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
        match length.parse() {
            Ok(number) if is_number && lengths.all(|other| other == length) => Ok(Framing::Length(number)),
            _ => Err(broken("an unusable Content-Length")),
        }
    }

    /// Returns the elements of a list header. A value that is not text is an empty element.
    fn tokens(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        let lines = self.headers.get_all(name).iter();
        lines.flat_map(|line| line.to_str().unwrap_or_default().split(',').map(str::trim))
    }
}

impl Framing {
    /// Parses the bytes between the data of two chunks, if they are complete. Returns their length.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let (length, next) = match self {
            Self::Chunk(0) if bytes.len() < 2 => return Ok(None),
            Self::Chunk(0) if bytes.starts_with(b"\r\n") => (2, Self::ChunkSize),
            Self::ChunkSize => match httparse::parse_chunk_size(bytes).map_err(broken)? {
                Status::Complete((length, 0)) => (length, Self::Trailers),
                Status::Complete((length, size)) => (length, Self::Chunk(size)),
                Status::Partial => return Ok(None),
            },
            Self::Trailers => {
                match httparse::parse_headers(bytes, &mut [httparse::EMPTY_HEADER; 100]).map_err(broken)? {
                    Status::Complete((length, _)) => (length, Self::Length(0)),
                    Status::Partial => return Ok(None),
                }
            }
            Self::Chunk(_) | Self::Length(_) | Self::UntilClosed => return Err(broken("a chunk has no end")),
        };
        *self = next;
        Ok(Some(length))
    }
}

/// Creates the fault for a response that is not valid HTTP.
pub(crate) fn broken(why: impl fmt::Display) -> Fault {
    Fault::new(FaultKind::Reset, why)
}
