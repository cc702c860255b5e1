//! What an XML document's innermost elements contain, in order. No namespaces, no attributes, and of a
//! document that is too deep or too long, what came before.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Elements looked at: descriptions of gateways have some hundred.
const ELEMENTS_MAX: usize = 4000;
const DEPTH_MAX: usize = 32;
/// Bytes of one element's text.
const TEXT_MAX: usize = 2048;

/// Something in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// An element ends that had others within it.
    End(String),
    /// An element with nothing but text, without the space around it.
    Text(String, String),
}

/// The parts of a document, for as long as it is one.
pub(crate) fn parts(document: &[u8]) -> Vec<Part> {
    let document = String::from_utf8_lossy(document);
    let mut reader = Reader::from_str(&document);
    let (mut parts, mut open, mut elements) = (Vec::new(), Vec::<Open>::new(), 0_usize);
    loop {
        let Ok(event) = reader.read_event() else { return parts };
        match event {
            Event::Start(start) => {
                elements = elements.saturating_add(1);
                if elements > ELEMENTS_MAX || open.len() >= DEPTH_MAX {
                    return parts;
                }
                if let Some(parent) = open.last_mut() {
                    parent.has_others = true;
                }
                let name = start.local_name().into_inner().to_owned();
                open.push(Open { name, text: String::new(), has_others: false });
            }
            Event::Text(text) => add(&mut open, &text),
            Event::CData(text) => add(&mut open, &text),
            Event::GeneralRef(reference) => add(&mut open, &resolved(&reference)),
            Event::End(_) => {
                let Some(Open { name, text, has_others }) = open.pop() else { return parts };
                parts.push(if has_others {
                    Part::End(name)
                } else {
                    Part::Text(name, text.trim().to_owned())
                });
            }
            Event::Empty(_) => {
                if let Some(parent) = open.last_mut() {
                    parent.has_others = true;
                }
            }
            Event::Eof => return parts,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// The text of the first element of that name.
pub(crate) fn text<'a>(parts: &'a [Part], wanted: &str) -> Option<&'a str> {
    parts.iter().find_map(|part| match part {
        Part::Text(name, text) if name == wanted => Some(text.as_str()),
        _ => None,
    })
}

struct Open {
    name: String,
    text: String,
    has_others: bool,
}

fn add(open: &mut [Open], text: &str) {
    if let Some(element) = open.last_mut()
        && element.text.len().saturating_add(text.len()) <= TEXT_MAX
    {
        element.text.push_str(text);
    }
}

/// What `&…;` stands for. A document's own entities stand for nothing: they can't be made to grow.
fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.into();
    }
    quick_xml::escape::resolve_predefined_entity(reference).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_in_order() {
        let document =
            b"<?xml version='1.0'?><u:a xmlns:u='x'><b> 1 &amp; &#50; </b><!-- no --><c/>\
            <d><![CDATA[3]]></d></u:a>";
        let text = |name: &str, text: &str| Part::Text(name.into(), text.into());
        let expected = [text("b", "1 & 2"), text("d", "3"), Part::End("a".into())];
        assert_eq!(parts(document), expected);
        assert_eq!(super::text(&parts(document), "d"), Some("3"));
    }

    #[test]
    fn floods_are_cut() {
        assert_eq!(parts(&b"<a>".repeat(10_000)), []);
        assert!(parts(&b"<a></a>".repeat(10_000)).len() <= ELEMENTS_MAX);
        let long = [b"<a>".to_vec(), vec![b'x'; 1 << 20], b"</a>".to_vec()].concat();
        assert_eq!(text(&parts(&long), "a"), Some(""));
        let bomb = b"<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;&b;\">]><a>&c;&c;</a>";
        assert_eq!(text(&parts(bomb), "a"), Some(""));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parts(&bytes);
        }
    }
}
