//! The responses to exchanges, answers and faults as text.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::auth::credentials::Credentials;
use crate::error::fault::{Fault, FaultKind};
use crate::op::ask::Held;
use crate::record::lines::{
    Lines, Words, escaped, parsed, read_base64, read_text, shown, unescaped, unescaped_text, word,
};
use crate::record::options::{Line, descriptor};
use crate::record::secrets::Secrets;
use crate::session::output::Answer;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Hasher;
use crate::types::secret::Secret;
use crate::wire::exchange::transcript::{RecordedBody, Transcript};

/// Returns a fault without secrets as text: its kind and its message.
pub(super) fn fault(fault: &Fault) -> String {
    let kind = fault.kind().as_str();
    format!("{kind} {}", escaped(fault.message().as_bytes()))
}

/// Reads a fault.
pub(super) fn read_fault(text: &str) -> Result<Fault, String> {
    let (kind, message) = text.split_once(' ').unwrap_or((text, ""));
    let kind = FaultKind::named(kind).ok_or_else(|| format!("`{}` is not a kind of fault", shown(kind)))?;
    Ok(Fault::new(kind, unescaped_text(message)?))
}

/// Returns the text of a transcript without secrets.
pub(super) fn write(number: u64, transcript: &Transcript) -> Lines {
    let Transcript { sent, wrong_source, head, is_private, body, fault: ended, url: _ } = transcript;
    let mut lines = match (head, ended) {
        (Some((status, _)), _) => Lines::new(&format!("< [{number}] {}", status.as_u16())),
        (None, Some(ended)) => Lines::new(&format!("fault [{number}] {}", fault(ended))),
        (None, None) => Lines::new(&format!("fault [{number}]")),
    };
    for (name, value) in head.iter().flat_map(|(_, headers)| headers) {
        lines.detail(&format!("{name}: {}", escaped(value.as_bytes())));
    }
    if *is_private {
        lines.detail("private");
    }
    if *sent > 0 {
        lines.detail(&format!("sent {sent}"));
    }
    if let Some(digest) = wrong_source {
        lines.detail(&format!("wrong-source {digest}"));
    }
    if let (Some(_), Some(ended)) = (head, ended) {
        lines.detail(&format!("cut {}", fault(ended)));
    }
    match body {
        RecordedBody::Unread => {}
        RecordedBody::Refusal(bytes) => text_body(&mut lines, "error", bytes),
        RecordedBody::Token(bytes) => text_body(&mut lines, "token", bytes),
        RecordedBody::Document(bytes) => text_body(&mut lines, "document", bytes),
        RecordedBody::Blob { length, digest, bytes: None } => {
            lines.detail(&format!("blob {length} {digest}"));
        }
        RecordedBody::Blob { length, digest, bytes: Some(bytes) } => {
            lines.detail(&format!("blob {length} {digest} base64"));
            lines.base64(bytes);
        }
    }
    lines
}

fn text_body(lines: &mut Lines, kind: &str, bytes: &[u8]) {
    lines.detail(kind);
    lines.text(bytes);
}

/// Reads a transcript: the status, or the fault if there is no response, and the lines below.
pub(super) fn read(status: Option<&str>, ended: &str, details: &[String]) -> Result<Transcript, String> {
    let mut transcript = Transcript {
        sent: 0,
        wrong_source: None,
        head: None,
        is_private: false,
        body: RecordedBody::Unread,
        fault: Some(ended).filter(|text| !text.is_empty()).map(read_fault).transpose()?,
        url: None,
    };
    let status = status.map(|text| parsed::<StatusCode>(text, "a status")).transpose()?;
    let mut headers = HeaderMap::new();
    let mut rest = details.iter();
    while let Some(line) = rest.next() {
        let (first, value) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(name) = first.strip_suffix(':') {
            let name: HeaderName = parsed(name, "the name of a header")?;
            let value = HeaderValue::from_bytes(&unescaped(value)?);
            headers.append(name, value.map_err(|_| "this is not the value of a header")?);
            continue;
        }
        let body = rest.as_slice();
        match first {
            "private" => transcript.is_private = true,
            "sent" => transcript.sent = parsed(value, "a number of bytes")?,
            "wrong-source" => transcript.wrong_source = Some(parsed(value, "a digest")?),
            "cut" => transcript.fault = Some(read_fault(value)?),
            "error" => transcript.body = RecordedBody::Refusal(read_text(body)?),
            "token" => transcript.body = RecordedBody::Token(read_text(body)?),
            "document" => transcript.body = RecordedBody::Document(read_text(body)?),
            "blob" => transcript.body = read_blob(value, body)?,
            other => return Err(format!("`{}` is not a part of a response", shown(other))),
        }
        // The body is the last part.
        if !matches!(transcript.body, RecordedBody::Unread) {
            break;
        }
    }
    transcript.head = status.map(|status| (status, headers));
    Ok(transcript)
}

fn read_blob(text: &str, body: &[String]) -> Result<RecordedBody, String> {
    let mut words = Words::new(text);
    let (length, digest) = (words.first("a length")?, words.first("a digest")?);
    let has_bytes = words.has("base64");
    words.end()?;
    if !has_bytes && !body.is_empty() {
        return Err("a blob with bytes is marked `base64`".to_owned());
    }
    let bytes = has_bytes.then(|| read_base64(body)).transpose()?;
    match &bytes {
        Some(bytes) if bytes.len() as u64 != length => Err(format!("the blob has {} bytes", bytes.len())),
        _ => Ok(RecordedBody::Blob { length, digest, bytes }),
    }
}

/// Returns the text of an answer, with names in place of secrets.
pub(super) fn write_answer(secrets: &mut Secrets, query: u64, answer: &Answer) -> Lines {
    match answer {
        Answer::Credentials(found) => {
            let found = found.as_ref().map(|found| secrets.credentials(found));
            let login = match &found {
                None => "none".to_owned(),
                Some(Credentials::Basic { username, password }) => {
                    format!("as {} {}", word(username), word(password.reveal()))
                }
                Some(Credentials::Identity(token)) => format!("identity {}", word(token.reveal())),
                Some(Credentials::Bearer(token)) => format!("bearer {}", word(token.reveal())),
            };
            Lines::new(&format!("login [{query}] {login}"))
        }
        Answer::Held(held) => match held {
            Held::Nothing => Lines::new(&format!("held [{query}] nothing")),
            Held::Whole => Lines::new(&format!("held [{query}] whole")),
            Held::Part { offset, hasher } => {
                Lines::new(&format!("held [{query}] part {offset} {}", hasher.clone().finish()))
            }
            Held::Document(bytes) => with_text(&format!("held [{query}] document"), bytes),
        },
        Answer::Stored => Lines::new(&format!("stored [{query}]")),
        Answer::Document(bytes) => with_text(&format!("supply [{query}]"), bytes),
        Answer::Referrers(referrers) => {
            let mut lines = Lines::new(&format!("referrers [{query}]"));
            for referrer in referrers {
                let mut line = Line::default();
                line.descriptor(referrer);
                lines.detail(&line.into_text());
            }
            lines
        }
        Answer::Read { bytes, is_last } => {
            let last = if *is_last { " last" } else { "" };
            let mut lines = Lines::new(&format!("read [{query}]{last}"));
            lines.base64(bytes);
            lines
        }
        Answer::Failed(failed) => Lines::new(&format!("failed [{query}] {}", fault(&secrets.fault(failed)))),
    }
}

fn with_text(line: &str, bytes: &Bytes) -> Lines {
    let mut lines = Lines::new(line);
    lines.text(bytes);
    lines
}

/// Reads an answer: its verb, the line after its number, and the lines below. Returns `None` for any other verb.
pub(super) fn read_answer(verb: &str, text: &str, details: &[String]) -> Result<Option<Answer>, String> {
    Ok(Some(match verb {
        "login" => Answer::Credentials(read_login(text)?),
        "held" => Answer::Held(read_held(text, details)?),
        "stored" => Answer::Stored,
        "supply" => Answer::Document(read_text(details)?),
        "referrers" => {
            Answer::Referrers(details.iter().map(|line| read_referrer(line)).collect::<Result<_, _>>()?)
        }
        "read" => Answer::Read { bytes: read_base64(details)?, is_last: text == "last" },
        "failed" => Answer::Failed(read_fault(text)?),
        _ => return Ok(None),
    }))
}

fn read_referrer(line: &str) -> Result<Descriptor, String> {
    let mut words = Words::new(line);
    let referrer = descriptor(&mut words)?;
    words.end()?;
    Ok(referrer)
}

fn read_login(text: &str) -> Result<Option<Credentials>, String> {
    let words = text.split(' ').map(unescaped_text).collect::<Result<Vec<_>, _>>()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["none"] => Ok(None),
        ["as", username, password] => {
            Ok(Some(Credentials::Basic { username: username.to_owned(), password: Secret::from(password) }))
        }
        ["identity", token] => Ok(Some(Credentials::Identity(token.into()))),
        ["bearer", token] => Ok(Some(Credentials::Bearer(token.into()))),
        _ => Err("a login is `none`, `as USER PASSWORD`, `identity TOKEN` or `bearer TOKEN`".to_owned()),
    }
}

fn read_held(text: &str, details: &[String]) -> Result<Held, String> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["nothing"] => Ok(Held::Nothing),
        ["whole"] => Ok(Held::Whole),
        ["part", offset, digest] => Ok(Held::Part {
            offset: parsed(offset, "a number of bytes")?,
            hasher: Hasher::assumed(parsed(digest, "a digest")?),
        }),
        ["document"] => Ok(Held::Document(read_text(details)?)),
        _ => Err("held content is `nothing`, `whole`, `part N DIGEST` or `document`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::digest::{Algorithm, Digest};

    #[test]
    fn each_part_of_a_transcript_is_read_back() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        for (body, shown) in [
            (RecordedBody::Unread, String::new()),
            (RecordedBody::Refusal(Bytes::from_static(b"no")), "  error\n  |no\n".to_owned()),
            (RecordedBody::Token(Bytes::from_static(b"{}")), "  token\n  |{}\n".to_owned()),
            (RecordedBody::Document(Bytes::from_static(b"{}")), "  document\n  |{}\n".to_owned()),
            (
                RecordedBody::Blob { length: 3, digest: digest.clone(), bytes: None },
                format!("  blob 3 {digest}\n"),
            ),
            (
                RecordedBody::Blob { length: 3, digest: digest.clone(), bytes: Some("abc".into()) },
                format!("  blob 3 {digest} base64\n  |YWJj\n"),
            ),
        ] {
            let mut transcript = Transcript::answered(StatusCode::OK, HeaderMap::new(), body);
            (transcript.sent, transcript.wrong_source) = (5, Some(digest.clone()));
            transcript.is_private = true;
            transcript.fault = Some(Fault::new(FaultKind::Storage, "wrong\ncontent"));
            let cut = "  cut storage wrong\\u{a}content\n";
            let text = format!("< [7] 200\n  private\n  sent 5\n  wrong-source {digest}\n{cut}{shown}");
            assert_eq!(write(7, &transcript).0, text);
            assert_eq!(read(Some("200"), "", &details(&text)), Ok(transcript));
        }
        let mut transcript = Transcript::failed(Fault::new(FaultKind::Storage, "wrong content"));
        (transcript.sent, transcript.wrong_source) = (5, Some(digest.clone()));
        let text = format!("fault [7] storage wrong content\n  sent 5\n  wrong-source {digest}\n");
        assert_eq!(write(7, &transcript).0, text);
        assert_eq!(read(None, "storage wrong content", &details(&text)), Ok(transcript));
    }

    #[test]
    fn referrers_are_read_back() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let text = format!(
            "referrers [7]\n  type=a/b digest={digest} size=3\n  \
             type=c/d digest={digest} size=3 of-platform=linux/ARM64 artifact-type=e/f data=YWJj\n"
        );
        let answer = read_answer("referrers", "", &details(&text)).unwrap().unwrap();
        assert_eq!(write_answer(&mut Secrets::new(), 7, &answer).0, text);
        let Answer::Referrers(referrers) = answer else { panic!("{answer:?}") };
        assert_eq!(referrers[1].data.as_deref(), Some(&b"abc"[..]));
        for line in ["", "type=a/b", "type=a/b digest=x size=3", &format!("{} x", details(&text)[0])] {
            assert!(read_answer("referrers", "", &[line.to_owned()]).is_err(), "{line}");
        }
    }

    #[test]
    fn each_kind_of_fault_is_read_back() {
        for kind in FaultKind::ALL {
            let broken = Fault::new(kind, "a\nmessage");
            assert_eq!(read_fault(&fault(&broken)), Ok(broken));
        }
        assert!(read_fault("laughter a message").is_err());
    }

    fn details(text: &str) -> Vec<String> {
        text.lines().skip(1).map(|line| line.trim_start_matches("  ").to_owned()).collect()
    }
}
