//! How built-in types look on the protobuf wire.

/// The messages of a catalogue; the index of a message is the index of its struct's node.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) list: Vec<Message>,
    /// `JSONSchemaProps`, which some special messages hold.
    pub(crate) json_schema: u32,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    /// `core.v1.Pod`, as errors name it.
    pub(crate) name: &'static str,
    /// By number.
    pub(crate) fields: Box<[WireField]>,
}

impl Message {
    /// The place of the field with this number.
    pub(crate) fn field(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }
}

/// One field of a message.
#[derive(Debug)]
pub(crate) struct WireField {
    pub(crate) number: u32,
    /// The name in JSON; of an inlined message its own name.
    pub(crate) name: &'static str,
    pub(crate) holds: Holds,
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
}

/// What Go's JSON encoder does with the field.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// `omitempty`: left out when it is an empty list or map, a zero scalar, or absent.
    pub(crate) omit_empty: bool,
    /// `omitzero`: left out when zero, structs too.
    pub(crate) omit_zero: bool,
    /// Absent and zero are told apart.
    pub(crate) pointer: bool,
    /// `inline`: the fields stand in the parent's JSON object.
    pub(crate) inline: bool,
}

/// How many values there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    One,
    List,
    /// A list inside a message of its own (field 1, `items`).
    WrappedList,
    Map,
    /// A map whose values are wrapped lists.
    MapOfLists,
}

/// What each value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Double,
    String,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON text in a message's field 1: RawExtension, FieldsV1, JSON.
    Raw,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStrings,
    Message(u32),
}
