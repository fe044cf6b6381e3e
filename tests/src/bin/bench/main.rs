//! `cargo xtask bench propagate|start|api`: measures a hub beside real clusters. The last line on standard output is one
//! JSON object; what comes before it is for people.
#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use std::process::ExitCode;

mod api;
mod measure;
mod propagate;
mod start;
mod store;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = if arguments.is_empty() { String::new() } else { arguments.remove(0) };
    let outcome = match Flags::read(&arguments) {
        Err(error) => Err(error.into()),
        Ok(flags) => match name.as_str() {
            "propagate" => propagate::run(&flags).await,
            "start" => start::run(&flags).await,
            "api" => api::run(&flags).await,
            _ => Err("usage: bench propagate|start|api [--FLAG NUMBER]…".into()),
        },
    };
    match outcome {
        Ok(figures) => {
            println!("{}", serde_json::json!({"bench": name, "figures": figures}));
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("bench {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--name number` pairs.
struct Flags(Vec<(String, u64)>);

impl Flags {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let pair = |pair: &[String]| {
            let [name, number] = pair else {
                return Err(format!("{}: a number is missing", pair[0]));
            };
            let name = name.strip_prefix("--").ok_or_else(|| format!("{name}: not a flag"))?;
            let number =
                number.parse().map_err(|_| format!("--{name}: {number} is not a number"))?;
            Ok((name.to_owned(), number))
        };
        arguments.chunks(2).map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The number given, or the one that the design names.
    fn get(&self, name: &str, default: u64) -> u64 {
        self.0.iter().rev().find(|it| it.0 == name).map_or(default, |it| it.1)
    }

    fn count(&self, name: &str, default: usize) -> usize {
        usize::try_from(self.get(name, default as u64)).unwrap_or(default)
    }
}
