//! The difference between two texts, line by line.

/// So many lines on each side are compared; of longer texts the rest counts as replaced.
const MOST: usize = 2_000;
/// So many lines that are the same are shown around those that are not.
const CONTEXT: usize = 2;

/// Lines with `-` are expected and not there, lines with `+` are there and not expected; `…` stands for what is the same.
pub(crate) fn lines(expected: &str, actual: &str) -> Vec<String> {
    let old: Vec<&str> = expected.lines().take(MOST).collect();
    let new: Vec<&str> = actual.lines().take(MOST).collect();
    let script = script(&old, &new);
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        script[from..script.len().min(at + CONTEXT + 1)].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut shown = Vec::new();
    let mut skipped = false;
    for (at, (mark, line)) in script.iter().enumerate() {
        if near(at) {
            if skipped {
                shown.push("…".to_owned());
            }
            shown.push(format!("{mark} {line}"));
        }
        skipped = !near(at);
    }
    if skipped && !shown.is_empty() {
        shown.push("…".to_owned());
    }
    shown
}

/// The longest run of common lines, with what is left out and put in between.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut script = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            script.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len()
            || (i < old.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            script.push(('-', old[i]));
            i += 1;
        } else {
            script.push(('+', new[j]));
            j += 1;
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown_with_a_little_around_it() {
        let shown = lines("1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\nfour\n5\n6\n7\n");
        assert_eq!(shown, ["…", "  2", "  3", "- 4", "+ four", "  5", "  6", "…"]);
        assert_eq!(lines("a\n", "a\nb\n"), ["  a", "+ b"]);
        assert!(lines("a\nb\n", "a\nb\n").is_empty());
    }
}
