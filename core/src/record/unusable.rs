//! Masked copies of header values that a session cannot use. They stay unusable for the same reason.

use http::HeaderValue;

/// Returns this text as a header value, or a masked copy of the original.
pub(super) fn header_value(text: &str, original: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| masked_value(original, masked_url))
}

/// Returns a masked copy of an unusable header value. Outputs report only the position of its error.
pub(super) fn masked_value(value: &HeaderValue, masked: impl Fn(&[u8]) -> Vec<u8>) -> HeaderValue {
    // The mask is valid in a header if the original is.
    HeaderValue::from_bytes(&masked(value.as_bytes())).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns an unusable URL with the letters and digits of its user name, query and fragment masked. Length
/// and punctuation are kept.
pub(super) fn masked_url(value: &[u8]) -> Vec<u8> {
    let query = value.iter().position(|byte| b"?#".contains(byte)).unwrap_or(value.len());
    let user = value.windows(2).position(|pair| pair == b"//").map_or(0, |at| at + 2);
    // A password may contain any character.
    let host = value[..query].iter().rposition(|byte| *byte == b'@').unwrap_or(0);
    masked(value, |at| at > query || (user..host).contains(&at))
}

/// Returns unusable links with all letters and digits masked. Length and punctuation are kept.
pub(super) fn masked_links(value: &[u8]) -> Vec<u8> {
    masked(value, |_| true)
}

/// Returns unusable challenges with the letters and digits of their credentials and of the values of their
/// parameters masked. Length and punctuation are kept, and so are the schemes and the names of parameters.
pub(super) fn masked_challenges(value: &[u8]) -> Vec<u8> {
    let is_text = |byte: u8| !byte.is_ascii_whitespace() && !b",=\"".contains(&byte);
    let mut is_public = vec![false; value.len()];
    let (mut at, mut is_first) = (0, true);
    while let Some(byte) = value.get(at) {
        if *byte == b'"' {
            at += 1;
            while value.get(at).is_some_and(|byte| *byte != b'"') {
                at += if value[at] == b'\\' { 2 } else { 1 };
            }
            at += 1;
            is_first = false;
        } else if is_text(*byte) {
            let length = value[at..].iter().position(|byte| !is_text(*byte)).unwrap_or(value.len() - at);
            let end = at + length;
            // A name is followed by a value, a token68 at most by padding.
            let after = value[end..].trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
            let is_name = after.and_then(<[u8]>::first).is_some_and(|byte| !b",=".contains(byte));
            is_public[at..end].fill(is_first || is_name);
            at = end;
            is_first = false;
        } else {
            is_first |= *byte == b',';
            at += 1;
        }
    }
    masked(value, |at| !is_public[at])
}

fn masked(value: &[u8], is_secret: impl Fn(usize) -> bool) -> Vec<u8> {
    let mask = |(at, byte): (usize, &u8)| {
        if byte.is_ascii_alphanumeric() && is_secret(at) { b'x' } else { *byte }
    };
    value.iter().enumerate().map(mask).collect()
}
