//! The body of the fuzz target `exchange`.

use std::iter;

use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use oci_proto::{Answer, Config, Exchange, Fault, FaultKind, Output, Question, Rest, Session, Time};

use crate::transcript::describe::{describe, describe_question};
use crate::transcript::start::Start;

/// However a body is divided into chunks, and whether it ends or breaks off, the sink receives the same
/// bytes, the instruction for the rest of the body is the same, and the session's next outputs are the same,
/// including the headers of its next request.
///
/// The input is an operation in the notation of transcripts; a line with a status and the sizes of chunks,
/// which are repeated; one line for each header; an empty line; and the body.
pub fn exchange(data: &[u8]) {
    let Some(input) = Input::parse(data) else { return };
    for ending in [Ending::Whole, Ending::Broken] {
        let whole = input.outcome(ending, iter::repeat(usize::MAX));
        assert_eq!(input.outcome(ending, iter::repeat(1)), whole, "byte by byte, {ending:?}");
        assert_eq!(input.outcome(ending, 1..), whole, "in growing chunks, {ending:?}");
        if !input.sizes.is_empty() {
            let sizes = input.sizes.iter().copied().cycle();
            assert_eq!(
                input.outcome(ending, sizes),
                whole,
                "in chunks of {:?} bytes, {ending:?}",
                input.sizes
            );
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Whole,
    Broken,
}

struct Input<'a> {
    start: Start,
    head: response::Parts,
    sizes: Vec<usize>,
    body: &'a [u8],
}

/// The outcome: the sink's offset and bytes, the instruction for the rest of the body, and all outputs of the
/// session up to its next wait.
#[derive(Debug, PartialEq)]
struct Outcome {
    sink: Option<(u64, Vec<u8>)>,
    rest: Option<Rest>,
    said: Vec<String>,
}

impl<'a> Input<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let (start, rest) = line(data)?;
        let (status, mut rest) = line(rest)?;
        let mut numbers = status.split(' ').map(str::parse::<u16>);
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(numbers.next()?.ok()?).ok()?;
        let sizes = numbers.map_while(Result::ok).map(|size| usize::from(size).max(1)).collect();
        loop {
            let (header, after) = line(rest)?;
            rest = after;
            if header.is_empty() {
                return Some(Self { start: Start::parse(start).ok()?, head, sizes, body: rest });
            }
            let (name, value) = header.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            head.headers.try_append(name, HeaderValue::from_str(value.trim()).ok()?).ok()?;
        }
    }

    fn outcome(&self, ending: Ending, sizes: impl Iterator<Item = usize>) -> Outcome {
        let mut session = Session::new(Config::default(), 1);
        self.start.clone().begin(&mut session);
        let mut outcome = Outcome { sink: None, rest: None, said: Vec::new() };
        // A digest of an unknown algorithm and embedded content need no request.
        let Some(exchange) = next_exchange(&mut session, &mut outcome.said) else { return outcome };
        let (status, headers) = (self.head.status, self.head.headers.clone());
        let mut receiving = exchange.split().2.head(status, headers);
        if let Some(sink) = receiving.sink() {
            outcome.sink = Some((sink.offset, Vec::new()));
        }
        let mut rest = self.body;
        for size in sizes {
            if rest.is_empty() || receiving.rest() != Rest::Wanted {
                break;
            }
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            rest = after;
            let Ok(delivered) = receiving.push(chunk) else { break };
            match &mut outcome.sink {
                Some((_, sink)) => sink.extend_from_slice(&chunk[delivered]),
                None => assert!(delivered.is_empty(), "bytes without a sink"),
            }
        }
        outcome.rest = Some(receiving.rest());
        let completion = match ending {
            Ending::Broken if receiving.rest() == Rest::Wanted => {
                receiving.fail(Fault::new(FaultKind::Reset, "from the input"))
            }
            _ => receiving.finish(),
        };
        session.complete(Time::ZERO, completion);
        while let Some(exchange) = next_exchange(&mut session, &mut outcome.said) {
            let head = exchange.request();
            outcome.said.push(format!("{} {} {:?}", head.method(), head.uri(), head.headers()));
        }
        outcome
    }
}

/// Splits off the next line.
fn line(data: &[u8]) -> Option<(&str, &[u8])> {
    let end = data.iter().position(|b| *b == b'\n')?;
    let (line, rest) = data.split_at(end);
    Some((str::from_utf8(line).ok()?, rest.get(1..)?))
}

/// The next request, if there is one before the session waits, and the outputs before it.
fn next_exchange(session: &mut Session, said: &mut Vec<String>) -> Option<Exchange> {
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => return Some(exchange),
            Output::Event(_, event) => said.push(describe(&event)),
            Output::Ask(query, question) => {
                said.push(describe_question(&question));
                if matches!(question, Question::Store { .. }) {
                    session.answer(Time::ZERO, query, Answer::Stored);
                }
            }
            Output::Wait(until) => {
                said.push(format!("wait {until:?}"));
                return None;
            }
            Output::Abort(id) => said.push(format!("abort {id:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(input: &str, ending: Ending) -> Outcome {
        exchange(input.as_bytes());
        let input = Input::parse(input.as_bytes()).expect("an input");
        input.outcome(ending, iter::repeat(2))
    }

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn outcomes_reflect_the_response() {
        let blob = format!("blob r.example/a@{DIGEST} size=3\n200 1 2\n\n");
        assert_eq!(outcome(&format!("{blob}abc"), Ending::Whole).said, ["done", "wait None"]);
        let broken = outcome(&format!("{blob}ab"), Ending::Broken);
        assert_eq!(broken.sink, Some((0, b"ab".to_vec())));
        assert!(broken.said[0].starts_with("retry 1 after "), "{broken:?}");
        let wrong = outcome(&format!("{blob}abd"), Ending::Whole);
        assert!(wrong.said[0].starts_with("failed "), "{wrong:?}");
        let longer = outcome(&format!("{blob}abcd"), Ending::Whole);
        assert!(longer.said[0].contains("is longer than 3 bytes"), "{longer:?}");
        let elsewhere = outcome("manifest r.example/a:1\n307\nlocation: /b\n\n", Ending::Whole);
        assert!(elsewhere.said[0].starts_with("GET https://r.example/b "), "{elsewhere:?}");
    }
}
