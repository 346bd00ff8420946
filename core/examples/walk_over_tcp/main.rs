//! Drives the core with only `std::net::TcpStream` and httparse: walks a registry over plain HTTP, or uploads a
//! file as a blob, with one request at a time on one connection.
//!
//! `cargo run -p oci-proto --example walk_over_tcp -- 127.0.0.1:5000/team/app:1`
//! `cargo run -p oci-proto --example walk_over_tcp -- 127.0.0.1:5000/team/app layer.tar`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver does I/O")]

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use connection::{Connection, Contents};
use oci_proto::{Algorithm, Answer, Config, Descriptor, Event, Fault, FaultKind, Hasher, MediaType, OpId};
use oci_proto::{Output, PlainHttp, Question, Reference, Session, Sink, Source, Time, WalkOptions};

pub(crate) mod connection;
mod head;
mod wire;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let reference =
        arguments.next().ok_or("usage: walk_over_tcp HOST:PORT/REPOSITORY:TAG [FILE]")?.parse()?;
    match arguments.next() {
        None => walk(&reference, &mut io::stdout()),
        Some(file) => upload(&reference, file.as_ref(), &mut io::stdout()),
    }
}

/// Prints the tree under a reference.
pub(crate) fn walk(reference: &Reference, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let begin = |session: &mut Session| session.walk(reference, WalkOptions::default());
    drive(begin, &mut Nothing, |event| match event {
        Event::Node(node) => {
            let indent = "  ".repeat(node.depth as usize);
            writeln!(out, "{indent}{} {} {}", node.kind, node.descriptor.digest, node.descriptor.size)
        }
        _ => Ok(()),
    })
}

/// Uploads a file as a blob to the repository of a reference, and prints its descriptor.
pub(crate) fn upload(reference: &Reference, file: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let (mut hasher, mut size, mut chunk) = (Hasher::new(Algorithm::Sha256), 0, [0; 16 << 10]);
    let mut opened = File::open(file)?;
    loop {
        let length = opened.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        hasher.update(&chunk[..length]);
        size += length as u64;
    }
    let blob = Descriptor::new(MediaType::OCTET_STREAM, hasher.finish(), size);
    let begin = |session: &mut Session| session.upload(reference, &blob, None);
    drive(begin, &mut OneFile(file.to_owned()), |event| match event {
        Event::Stored(blob, stored) => writeln!(out, "{} {} {stored:?}", blob.digest, blob.size),
        _ => Ok(()),
    })
}

/// Drives one operation to its end.
fn drive(
    begin: impl FnOnce(&mut Session) -> OpId,
    contents: &mut impl Contents,
    mut report: impl FnMut(Event) -> io::Result<()>,
) -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Always;
    let mut session = Session::new(config, 0);
    let mut connection = Connection::new(Duration::from_secs(30));
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    begin(&mut session);
    loop {
        match session.poll_output(now()) {
            Output::Send(exchange) => {
                let completion = connection.carry(exchange, contents);
                session.complete(now(), completion);
            }
            Output::Ask(query, question) => session.answer(now(), query, answer(&question)),
            Output::Event(_, Event::Done) => return Ok(()),
            Output::Event(_, Event::Failed(error)) => return Err(error.into()),
            Output::Event(_, event) => report(event)?,
            // Each exchange ends before the session is polled again, so nothing can be aborted.
            Output::Abort(_) => {}
            Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now())),
            Output::Wait(None) => unreachable!("every exchange is complete, and every question answered"),
        }
    }
}

/// This driver has no credentials. A walk and an upload ask no other questions.
fn answer(question: &Question) -> Answer {
    match question {
        Question::Credentials(_) => Answer::Credentials(None),
        Question::Held { .. }
        | Question::Store { .. }
        | Question::Document { .. }
        | Question::Referrers { .. }
        | Question::Read { .. } => {
            Answer::Failed(Fault::new(FaultKind::Unsupported, "this driver stores nothing"))
        }
    }
}

/// A walk has neither sinks nor sources: the core keeps its documents.
struct Nothing;

impl Contents for Nothing {
    fn write(&mut self, _: &Sink, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self, _: &Sink) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&mut self, _: &Source) -> io::Result<Box<dyn Read>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The source of an upload.
struct OneFile(PathBuf);

impl Contents for OneFile {
    fn write(&mut self, _: &Sink, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self, _: &Sink) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// An upload that resumes reads another part.
    fn read(&mut self, source: &Source) -> io::Result<Box<dyn Read>> {
        let range = source.read_range();
        let mut file = File::open(&self.0)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Box::new(file.take(range.end - range.start)))
    }
}
