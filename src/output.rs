//! What commands print: tables, JSON, YAML, and errors with their causes.

use std::io::Write;

use clap::ValueEnum;
use federation_types::yaml;
use serde::Serialize;

/// A command's failure: a sentence, with the causes below it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

/// Rows under headers, columns as wide as they need to be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) fn print(&self) {
        write(format_args!("{self}"));
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.chain([self.headers[at].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headers.len()).map(width).collect();
        let headers = self.headers.iter().map(|it| (*it).to_owned()).collect();
        for row in std::iter::once(&headers).chain(&self.rows) {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("   ").trim_end())?;
        }
        Ok(())
    }
}

/// Prints in the machine's formats; says whether it did.
pub(crate) fn machine(format: Format, value: &impl Serialize) -> Result<bool, Failure> {
    match format {
        Format::Json => write(format_args!("{}\n", serde_json::to_string_pretty(value)?)),
        Format::Yaml => write(format_args!("{}", yaml::to_string(value)?)),
        Format::Table | Format::Wide => return Ok(false),
    }
    Ok(true)
}

/// One line.
pub(crate) fn line(text: impl std::fmt::Display) {
    write(format_args!("{text}\n"));
}

/// To standard output; a reader that has gone away (`| head`) ends the command as it ends any other.
fn write(text: std::fmt::Arguments<'_>) {
    if std::io::stdout().write_fmt(text).is_err() {
        std::process::exit(141);
    }
}

/// Progress, beside what is printed.
pub(crate) fn progress(text: impl std::fmt::Display) {
    beside(&mut std::io::stderr(), format_args!("{text}\n"));
}

/// What is said beside the result ends no command where nobody listens to it any more.
fn beside(out: &mut impl Write, text: std::fmt::Arguments<'_>) {
    drop(out.write_fmt(text));
}

/// A failure and its causes.
pub(crate) fn error(error: &Failure) {
    let mut said = sentence(&**error);
    progress(format_args!("archipel: {said}"));
    let mut cause = error.source();
    while let Some(it) = cause {
        let next = sentence(it);
        // A wrapper that says its cause's words again says nothing new.
        if !said.contains(&next) && !next.contains(&said) {
            progress(format_args!("  because: {next}"));
            said = next;
        }
        cause = it.source();
    }
}

/// A failure and its causes in one line.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = sentence(error);
    let mut cause = error.source();
    while let Some(it) = cause {
        let next = sentence(it);
        // An answer of the API says its message once more, with what it carries beside it.
        if !said.contains(&next) && !next.contains(&said) {
            said = format!("{said}: {next}");
        }
        cause = it.source();
    }
    said
}

/// What an error says to a person: of an answer of the API the message, which is a whole sentence.
pub(crate) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_that_nobody_reads_ends_no_command() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        beside(&mut Closed, format_args!("a: 2 copies left"));
    }

    #[test]
    fn the_api_s_message_is_said_once() {
        let message = "secrets \"member-a\" not found".to_owned();
        let status =
            kube::core::Status { message: message.clone(), code: 404, ..Default::default() };
        let error: Failure = Box::new(kube::Error::Api(Box::new(status)));
        assert_eq!(with_causes(&*error), message);
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(&["NAME", "READY"]);
        table.row(vec!["eks-eu-west-1-a".into(), "True".into()]);
        assert_eq!(table.to_string(), "NAME              READY\neks-eu-west-1-a   True\n");
    }
}
