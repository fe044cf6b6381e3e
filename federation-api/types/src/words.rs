//! Counts in sentences.

/// `1 copy`, `2 copies`.
pub fn counted(count: impl TryInto<i64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        let said = [0, 1, 2].map(|it| counted(it, "copy", "copies"));
        assert_eq!(said, ["0 copies", "1 copy", "2 copies"]);
    }
}
