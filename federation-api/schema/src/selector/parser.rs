//! The grammar of a label selector's string form.

use std::collections::BTreeSet;

use super::{
    label::{LabelSelector, Operator, Requirement},
    lexer::{Token, words},
};
use crate::{error::go_quote, name};

pub(super) fn parse(text: &str) -> Result<LabelSelector, String> {
    Parser { words: words(text), at: 0 }.selector()
}

struct Parser {
    words: Vec<(Token, String)>,
    at: usize,
}

type Parsed<T> = Result<T, String>;

impl Parser {
    /// The next word; the list ends with `End`, which is never passed.
    fn peek(&self) -> (Token, &str) {
        let (token, literal) = &self.words[self.at.min(self.words.len() - 1)];
        (*token, literal)
    }

    /// As [`Self::peek`], where `in` and `notin` are plain words: keys and values.
    fn peek_value(&self) -> (Token, &str) {
        match self.peek() {
            (Token::In | Token::NotIn, literal) => (Token::Identifier, literal),
            other => other,
        }
    }

    fn next_value(&mut self) -> (Token, String) {
        let (token, literal) = self.peek_value();
        let word = (token, literal.to_owned());
        self.at += 1;
        word
    }

    fn selector(&mut self) -> Parsed<LabelSelector> {
        let mut requirements = Vec::new();
        loop {
            match self.peek_value() {
                (Token::Identifier | Token::Not, _) => {}
                (Token::End, _) => break,
                (_, found) => {
                    return Err(format!(
                        "found '{found}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
            let requirement = self.requirement();
            requirements
                .push(requirement.map_err(|e| format!("unable to parse requirement: {e}"))?);
            match self.next_value() {
                (Token::End, _) => break,
                (Token::Comma, _) => {
                    let (token, found) = self.peek_value();
                    if !matches!(token, Token::Identifier | Token::Not) {
                        return Err(format!("found '{found}', expected: identifier after ','"));
                    }
                }
                (_, found) => {
                    return Err(format!("found '{found}', expected: ',' or 'end of string'"));
                }
            }
        }
        requirements.sort_by(|a: &Requirement, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements })
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let (mut token, mut key) = self.next_value();
        let absent = token == Token::Not;
        if absent {
            (token, key) = self.next_value();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let bad = name::qualified(&key);
        if !bad.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", go_quote(&key), bad.join("; ")));
        }
        let new = |operator, values| Requirement::new(&key, operator, values).map_err(|e| e.0);
        if absent {
            return new(Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return new(Operator::Exists, BTreeSet::new());
        }
        let (token, found) = (self.peek().0, self.peek().1.to_owned());
        self.at += 1;
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals | Token::DoubleEquals => Operator::Equals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::Greater,
            Token::Less => Operator::Less,
            _ => return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact()?,
        };
        new(operator, values)
    }

    fn exact(&mut self) -> Parsed<BTreeSet<String>> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.next_value() {
            (Token::Identifier, literal) => Ok(BTreeSet::from([literal])),
            (_, found) => Err(format!("found '{found}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Parsed<BTreeSet<String>> {
        let (token, found) = self.next_value();
        if token != Token::Open {
            return Err(format!("found '{found}' expected: '('"));
        }
        match self.peek_value() {
            (Token::Identifier | Token::Comma | Token::Close, _) => {}
            (_, found) => return Err(format!("found '{found}', expected: ',', ')' or identifier")),
        }
        let mut values = BTreeSet::new();
        // An empty place between commas is the empty value: `(,a)`, `(a,)`, `()`.
        let mut vacant = true;
        loop {
            match self.next_value() {
                (Token::Identifier, literal) if vacant => {
                    values.insert(literal);
                    vacant = false;
                }
                (Token::Comma, _) => {
                    if vacant {
                        values.insert(String::new());
                    }
                    vacant = true;
                }
                (Token::Close, _) => {
                    if vacant {
                        values.insert(String::new());
                    }
                    return Ok(values);
                }
                (_, found) if vacant => {
                    return Err(format!("found '{found}', expected: ',', or identifier"));
                }
                (_, found) => return Err(format!("found '{found}', expected: ',' or ')'")),
            }
        }
    }
}
