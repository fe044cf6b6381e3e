//! `Cost`: what workloads cost in a month as they are placed, and beside it as they run now, at the same prices.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::Money;

/// Of what, and how it is added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CostSpec {
    /// Only what is placed from this namespace; empty: from all, which takes the right to list Placements everywhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(default)]
    pub by: CostBy,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostBy {
    #[default]
    Template,
    Namespace,
    Policy,
    Cluster,
    Provider,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostStatus {
    pub by: CostBy,
    /// The dearest first.
    pub rows: Vec<CostRow>,
    pub total: CostRow,
    /// What is to be said of the figures.
    pub notes: Vec<String>,
}

/// What a row's placements cost: as they are meant to be, and as members last reported them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostRow {
    pub name: String,
    pub estimate: CostFigures,
    pub realised: CostFigures,
}

/// Dollars a month, and what stands in the way of a whole figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostFigures {
    /// Each replica its share of a node, with what it brings along.
    #[serde(rename = "monthlyUsd", with = "usd")]
    pub allocated: Money,
    /// Of that, what the bill loses once it is gone.
    #[serde(rename = "marginalMonthlyUsd", with = "usd")]
    pub marginal: Money,
    /// Of that, what runs on nodes that are paid for in advance.
    #[serde(rename = "committedMonthlyUsd", with = "usd")]
    pub committed: Money,
    /// Some price is unknown: the figures are lower bounds.
    pub at_least: bool,
    pub copies: i64,
    pub replicas: i64,
}

impl CostFigures {
    /// Adds another one to it.
    pub fn add(&mut self, other: &Self) {
        self.allocated += other.allocated;
        self.marginal += other.marginal;
        self.committed += other.committed;
        self.at_least |= other.at_least;
        self.copies += other.copies;
        self.replicas += other.replicas;
    }

    /// One of its amounts for people: `at least $12.00`.
    pub fn text(&self, amount: Money) -> String {
        if self.at_least { format!("at least {amount}") } else { amount.to_string() }
    }
}

/// Dollars as decimal text, in cents.
mod usd {
    use super::{Deserialize, Deserializer, Money, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&it.decimal())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Money, D::Error> {
        let text = String::deserialize(from)?;
        Money::parse_usd(&text).ok_or_else(|| super::not_dollars(&text))
    }
}

fn not_dollars<E: serde::de::Error>(text: &str) -> E {
    E::custom(format!("`{text}` is not an amount in dollars"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_dollars_as_text() {
        let value = json!({"monthlyUsd": "12.34", "marginalMonthlyUsd": "0.00", "committedMonthlyUsd": "1.00",
                           "atLeast": true, "copies": 1, "replicas": 2});
        let figures: CostFigures = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(figures.text(figures.allocated), "at least $12.34");
        assert_eq!(serde_json::to_value(figures).unwrap(), value);
        let error = serde_json::from_value::<CostSpec>(json!({"by": "colour"})).unwrap_err();
        assert!(error.to_string().contains("unknown variant `colour`"), "{error}");
    }
}
