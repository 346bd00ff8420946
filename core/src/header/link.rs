//! Link: the next page of a list.

use std::fmt;

use crate::header::cursor::{Cursor, MAX_ELEMENTS, write_quoted};
use crate::header::error::InvalidHeader;

/// A link to another resource, with its relation types.
///
/// The target is an unresolved URI reference; see [`resolve`](super::resolve).
///
/// Source: RFC 8288, section 3; distribution-spec end-8b and end-12b, which use it to name the next page.
///
/// ```
/// use oci_proto::header::Link;
///
/// let links = Link::parse(br#"</v2/_catalog?last=b&n=2>; rel="next""#)?;
/// let next = links.iter().find(|link| link.has_rel("next")).unwrap();
/// assert_eq!(next.target(), "/v2/_catalog?last=b&n=2");
/// # Ok::<(), oci_proto::header::InvalidHeader>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    target: String,
    rel: Option<String>,
}

impl Link {
    /// Parses a field value: one or more links, separated by commas.
    ///
    /// A link with an `anchor` belongs to a resource other than the requested one and is skipped.
    /// Parameters other than `rel` are ignored.
    ///
    /// # Errors
    /// Fails if the value violates the grammar, if a target has a character that is invalid in a URI,
    /// or if there are more than 64 links or more than 64 parameters in one link.
    pub fn parse(value: &[u8]) -> Result<Vec<Self>, InvalidHeader> {
        let mut cursor = Cursor::new("Link", value);
        let mut links = Vec::new();
        let mut count = 0;
        cursor.skip_commas();
        while !cursor.is_at_end() {
            if count == MAX_ELEMENTS {
                return Err(cursor.error("too many links"));
            }
            count += 1;
            links.extend(parse_link(&mut cursor)?);
            cursor.end_element()?;
            cursor.skip_commas();
        }
        Ok(links)
    }

    /// Returns the target verbatim, without angle brackets: visible ASCII, possibly empty.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the link with another target, of visible ASCII without angle brackets.
    pub(crate) fn with_target(mut self, target: String) -> Self {
        self.target = target;
        self
    }

    /// Returns whether the link has this relation type, ignoring case.
    pub fn has_rel(&self, rel: &str) -> bool {
        self.rels().any(|own| own.eq_ignore_ascii_case(rel))
    }

    /// Returns the relation types verbatim.
    pub fn rels(&self) -> impl Iterator<Item = &str> {
        self.rel.as_deref().unwrap_or_default().split_ascii_whitespace()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        if let Some(rel) = &self.rel {
            f.write_str("; rel=")?;
            write_quoted(f, rel)?;
        }
        Ok(())
    }
}

/// Parses one link. Returns `None` if it has an anchor.
fn parse_link(cursor: &mut Cursor<'_>) -> Result<Option<Link>, InvalidHeader> {
    if !cursor.eat(b'<') {
        return Err(cursor.error("expected a link that begins with `<`"));
    }
    let target = cursor.take_while(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\'));
    if !cursor.eat(b'>') {
        return Err(cursor.error("the target is not closed or contains a character that is invalid in a URI"));
    }
    let mut rel = None;
    let mut has_anchor = false;
    for _ in 0..=MAX_ELEMENTS {
        if cursor.is_at_element_end() {
            let link = Link { target: target.to_owned(), rel };
            return Ok((!has_anchor).then_some(link));
        }
        cursor.skip_whitespace();
        if !cursor.eat(b';') {
            return Err(cursor.error("expected a semicolon, a comma or the end of the value"));
        }
        cursor.skip_whitespace();
        let name = cursor.token();
        cursor.skip_whitespace();
        let value = match (name, cursor.eat(b'=')) {
            ("", true) => return Err(cursor.error("expected a parameter name before this")),
            (_, false) => String::new(),
            (_, true) => {
                cursor.skip_whitespace();
                if cursor.peek() == Some(b'"') { cursor.quoted_string()? } else { cursor.token().to_owned() }
            }
        };
        if name.eq_ignore_ascii_case("rel") {
            // Occurrences after the first are ignored (RFC 8288, section 3.3).
            rel.get_or_insert(value);
        } else if name.eq_ignore_ascii_case("anchor") {
            has_anchor = true;
        }
    }
    Err(cursor.error("too many parameters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn links(value: &str) -> Vec<Link> {
        Link::parse(value.as_bytes()).unwrap_or_else(|e| panic!("{value:?}: {e}"))
    }

    #[test]
    fn parses_target_and_relation() {
        for value in [
            r#"</v2/x/tags/list?n=2&last=b>; rel="next""#,
            "</v2/x/tags/list?n=2&last=b>;rel=next",
            "</v2/x/tags/list?n=2&last=b> ; a ; title=\"x, y; <z>\" ;; REL = NEXT; rel=prev ;",
            r#"</v2/x/tags/list?n=2&last=b>; rel="start  Next""#,
        ] {
            let links = links(value);
            assert_eq!(links.len(), 1, "{value}");
            assert_eq!(links[0].target(), "/v2/x/tags/list?n=2&last=b", "{value}");
            assert!(links[0].has_rel("next"), "{value}");
            assert!(!links[0].has_rel("prev"), "{value}");
        }
        assert_eq!(links("<>")[0].rels().count(), 0);
    }

    #[test]
    fn several_links_may_share_a_value() {
        let links = links(r#"<a,b>; rel="x", , <https://h/c>; rel="next y""#);
        assert_eq!(links.iter().map(Link::target).collect::<Vec<_>>(), ["a,b", "https://h/c"]);
        assert_eq!(links[1].rels().collect::<Vec<_>>(), ["next", "y"]);
        assert_eq!(links[1].to_string(), r#"<https://h/c>; rel="next y""#);
    }

    #[test]
    fn a_link_with_an_anchor_is_skipped() {
        let links = links(r#"<a>; rel=next; anchor="/other", <b>; rel=next"#);
        assert_eq!(links.iter().map(Link::target).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn rejects_values_outside_the_grammar() {
        for value in [
            &b"/v2/x; rel=next"[..],
            b"<a",
            b"<a b>",
            b"<a\"b>",
            b"<\xff>",
            b"<a> rel=next",
            b"<a>; =next",
            b"<a>; rel=\"next",
            b"<a>; rel=\"next\"x",
            b"<a>; rel=next <b>",
            b"<a>; rel=\"\xff\"",
        ] {
            assert!(Link::parse(value).is_err(), "{:?} was accepted", String::from_utf8_lossy(value));
        }
        assert!(Link::parse("<a>,".repeat(65).as_bytes()).is_err());
        assert!(Link::parse(format!("<a>{}", ";x".repeat(64)).as_bytes()).is_ok());
        assert!(Link::parse(format!("<a>{}", ";x".repeat(65)).as_bytes()).is_err());
    }
}
