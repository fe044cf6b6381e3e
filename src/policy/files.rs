//! The files that a command is given: files as they are named, and in directories those that end in what is looked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read `{path}`")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("there is no file ending in {endings} in `{path}`")]
    Nothing { path: PathBuf, endings: String },
    #[error("cannot write `{path}`")]
    Unwritable { path: PathBuf, source: io::Error },
}

/// A file with its text.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Reads what the paths name, directories with all below them, in the order of names.
pub(crate) fn read(paths: &[PathBuf], endings: &[&str]) -> Result<Vec<File>, FileError> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        if path.is_dir() {
            below(path, endings, &mut files)?;
            if files.len() == before {
                let endings = endings.join(", ");
                return Err(FileError::Nothing { path: path.clone(), endings });
            }
        } else {
            files.push(one(path)?);
        }
    }
    Ok(files)
}

/// Reads one file; `-` is standard input.
pub(crate) fn one(path: &Path) -> Result<File, FileError> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    match text {
        Ok(text) => Ok(File { path: path.to_owned(), text }),
        Err(source) => Err(FileError::Unreadable { path: path.to_owned(), source }),
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    fs::write(path, text).map_err(|source| FileError::Unwritable { path: path.to_owned(), source })
}

fn below(directory: &Path, endings: &[&str], files: &mut Vec<File>) -> Result<(), FileError> {
    let unreadable = |source| FileError::Unreadable { path: directory.to_owned(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            below(&path, endings, files)?;
        } else if endings.iter().any(|it| name.ends_with(it)) {
            files.push(one(&path)?);
        }
    }
    Ok(())
}
