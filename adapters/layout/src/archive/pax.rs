//! The records of a pax extended header.
//!
//! The parser of the crate `tar` splits them at line breaks, which binary values, such as those of extended
//! attributes, may contain.
//!
//! Source: POSIX.1-2017, pax, "pax Extended Header".

/// The properties of a member that matter for reading it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Whether the member is a sparse file of GNU tar.
    pub(super) is_sparse: bool,
}

impl Pax {
    /// Parses the records; `None` if one of them is invalid.
    pub(super) fn parse(mut records: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        let mut sparse_path = None;
        while !records.is_empty() {
            let (key, value) = next_record(&mut records)?;
            match key {
                b"path" => pax.path = Some(value.to_owned()).filter(|path| !path.is_empty()),
                // An empty value restores that of the header.
                b"size" if value.is_empty() => pax.size = None,
                b"size" => pax.size = Some(decimal(value)?),
                b"GNU.sparse.name" => sparse_path = Some(value.to_owned()),
                _ => {}
            }
            pax.is_sparse |= key.starts_with(b"GNU.sparse.");
        }
        pax.path = sparse_path.or(pax.path);
        Some(pax)
    }
}

/// Takes one record off: its length in decimal, a space, a key, an equals sign, a value, and a line break.
fn next_record<'a>(records: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    *records = rest;
    Some((&pair[..equals], &pair[equals + 1..]))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` accepts a sign.
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pax(path: Option<&str>, size: Option<u64>, is_sparse: bool) -> Pax {
        Pax { path: path.map(|path| path.as_bytes().to_owned()), size, is_sparse }
    }

    #[test]
    fn records_are_read_by_their_length() {
        for (records, expected) in [
            (&b""[..], pax(None, None, false)),
            (b"9 path=a\n", pax(Some("a"), None, false)),
            (b"9 path=a\n9 path=b\n", pax(Some("b"), None, false)),
            (b"9 path=a\n8 path=\n", pax(None, None, false)),
            (b"12 size=123\n", pax(None, Some(123), false)),
            (b"12 size=123\n8 size=\n", pax(None, None, false)),
            // A value with line breaks, and with what looks like a record.
            (b"33 SCHILY.xattr.a=\n12 size=123\n\xff\n9 path=a\n", pax(Some("a"), None, false)),
            (b"22 GNU.sparse.major=1\n", pax(None, None, true)),
            (b"9 path=a\n21 GNU.sparse.name=b\n", pax(Some("b"), None, true)),
        ] {
            assert_eq!(Pax::parse(records), Some(expected), "{}", records.escape_ascii());
        }
    }

    #[test]
    fn invalid_records_are_refused() {
        for records in [
            &b"32 SCHILY.xattr.a=\n12 size=123\n\xff\n9 path=a\n"[..],
            b"34 SCHILY.xattr.a=\n12 size=123\n\xff\n9 path=a\n",
            b"path=a\n",
            b"9 path=a",
            b"8 path=a\n",
            b"11 path=a\n",
            b"0 path=a\n",
            b"2 ",
            b"3 \n",
            b"+9 path=a\n",
            b"11 size=-1\n",
            b"11 size=+1\n",
            b"29 size=99999999999999999999\n",
            b"99999999999999999999999 path=a\n",
            b"18446744073709551615 path=a\n",
        ] {
            assert_eq!(Pax::parse(records), None, "{}", records.escape_ascii());
        }
    }
}
