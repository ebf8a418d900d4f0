//! Views of a text: how it reads once disguises are taken off, each mapped back to the text as given.
//!
//! *Content* layers are what somebody could have written: the text itself, and what its encoded parts say. Every
//! content layer has a *normalised* layer, and *disguise* layers (leetspeak, homoglyphs, spaced letters, ROT13,
//! reversed, upside down) where something in the text gives reason to look.

mod decode;
mod disguise;
mod normalise;

pub(crate) use decode::Decoder;
pub(crate) use disguise::{homoglyphs, leetspeak, reversed, rot13, spaced_letters, upside_down};
pub(crate) use normalise::{folded, normalise};

use std::borrow::Cow;

/// Which view a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ViewKind {
    Raw,
    Normalised,
    Base64,
    Base32,
    Hex,
    Binary,
    CharacterCodes,
    Morse,
    Percent,
    HtmlEntities,
    Escapes,
    QuotedPrintable,
    Tags,
    VariationSelectors,
    ZeroWidth,
    Homoglyphs,
    UpsideDown,
    Leetspeak,
    SpacedLetters,
    Rot13,
    Reversed,
}

impl ViewKind {
    /// The name that findings carry.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Normalised => "normalised",
            Self::Base64 => "base64",
            Self::Base32 => "base32",
            Self::Hex => "hex",
            Self::Binary => "binary",
            Self::CharacterCodes => "character_codes",
            Self::Morse => "morse",
            Self::Percent => "percent",
            Self::HtmlEntities => "html_entities",
            Self::Escapes => "escapes",
            Self::QuotedPrintable => "quoted_printable",
            Self::Tags => "tags",
            Self::VariationSelectors => "variation_selectors",
            Self::ZeroWidth => "zero_width",
            Self::Homoglyphs => "homoglyphs",
            Self::UpsideDown => "upside_down",
            Self::Leetspeak => "leetspeak",
            Self::SpacedLetters => "spaced_letters",
            Self::Rot13 => "rot13",
            Self::Reversed => "reversed",
        }
    }

    /// Whether text has to be disguised on purpose to read like this. Escapes and entities are ordinary in JSON, HTML and
    /// mail.
    pub(crate) const fn is_disguise(self) -> bool {
        !matches!(self, Self::Raw | Self::Normalised | Self::Escapes | Self::HtmlEntities | Self::Percent | Self::QuotedPrintable)
    }
}

/// How a stretch of a layer stands for a stretch of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    /// Byte by byte.
    Linear,
    /// Any part of it stands for the whole.
    Whole,
    /// Byte by byte, backwards.
    Reversed,
}

/// A stretch of a layer, from `at` to the next segment, and what it stands for.
#[derive(Debug, Clone, Copy)]
struct Segment {
    at: u32,
    parent: u32,
    parent_end: u32,
    map: Map,
}

/// The segments of a layer while it is made.
#[derive(Debug, Default)]
pub(crate) struct Spans(Vec<Segment>);

impl Spans {
    fn linear(&mut self, at: usize, parent: usize) {
        let (at, parent) = (offset(at), offset(parent));
        if let Some(last) = self.0.last()
            && last.map == Map::Linear
            && parent.wrapping_sub(last.parent) == at.wrapping_sub(last.at)
        {
            return;
        }
        self.0.push(Segment { at, parent, parent_end: parent, map: Map::Linear });
    }

    fn whole(&mut self, at: usize, parent: std::ops::Range<usize>) {
        self.0.push(Segment { at: offset(at), parent: offset(parent.start), parent_end: offset(parent.end), map: Map::Whole });
    }

    fn backwards(length: usize) -> Self {
        Self(vec![Segment { at: 0, parent: 0, parent_end: offset(length), map: Map::Reversed }])
    }

    fn segment(&self, at: usize) -> Option<&Segment> {
        let next = self.0.partition_point(|segment| segment.at as usize <= at);
        self.0.get(next.checked_sub(1)?)
    }

    /// The span of the parent that a span of this layer stands for.
    fn to_parent(&self, start: usize, end: usize) -> (usize, usize) {
        let (Some(first), Some(last)) = (self.segment(start), self.segment(end.saturating_sub(1).max(start))) else {
            return (start, end);
        };
        if first.map == Map::Reversed {
            let length = first.parent_end as usize;
            return (length.saturating_sub(end), length.saturating_sub(start));
        }
        let from = |segment: &Segment, at: usize| segment.parent as usize + segment.within(at);
        let to = |segment: &Segment, at: usize| match segment.map {
            Map::Linear => segment.parent as usize + segment.within(at),
            Map::Whole | Map::Reversed => segment.parent_end as usize,
        };
        // Segments stand in the order of the parent, or, where the text was turned, all against it.
        let last_start = end.saturating_sub(1).max(start).max(last.at as usize);
        let parent_start = from(first, start).min(from(last, last_start));
        let parent_end = if std::ptr::eq(first, last) { to(last, end) } else { to(last, end).max(first.parent_end as usize) };
        (parent_start, parent_end.max(parent_start))
    }
}

impl Segment {
    /// How far into the parent's stretch a place of the layer is.
    fn within(&self, at: usize) -> usize {
        match self.map {
            Map::Linear => at - self.at as usize,
            Map::Whole | Map::Reversed => 0,
        }
    }
}

/// Layers are parts of a window, which is far smaller than 4 GiB.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// One layer of a window of text.
#[derive(Debug)]
pub(crate) struct Layer<'t> {
    pub(crate) kind: ViewKind,
    pub(crate) text: Cow<'t, str>,
    parent: Option<(usize, Spans)>,
    /// How many encodings or disguises deep.
    pub(crate) depth: u8,
}

/// The layers of one window.
#[derive(Debug)]
pub(crate) struct Layers<'t>(Vec<Layer<'t>>);

impl<'t> Layers<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self(vec![Layer { kind: ViewKind::Raw, text: Cow::Borrowed(text), parent: None, depth: 0 }])
    }

    pub(crate) fn get(&self, layer: usize) -> &Layer<'t> {
        &self.0[layer]
    }

    /// Adds a layer made from `parent` and returns its index.
    pub(crate) fn push(&mut self, parent: usize, kind: ViewKind, text: String, spans: Spans) -> usize {
        let encoded = u8::from(!matches!(kind, ViewKind::Normalised));
        let depth = self.0[parent].depth + encoded;
        self.0.push(Layer { kind, text: Cow::Owned(text), parent: Some((parent, spans)), depth });
        self.0.len() - 1
    }

    /// The span of the window that a span of a layer stands for, in bytes at character boundaries.
    pub(crate) fn to_window(&self, mut layer: usize, mut start: usize, mut end: usize) -> (usize, usize) {
        while let Some((parent, spans)) = &self.0[layer].parent {
            (start, end) = spans.to_parent(start, end);
            layer = *parent;
        }
        let text = &*self.0[0].text;
        (text.floor_char_boundary(start.min(text.len())), ceil_char_boundary(text, end))
    }

    /// The most telling disguise between a layer and the window, if any: what a finding names as its view.
    pub(crate) fn disguise(&self, mut layer: usize) -> Option<ViewKind> {
        let mut plain = None;
        while let Some((parent, _)) = &self.0[layer].parent {
            let kind = self.0[layer].kind;
            if kind.is_disguise() {
                return Some(kind);
            }
            if kind != ViewKind::Normalised {
                plain = Some(kind);
            }
            layer = *parent;
        }
        plain
    }
}

fn ceil_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_back_through_every_layer() {
        let text = "Say: 49474e4f5245 now";
        let mut layers = Layers::new(text);
        let mut spans = Spans::default();
        spans.linear(0, 0);
        spans.whole(5, 5..17);
        spans.linear(11, 17);
        let decoded = layers.push(0, ViewKind::Hex, "Say: IGNORE now".into(), spans);
        let (plain, spans) = normalise("Say: IGNORE now");
        let normalised = layers.push(decoded, ViewKind::Normalised, plain, spans);
        assert_eq!(layers.to_window(normalised, 5, 11), (5, 17));
        assert_eq!(layers.to_window(normalised, 0, 3), (0, 3));
        assert_eq!(layers.to_window(normalised, 12, 15), (18, 21));
        assert_eq!(layers.disguise(normalised), Some(ViewKind::Hex));
    }
}
