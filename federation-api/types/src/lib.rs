//! The nouns of Archipel: kinds, names, conditions, validation and review types.
