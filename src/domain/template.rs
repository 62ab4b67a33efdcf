//! Templates of rules and mappings: text with `{{ labels.service }}`. What an alert lacks renders as nothing; work is bounded by
//! fuel.

use crate::domain::alert::Labels;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Steps of work one rendering may take.
const FUEL: u64 = 20_000;

/// Bytes one rendering may give; what is longer is cut.
pub const RENDERED_MAX_BYTES: usize = 8 * 1024;

const NAME: &str = "template";

/// A parsed template.
#[derive(Clone)]
pub struct Template {
    text: String,
    form: Form,
}

#[derive(Clone)]
enum Form {
    /// Text and plain look-ups: nearly all templates, and rendered for every alert.
    Plain(Vec<Piece>),
    Full(Arc<Environment<'static>>),
}

#[derive(Clone)]
enum Piece {
    Text(String),
    Lookup(Set, String),
}

#[derive(Clone, Copy)]
enum Set {
    Labels,
    Annotations,
    Attributes,
}

/// What a template sees of an alert.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub labels: &'a Labels,
    pub annotations: &'a Labels,
    /// With the built-in ones: `source`, `kind`, `outcome`, `severity`.
    pub attributes: &'a Labels,
}

/// Why a template could not be read or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    /// Bytes from the start of the template, where that is known.
    pub offset: Option<usize>,
}

impl TemplateError {
    fn from_engine(error: &minijinja::Error) -> Self {
        let what = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        Self {
            message: format!("bad template: {what}"),
            offset: error.range().map(|range| range.start),
        }
    }
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let form = match plain_pieces(text) {
            Some(pieces) => Form::Plain(pieces),
            None => Form::Full(Arc::new(environment(text)?)),
        };
        Ok(Self {
            text: text.to_owned(),
            form,
        })
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// A template over values of any shape, as mappings have them.
    pub fn parse_over_values(text: &str) -> Result<Self, TemplateError> {
        let is_constant = ["{{", "{%", "{#"].iter().all(|mark| !text.contains(mark));
        let form = match is_constant {
            true => Form::Plain(vec![Piece::Text(text.to_owned())]),
            false => Form::Full(Arc::new(environment(text)?)),
        };
        Ok(Self {
            text: text.to_owned(),
            form,
        })
    }

    /// What it renders to over these values, uncut: its fuel bounds it. What they lack renders as nothing.
    pub fn render_over(&self, values: &Value) -> Result<String, TemplateError> {
        match &self.form {
            Form::Plain(pieces) => Ok(pieces.iter().map(Piece::text).collect()),
            Form::Full(environment) => environment
                .get_template(NAME)
                .and_then(|template| template.render(values.clone()))
                .map_err(|error| TemplateError::from_engine(&error)),
        }
    }

    /// The names that it expects to be given.
    pub fn names(&self) -> BTreeSet<String> {
        let Form::Full(environment) = &self.form else {
            return BTreeSet::new();
        };
        let named = environment
            .get_template(NAME)
            .map(|template| template.undeclared_variables(false));
        let named = named.into_iter().flatten();
        let is_global = |name: &String| environment.globals().any(|(known, _)| known == name);
        named.filter(|name| !is_global(name)).collect()
    }

    /// What it looks up of an alert: `labels.service`. What it looks up by a computed name is not among them.
    pub fn lookups(&self) -> BTreeSet<String> {
        match &self.form {
            Form::Plain(pieces) => pieces.iter().filter_map(Piece::lookup).collect(),
            Form::Full(environment) => {
                let template = environment.get_template(NAME);
                let named = template.map(|template| template.undeclared_variables(true));
                named.into_iter().flatten().collect()
            }
        }
    }

    /// Whether it says the same of every alert, so far as its text tells.
    pub fn is_constant(&self) -> bool {
        match &self.form {
            Form::Plain(pieces) => pieces.iter().all(|piece| piece.lookup().is_none()),
            Form::Full(_) => self.names().is_empty(),
        }
    }

    /// What is wrong with it whatever it is given, so far as that shows when it is given nothing: filters and functions are
    /// looked up only then.
    pub fn flaw(&self) -> Option<TemplateError> {
        let Form::Full(environment) = &self.form else {
            return None;
        };
        let rendered = environment
            .get_template(NAME)
            .and_then(|template| template.render(context! {}));
        let error = rendered.err()?;
        let depends_on_what_is_given = matches!(
            error.kind(),
            ErrorKind::InvalidOperation
                | ErrorKind::UndefinedError
                | ErrorKind::NonPrimitive
                | ErrorKind::NonKey
                | ErrorKind::CannotUnpack
        );
        (!depends_on_what_is_given).then(|| TemplateError::from_engine(&error))
    }

    pub fn render(&self, facts: Facts<'_>) -> Result<String, TemplateError> {
        match &self.form {
            Form::Plain(pieces) => Ok(cut(pieces.iter().map(|piece| piece.value(facts)).collect())),
            Form::Full(environment) => render_full(environment, facts).map(cut),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Piece {
    fn lookup(&self) -> Option<String> {
        match self {
            Self::Text(_) => None,
            Self::Lookup(Set::Labels, name) => Some(format!("labels.{name}")),
            Self::Lookup(Set::Annotations, name) => Some(format!("annotations.{name}")),
            Self::Lookup(Set::Attributes, name) => Some(format!("attributes.{name}")),
        }
    }

    /// What it says by itself.
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Lookup(..) => "",
        }
    }

    fn value<'a>(&'a self, facts: Facts<'a>) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Lookup(Set::Labels, name) => facts.labels.get(name).unwrap_or_default(),
            Self::Lookup(Set::Annotations, name) => facts.annotations.get(name).unwrap_or_default(),
            Self::Lookup(Set::Attributes, name) => facts.attributes.get(name).unwrap_or_default(),
        }
    }
}

/// The pieces of a template that has only text and look-ups of one name; none where it has more.
fn plain_pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, next) = after.split_once("}}")?;
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(plain_lookup(expression.trim())?);
        rest = next;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    let other_syntax = |piece: &Piece| matches!(piece, Piece::Text(text) if text.contains("{%") || text.contains("{#"));
    // The engine drops one newline at the end of a template; leave that to it.
    if pieces.iter().any(other_syntax) || text.ends_with('\n') {
        None
    } else {
        Some(pieces)
    }
}

fn plain_lookup(expression: &str) -> Option<Piece> {
    let (set, name) = expression.split_once('.')?;
    let set = match set {
        "labels" => Set::Labels,
        "annotations" => Set::Annotations,
        "attributes" => Set::Attributes,
        _ => return None,
    };
    let starts_as_name =
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_name = starts_as_name && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| Piece::Lookup(set, name.to_owned()))
}

fn environment(text: &str) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_name| minijinja::AutoEscape::None);
    match environment.add_template_owned(NAME, text.to_owned()) {
        Ok(()) => Ok(environment),
        Err(error) => Err(TemplateError::from_engine(&error)),
    }
}

fn render_full(
    environment: &Environment<'static>,
    facts: Facts<'_>,
) -> Result<String, TemplateError> {
    let map = |labels: &Labels| -> std::collections::BTreeMap<String, String> {
        labels
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let context = context! {
        labels => map(facts.labels),
        annotations => map(facts.annotations),
        attributes => map(facts.attributes),
    };
    environment
        .get_template(NAME)
        .and_then(|template| template.render(context))
        .map_err(|error| TemplateError::from_engine(&error))
}

fn cut(mut rendered: String) -> String {
    if rendered.len() > RENDERED_MAX_BYTES {
        rendered.truncate(rendered.floor_char_boundary(RENDERED_MAX_BYTES));
    }
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, String> {
        let labels = [("service", "api"), ("größe", "x")].into_iter().collect();
        let none = Labels::default();
        let facts = Facts {
            labels: &labels,
            annotations: &none,
            attributes: &none,
        };
        Template::parse(text)
            .and_then(|template| template.render(facts))
            .map_err(|error| error.message)
    }

    #[test]
    fn what_an_alert_lacks_renders_as_nothing() {
        assert_eq!(
            render("{{ labels.service }}/{{ labels.nothing }}"),
            Ok("api/".to_owned())
        );
        assert_eq!(
            render("{{ labels['größe'] }}{{ nobody.knows.this }}"),
            Ok("x".to_owned())
        );
        assert_eq!(render("{{ labels.service | upper }}"), Ok("API".to_owned()));
    }

    #[test]
    fn a_template_that_runs_on_is_stopped() {
        let found = render(
            "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
        );
        assert_eq!(
            found,
            Err("bad template: engine ran out of fuel".to_owned())
        );
    }

    #[test]
    fn a_slip_is_told_with_its_place() {
        let error = Template::parse("{{ labels.service").expect_err("the braces are not closed");
        assert!(
            error
                .message
                .starts_with("bad template: unexpected end of input"),
            "{}",
            error.message
        );
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = "{{ labels.service }}".repeat(RENDERED_MAX_BYTES);
        assert_eq!(render(&long).map(|text| text.len()), Ok(RENDERED_MAX_BYTES));
    }
}
