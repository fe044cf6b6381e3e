//! The words of a label selector's string form.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Bad,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

fn is_symbol(c: char) -> bool {
    "=!(),><".contains(c)
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "(" => Token::Open,
        _ => return None,
    })
}

/// Every word of `text`, the last one being [`Token::End`].
pub(super) fn words(text: &str) -> Vec<(Token, String)> {
    let mut rest = text;
    let mut out = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            out.push((Token::End, String::new()));
            return out;
        };
        if is_symbol(first) {
            // The longest symbol wins; all symbols are one or two ASCII characters.
            let two = rest.get(..2).and_then(|s| symbol(s).map(|t| (t, s)));
            let one = symbol(&rest[..1]).map(|t| (t, &rest[..1]));
            let (token, literal) = two.or(one).unwrap_or((Token::Bad, &rest[..1]));
            out.push((token, literal.to_owned()));
            rest = &rest[literal.len()..];
        } else {
            let end = rest
                .find(|c: char| is_symbol(c) || matches!(c, ' ' | '\t' | '\r' | '\n'))
                .unwrap_or(rest.len());
            let literal = &rest[..end];
            let token = match literal {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            out.push((token, literal.to_owned()));
            rest = &rest[end..];
        }
    }
}
