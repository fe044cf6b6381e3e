//! Reads the generated table.
//!
//! ```text
//! V 1.36.3                                       the release
//! G apps v1                                      a group and its versions, the preferred first; `-` is the core group
//! R apps v1 deployments deployment Deployment N deploy all create,get,…
//! S scale autoscaling/v1 Scale get,patch,update  a subresource of the resource above; `=` is its own group-version
//! P apps.v1 io.k8s.api.apps.v1                   a package and its full name
//! T apps.v1.Deployment apps/v1/Deployment        a type, its kind if it is one, `!` if it is atomic
//!  replicas i 1 op                               its fields: name, type, protobuf number, flags, and of lists
//!  ports [.ServicePort 1 o @port,protocol %merge:port     topology and patch strategy, of keys the default (`="TCP"`)
//!  * .VolumeSource 2 -                           a message inlined in JSON
//! ```

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    Catalogue, Gvk, ResourceInfo, SubresourceInfo,
    wire::{Flags, Holds, Kind, Message, Messages, WireField},
};
use crate::model::{
    Field, ListTopology, Node, NodeId, PatchStrategy, Schema, Shape, StringKind, StructShape,
};

/// What is wrong with the table.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct TableError {
    line: usize,
    problem: &'static str,
}

/// A `T` line and the field lines below it.
struct Block {
    name: &'static str,
    kind: Option<&'static str>,
    atomic: bool,
    fields: Vec<Line>,
}

/// A field line.
struct Line {
    at: usize,
    name: &'static str,
    code: &'static str,
    number: u32,
    flags: &'static str,
    topology: Option<&'static str>,
    patch: Option<&'static str>,
    default: Option<&'static str>,
}

/// Reads a table into a catalogue.
pub(crate) fn read(table: &'static str) -> Result<Catalogue, TableError> {
    let mut resources: Vec<ResourceInfo> = Vec::new();
    let mut groups = Vec::new();
    let mut packages = BTreeMap::new();
    let mut blocks: Vec<Block> = Vec::new();
    for (at, text) in table.lines().enumerate() {
        let wrong = |problem| TableError { line: at + 1, problem };
        let mut words = text.split(' ');
        let letter = words.next().unwrap_or_default();
        let mut word = || words.next().ok_or(TableError { line: at + 1, problem: "too short" });
        match letter {
            "" => {
                let block = blocks.last_mut().ok_or_else(|| wrong("a field outside a type"))?;
                block.fields.push(line(at + 1, &mut word)?);
            }
            "T" => {
                let name = word()?;
                let mut block = Block { name, kind: None, atomic: false, fields: Vec::new() };
                while let Ok(extra) = word() {
                    match extra {
                        "!" => block.atomic = true,
                        "" => {}
                        kind => block.kind = Some(kind),
                    }
                }
                blocks.push(block);
            }
            "P" => {
                packages.insert(word()?, word()?);
            }
            "G" => {
                let group = group(word()?);
                let mut versions = Vec::new();
                while let Ok(version) = word() {
                    versions.push(version.into());
                }
                groups.push((group.into(), versions));
            }
            "R" => resources.push(ResourceInfo {
                group: group(word()?).into(),
                version: word()?.into(),
                plural: word()?.into(),
                singular: word()?.into(),
                kind: word()?.into(),
                namespaced: word()? == "N",
                short_names: list(word()?),
                categories: list(word()?),
                verbs: list(word()?),
                subresources: Vec::new(),
            }),
            "S" => {
                let parent = resources
                    .last_mut()
                    .ok_or_else(|| wrong("a subresource without a resource"))?;
                let (name, place) = (word()?, word()?);
                let (group, version) = match place.split_once('/') {
                    Some((g, v)) => (group(g).into(), v.into()),
                    None => (parent.group.clone(), parent.version.clone()),
                };
                let sub = SubresourceInfo {
                    name: name.into(),
                    group,
                    version,
                    kind: word()?.into(),
                    verbs: list(word()?),
                };
                parent.subresources.push(sub);
            }
            "V" => {}
            _ => return Err(wrong("an unknown line")),
        }
    }
    let built = Builder::new(&blocks, &packages).build()?;
    Ok(Catalogue { resources, groups, ..built })
}

fn group(word: &str) -> &str {
    if word == "-" { "" } else { word }
}

fn list(word: &str) -> Vec<Box<str>> {
    if word == "-" { Vec::new() } else { word.split(',').map(Into::into).collect() }
}

fn line(
    at: usize,
    word: &mut impl FnMut() -> Result<&'static str, TableError>,
) -> Result<Line, TableError> {
    let (name, code) = (word()?, word()?);
    let number = word()?
        .parse()
        .map_err(|_| TableError { line: at, problem: "a field number is no number" })?;
    let mut line =
        Line { at, name, code, number, flags: word()?, topology: None, patch: None, default: None };
    while let Ok(extra) = word() {
        if let Some(topology) = extra.strip_prefix('@') {
            line.topology = Some(topology);
        } else if let Some(patch) = extra.strip_prefix('%') {
            line.patch = Some(patch);
        } else {
            line.default = extra.strip_prefix('=');
        }
    }
    Ok(line)
}

/// Makes nodes of blocks. The node of a block has the block's index; lists, maps, scalars and variants follow.
struct Builder<'b> {
    blocks: &'b [Block],
    packages: &'b BTreeMap<&'static str, &'static str>,
    /// Blocks by name.
    index: BTreeMap<&'static str, u32>,
    extra: Vec<Node>,
    /// Nodes that are shared, by package and code with topology.
    shared: BTreeMap<String, NodeId>,
}

impl<'b> Builder<'b> {
    fn new(blocks: &'b [Block], packages: &'b BTreeMap<&'static str, &'static str>) -> Self {
        let index = blocks.iter().zip(0..).map(|(b, at)| (b.name, at)).collect();
        Self { blocks, packages, index, extra: Vec::new(), shared: BTreeMap::new() }
    }

    fn build(mut self) -> Result<Catalogue, TableError> {
        let mut nodes = Vec::with_capacity(self.blocks.len());
        let mut names = BTreeMap::new();
        let mut kinds = BTreeMap::new();
        let mut messages = Messages::default();
        for (block, id) in self.blocks.iter().zip(0..) {
            let (package, kind) = block.name.rsplit_once('.').unwrap_or_default();
            let full = format!("{}.{kind}", self.packages.get(package).copied().unwrap_or(package));
            if block.name == "apiextensions.v1.JSONSchemaProps" {
                messages.json_schema = id;
            }
            if let Some(gvk) = block.kind {
                let mut parts = gvk.splitn(3, '/');
                let mut part = || parts.next().unwrap_or_default();
                kinds.insert(Gvk::new(group(part()), part(), part()), NodeId(id));
            }
            names.insert(full.clone().into_boxed_str(), NodeId(id));
            let fields = self.struct_fields(block)?;
            let shape = Shape::Struct(Box::new(StructShape {
                fields,
                atomic: block.atomic,
                ..StructShape::default()
            }));
            nodes.push(Node { name: full.into(), shape, rules: None });
            messages.list.push(self.message(block)?);
        }
        nodes.extend(self.extra);
        let schema = Arc::new(Schema { nodes });
        let (resources, groups) = Default::default();
        Ok(Catalogue { resources, groups, kinds, names, schema, messages })
    }

    /// The fields in JSON: those of inlined messages stand among its own.
    fn struct_fields(&mut self, block: &'b Block) -> Result<BTreeMap<Box<str>, Field>, TableError> {
        let mut fields = BTreeMap::new();
        for line in &block.fields {
            if line.name == "*" {
                let inlined = &self.blocks[self.block(line.code, block, line.at)? as usize];
                fields.extend(self.struct_fields(inlined)?);
                continue;
            }
            let default = match line.default.map(serde_json::from_str::<Value>) {
                Some(Err(_)) => {
                    return Err(TableError { line: line.at, problem: "a default is not JSON" });
                }
                Some(Ok(value)) => Some(value),
                None => None,
            };
            let field = Field {
                node: self.node(line, line.code, block)?,
                required: line.flags.contains('r'),
                nullable: false,
                default,
            };
            fields.insert(line.name.into(), field);
        }
        Ok(fields)
    }

    fn block(&self, code: &str, within: &Block, at: usize) -> Result<u32, TableError> {
        let name = match code.strip_prefix('.') {
            Some(kind) => format!("{}.{kind}", within.name.rsplit_once('.').unwrap_or_default().0),
            None => code.to_owned(),
        };
        self.index
            .get(name.as_str())
            .copied()
            .ok_or(TableError { line: at, problem: "refers to an unknown type" })
    }

    fn node(&mut self, line: &Line, code: &str, within: &'b Block) -> Result<NodeId, TableError> {
        if code.contains('.') && !code.starts_with(['[', '{']) && !code.contains('~') {
            return self.block(code, within, line.at).map(NodeId);
        }
        let package = if code.contains('.') {
            within.name.rsplit_once('.').unwrap_or_default().0
        } else {
            ""
        };
        let outermost = code == line.code;
        let (topology, patch) = if outermost { (line.topology, line.patch) } else { (None, None) };
        let key = format!("{package} {code} {topology:?} {patch:?}");
        if let Some(id) = self.shared.get(&key) {
            return Ok(*id);
        }
        let shape = if let Some(item) = code.strip_prefix('[') {
            Shape::List {
                item: self.node(line, item, within)?,
                topology: read_topology(topology),
                patch: read_patch(patch),
            }
        } else if let Some(value) = code.strip_prefix('{') {
            let atomic = value.starts_with('!');
            Shape::Map { value: self.node(line, value.trim_start_matches('!'), within)?, atomic }
        } else if let Some((name, variant)) = code.split_once('~') {
            self.variant(name, variant, line.at, within)?
        } else {
            scalar(code).ok_or(TableError { line: line.at, problem: "an unknown type" })?
        };
        let name = match code.split_once('~') {
            Some((name, _)) => self.full_name(self.block(name, within, line.at)?),
            None => Box::default(),
        };
        let at = self.blocks.len() + self.extra.len();
        let id = NodeId(
            u32::try_from(at)
                .map_err(|_| TableError { line: line.at, problem: "too many types" })?,
        );
        self.extra.push(Node { name, shape, rules: None });
        self.shared.insert(key, id);
        Ok(id)
    }

    fn full_name(&self, block: u32) -> Box<str> {
        let (package, kind) = self.blocks[block as usize].name.rsplit_once('.').unwrap_or_default();
        format!("{}.{kind}", self.packages.get(package).copied().unwrap_or(package)).into()
    }

    /// A type that one field treats otherwise than the rest do.
    fn variant(
        &mut self,
        name: &str,
        variant: &str,
        at: usize,
        within: &Block,
    ) -> Result<Shape, TableError> {
        let block = &self.blocks[self.block(name, within, at)? as usize];
        let mut shape = StructShape {
            fields: self.struct_fields(block)?,
            atomic: block.atomic,
            ..StructShape::default()
        };
        match variant {
            "retainKeys" => shape.retain_keys = true,
            "granular" => shape.atomic = false,
            "replace" => shape.replace = true,
            _ => return Err(TableError { line: at, problem: "an unknown variant" }),
        }
        Ok(Shape::Struct(Box::new(shape)))
    }

    fn message(&self, block: &Block) -> Result<Message, TableError> {
        let mut fields = Vec::new();
        for line in block.fields.iter().filter(|l| l.number != 0) {
            let (holds, code) = match (line.code.as_bytes(), line.flags.contains('w')) {
                ([b'[', ..], false) => (Holds::List, &line.code[1..]),
                ([b'[', ..], true) => (Holds::WrappedList, &line.code[1..]),
                ([b'{', b'[', ..], _) => (Holds::MapOfLists, &line.code[2..]),
                ([b'{', ..], _) => (Holds::Map, line.code[1..].trim_start_matches('!')),
                _ => (Holds::One, line.code),
            };
            let code = code.split('~').next().unwrap_or_default();
            let kind = match scalar_kind(code) {
                Some(kind) => kind,
                None => Kind::Message(self.block(code, block, line.at)?),
            };
            let inline = line.name == "*";
            let flags = Flags {
                omit_empty: line.flags.contains('o'),
                omit_zero: line.flags.contains('z'),
                pointer: line.flags.contains('p'),
                inline,
            };
            let name = if inline { line.code } else { line.name };
            fields.push(WireField { number: line.number, name, holds, kind, flags });
        }
        fields.sort_by_key(|f| f.number);
        if fields.windows(2).any(|pair| pair[0].number == pair[1].number) {
            let line = block.fields.first().map_or(0, |l| l.at);
            return Err(TableError { line, problem: "two fields have one number" });
        }
        Ok(Message { name: block.name, fields: fields.into() })
    }
}

fn scalar(code: &str) -> Option<Shape> {
    Some(match code {
        "s" => Shape::String(StringKind::Plain),
        "y" => Shape::String(StringKind::Bytes),
        "t" => Shape::String(StringKind::Time),
        "u" => Shape::String(StringKind::MicroTime),
        "b" => Shape::Boolean,
        "i" => Shape::Integer { wide: false },
        "l" => Shape::Integer { wide: true },
        "n" => Shape::Number,
        "q" => Shape::Quantity,
        "x" => Shape::IntOrString,
        "a" | "B" | "Y" | "S" => Shape::Any,
        _ => return None,
    })
}

fn scalar_kind(code: &str) -> Option<Kind> {
    Some(match code {
        "s" => Kind::String,
        "y" => Kind::Bytes,
        "t" => Kind::Time,
        "u" => Kind::MicroTime,
        "b" => Kind::Bool,
        "i" => Kind::Int32,
        "l" => Kind::Int64,
        "n" => Kind::Double,
        "q" => Kind::Quantity,
        "x" => Kind::IntOrString,
        "a" => Kind::Raw,
        "B" => Kind::SchemaOrBool,
        "Y" => Kind::SchemaOrArray,
        "S" => Kind::SchemaOrStrings,
        _ => return None,
    })
}

fn read_topology(word: Option<&str>) -> ListTopology {
    match word {
        None => ListTopology::Atomic,
        Some("set") => ListTopology::Set,
        Some(keys) => ListTopology::Map { keys: keys.split(',').map(Into::into).collect() },
    }
}

fn read_patch(word: Option<&str>) -> PatchStrategy {
    let Some(word) = word else { return PatchStrategy::default() };
    let (strategies, key) = word.split_once(':').map_or((word, None), |(s, k)| (s, Some(k)));
    PatchStrategy {
        merge: strategies.split(',').any(|s| s == "merge"),
        retain_keys: strategies.split(',').any(|s| s == "retainKeys"),
        merge_key: key.map(Into::into),
    }
}
