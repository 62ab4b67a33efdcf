//! Translated parts of an expression, and how they become sequences and alternatives.

/// A translated part of the expression.
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) shape: Shape,
    /// Levels of the tree Go would build.
    pub(super) height: usize,
    /// Levels the `regex` crate will recurse; groups are none.
    pub(super) depth: usize,
    /// The most copies nested counts ask of one thing in it.
    pub(super) copies: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// One literal character.
    Char,
    /// None or several of them.
    Text,
    /// Anything else that a repetition may follow as it is.
    Atom,
    Concat,
    Alternation,
    Repetition,
}

impl Piece {
    /// A single element that is no literal character.
    pub(super) fn atom(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            shape: Shape::Atom,
            height: 1,
            depth: 0,
            copies: 1,
        }
    }

    /// The text, such that an operator behind it takes all of it.
    pub(super) fn grouped(&self) -> String {
        match self.shape {
            Shape::Char | Shape::Atom => self.text.clone(),
            Shape::Text | Shape::Concat | Shape::Alternation | Shape::Repetition => {
                format!("(?:{})", self.text)
            }
        }
    }

    /// The piece that holds this one a level further in.
    pub(super) fn wrapped(self, text: String, shape: Shape) -> Self {
        Self {
            text,
            shape,
            height: self.height + 1,
            depth: self.depth + usize::from(shape != Shape::Atom),
            copies: self.copies,
        }
    }
}

pub(super) fn concatenation(pieces: Vec<Piece>) -> Piece {
    let is_text = |piece: &Piece| matches!(piece.shape, Shape::Char | Shape::Text);
    if pieces.iter().all(is_text) && pieces.len() != 1 {
        return Piece {
            shape: Shape::Text,
            ..Piece::atom(pieces.iter().map(|p| p.text.as_str()).collect::<String>())
        };
    }
    joined(pieces, Shape::Concat, |text, piece| match piece.shape {
        Shape::Alternation => text.push_str(&piece.grouped()),
        Shape::Char | Shape::Text | Shape::Atom | Shape::Concat | Shape::Repetition => {
            text.push_str(&piece.text);
        }
    })
}

pub(super) fn alternation(branches: Vec<Piece>) -> Piece {
    let mut separator = "";
    joined(branches, Shape::Alternation, |text, branch| {
        text.push_str(separator);
        text.push_str(&branch.text);
        separator = "|";
    })
}

/// One piece of several; a single one stays what it is.
fn joined(
    mut pieces: Vec<Piece>,
    shape: Shape,
    mut write: impl FnMut(&mut String, &Piece),
) -> Piece {
    if pieces.len() == 1
        && let Some(only) = pieces.pop()
    {
        return only;
    }
    let mut whole = Piece {
        shape,
        ..Piece::atom("")
    };
    for piece in &pieces {
        write(&mut whole.text, piece);
        // Go hoists the parts of a sequence within a sequence; they add no level.
        let level = usize::from(piece.shape != shape);
        whole.height = whole.height.max(piece.height + level);
        whole.depth = whole.depth.max(piece.depth + level);
        whole.copies = whole.copies.max(piece.copies);
    }
    whole
}
