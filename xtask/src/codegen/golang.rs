//! The facts that only the Go packages state: struct tags, and which lists are one message in protobuf.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::Modules;

/// A field of a Go struct.
#[derive(Clone, Debug)]
pub(super) struct GoField {
    /// Empty when the struct is inlined.
    pub(super) json: String,
    pub(super) omitempty: bool,
    pub(super) omitzero: bool,
    pub(super) pointer: bool,
    /// The protobuf field number, 0 without one.
    pub(super) number: u32,
    /// A list that is one message with `items` on the wire.
    pub(super) wrapped: bool,
    /// The inlined struct's published name.
    pub(super) inlines: Option<String>,
}

/// The structs of the packages read so far.
pub(super) struct Sources<'m> {
    modules: &'m Modules,
    packages: BTreeMap<String, BTreeMap<String, Vec<GoField>>>,
}

impl<'m> Sources<'m> {
    pub(super) fn new(modules: &'m Modules) -> Self {
        Self { modules, packages: BTreeMap::new() }
    }

    /// The fields of a type by its published name (`io.k8s.api.core.v1.Pod`).
    pub(super) fn fields(&mut self, name: &str) -> Result<&[GoField], String> {
        let (package, kind) =
            name.rsplit_once('.').ok_or_else(|| format!("{name} is no type name"))?;
        if !self.packages.contains_key(package) {
            let structs = self.read(package)?;
            self.packages.insert(package.to_owned(), structs);
        }
        self.packages[package]
            .get(kind)
            .map(Vec::as_slice)
            .ok_or_else(|| format!("no Go struct {name}"))
    }

    fn read(&self, package: &str) -> Result<BTreeMap<String, Vec<GoField>>, String> {
        let path = package
            .strip_prefix("io.k8s.")
            .ok_or_else(|| format!("{package} is not of Kubernetes"))?;
        let (module, path) =
            path.split_once('.').ok_or_else(|| format!("{package} is no package"))?;
        let dir = self.modules.dir(&format!("k8s.io/{module}"))?.join(path.replace('.', "/"));
        let mut structs = BTreeMap::new();
        for file in fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
            let file = file.map_err(|e| e.to_string())?.path();
            let name =
                file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let generated = name.starts_with("zz_") || name.starts_with("generated");
            if name.ends_with(".go") && !name.ends_with("_test.go") && !generated {
                let text =
                    fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
                parse(&text, package, &mut structs);
            }
        }
        let file = dir.join("generated.proto");
        let proto = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let optional = optional_fields(&proto);
        for (name, fields) in &mut structs {
            for field in fields {
                field.wrapped = optional.contains(&(name.clone(), field.number));
            }
        }
        Ok(structs)
    }
}

/// The (message, number) of each `optional` field. The Go tags name the label too, but not always rightly.
fn optional_fields(proto: &str) -> BTreeSet<(String, u32)> {
    let mut message = "";
    let mut optional = BTreeSet::new();
    for line in proto.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("message ").and_then(|l| l.strip_suffix(" {")) {
            message = name;
        } else if line.starts_with("optional ")
            && let Some(number) =
                line.trim_end_matches(';').rsplit_once("= ").and_then(|(_, n)| n.parse().ok())
        {
            optional.insert((message.to_owned(), number));
        }
    }
    optional
}

/// Reads `type X struct { … }` blocks; Kubernetes writes each field on one line.
fn parse(text: &str, package: &str, structs: &mut BTreeMap<String, Vec<GoField>>) {
    let mut imports = BTreeMap::new();
    let mut open: Option<(String, Vec<GoField>)> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some((name, fields)) = &mut open {
            if line == "}" {
                structs.insert(std::mem::take(name), std::mem::take(fields));
                open = None;
            } else if !line.starts_with("//") {
                fields.extend(field(line, package, &imports));
            }
        } else if let Some(name) =
            line.strip_prefix("type ").and_then(|l| l.strip_suffix(" struct {"))
        {
            open = Some((name.to_owned(), Vec::new()));
        } else if let Some(name) =
            line.strip_prefix("type ").and_then(|l| l.strip_suffix(" struct{}"))
        {
            structs.insert(name.to_owned(), Vec::new());
        } else if let Some(path) = line.strip_suffix('"').filter(|l| l.contains("\"k8s.io/")) {
            let (alias, path) = path.split_once('"').unwrap_or(("", path));
            let alias = match alias.trim().trim_start_matches("import").trim() {
                "" => path.rsplit('/').next().unwrap_or_default(),
                alias => alias,
            };
            imports.insert(
                alias.to_owned(),
                format!("io.{}", path.replace('/', ".").replacen("k8s.io", "k8s", 1)),
            );
        }
    }
}

fn field(line: &str, package: &str, imports: &BTreeMap<String, String>) -> Option<GoField> {
    let (declared, tags) = line.split_once('`')?;
    let tags = tags.split('`').next().unwrap_or_default();
    let json = tag(tags, "json")?;
    let mut options = json.split(',');
    let name = options.next().unwrap_or_default().to_owned();
    let options: Vec<&str> = options.collect();
    let mut words = declared.split_whitespace();
    let first = words.next()?;
    let go_type = words.next().unwrap_or(first);
    let inlines = options.contains(&"inline").then(|| {
        match go_type.trim_start_matches('*').split_once('.') {
            Some((alias, kind)) => {
                format!("{}.{kind}", imports.get(alias).map_or(alias, String::as_str))
            }
            None => format!("{package}.{go_type}"),
        }
    });
    let protobuf = tag(tags, "protobuf").unwrap_or_default();
    // The wire type comes first and is not always right; the JSON type decides.
    let number = protobuf.split(',').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(GoField {
        json: name,
        omitempty: options.contains(&"omitempty"),
        omitzero: options.contains(&"omitzero"),
        pointer: go_type.starts_with('*'),
        number,
        wrapped: false,
        inlines,
    })
}

fn tag<'t>(tags: &'t str, key: &str) -> Option<&'t str> {
    let start = tags.find(&format!("{key}:\""))? + key.len() + 2;
    tags[start..].split('"').next()
}
