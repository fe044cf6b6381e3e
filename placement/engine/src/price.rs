//! What a node costs per hour, from the price books: the newest price that fits most closely, and how far to trust it.

use std::collections::BTreeMap;

use federation_types::{
    money::Money,
    price::PriceBookSpec,
    validate::{self, days},
};

use crate::rates::RateBook;

/// How far a price is to be trusted (RULES 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    Known,
    /// Usable, flagged, loses ties.
    Undated,
    /// Older than its book allows: ranks at × 1.25, flagged.
    Stale,
}

/// A price per hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// As the book states it.
    pub hour: Money,
    pub trust: Trust,
    /// From a sample book: every figure made of it says so.
    pub sample: bool,
    pub source: String,
    /// Of a spot price: between so many and so many per cent of such nodes are taken away in a month.
    pub interrupts: Option<(u32, u32)>,
}

impl Price {
    /// A price that is dated and not from a sample.
    pub(crate) fn known(hour: Money) -> Self {
        Self { hour, trust: Trust::Known, sample: false, source: String::new(), interrupts: None }
    }

    /// What the price counts as in a decision: a stale one ranks a quarter dearer (RULES 5.4).
    pub fn ranked(&self) -> Money {
        match self.trust {
            Trust::Stale => Money(self.hour.0.saturating_add(self.hour.0 / 4)),
            Trust::Known | Trust::Undated => self.hour,
        }
    }
}

/// Prices by provider, instance type, region and zone.
#[derive(Clone, Debug, Default)]
pub struct PriceIndex {
    prices: BTreeMap<(String, String), Vec<Entry>>,
    spot: BTreeMap<(String, String), Vec<Entry>>,
    pub(crate) rates: RateBook,
}

#[derive(Clone, Debug)]
struct Entry {
    region: String,
    zone: String,
    /// Dearer in trust first: not from a sample, then newer, then by the name of the book.
    order: (bool, i64, String),
    price: Price,
}

impl PriceIndex {
    /// From all books by name; `as_of` is the date the fleet is seen at (`2026-11-21…`), against which ages count.
    pub fn build<'a>(
        books: impl IntoIterator<Item = (&'a str, &'a PriceBookSpec)>,
        as_of: &str,
    ) -> Self {
        let today = days(as_of);
        let mut index = Self::default();
        for (name, book) in books {
            index.rates.add(book, today);
            let max_age = book.max_age.as_deref().and_then(validate::seconds);
            for row in &book.prices {
                let date = days(&row.as_of);
                let age = today.zip(date).map(|(today, date)| (today - date).max(0).unsigned_abs());
                let trust = match (date, age, max_age) {
                    (None, _, _) => Trust::Undated,
                    (Some(_), Some(age), Some(max)) if age.saturating_mul(86_400) > max => {
                        Trust::Stale
                    }
                    _ => Trust::Known,
                };
                let entry = |hour: Money, interrupts: Option<(u32, u32)>| Entry {
                    region: row.region.clone(),
                    zone: row.zone.clone(),
                    order: (book.sample, -date.unwrap_or(i64::MIN / 2), name.to_owned()),
                    price: Price {
                        hour,
                        trust,
                        sample: book.sample,
                        source: if row.source.is_empty() {
                            format!("PriceBook {name}")
                        } else {
                            format!("PriceBook {name}: {}", row.source)
                        },
                        interrupts,
                    },
                };
                let key = (row.provider.clone(), row.instance_type.clone());
                let usd = |text: &Option<String>| text.as_deref().and_then(Money::parse_usd);
                if let Some(hour) = usd(&row.on_demand_usd_hour) {
                    index.prices.entry(key.clone()).or_default().push(entry(hour, None));
                }
                if let Some(hour) = usd(&row.spot_usd_hour) {
                    let (min, max) =
                        (row.spot_interrupt_percent_min, row.spot_interrupt_percent_max);
                    let interrupts = max.or(min).map(|max| (min.unwrap_or(0), max));
                    index.spot.entry(key).or_default().push(entry(hour, interrupts));
                }
            }
        }
        for entries in index.prices.values_mut().chain(index.spot.values_mut()) {
            entries.sort_by(|a, b| (&a.order, a.price.hour).cmp(&(&b.order, b.price.hour)));
        }
        index
    }

    /// The price of a node, the closest place first: zone, region, provider.
    pub fn find(&self, provider: &str, region: &str, zone: &str, kind: &str) -> Option<&Price> {
        closest(self.prices.get(&(provider.to_owned(), kind.to_owned()))?, region, zone)
    }

    /// The same of a spot node.
    pub fn find_spot(
        &self,
        provider: &str,
        region: &str,
        zone: &str,
        kind: &str,
    ) -> Option<&Price> {
        closest(self.spot.get(&(provider.to_owned(), kind.to_owned()))?, region, zone)
    }
}

fn closest<'a>(entries: &'a [Entry], region: &str, zone: &str) -> Option<&'a Price> {
    let fits = |it: &&Entry| {
        (it.region.is_empty() || it.region == region) && (it.zone.is_empty() || it.zone == zone)
    };
    let closeness = |it: &Entry| (!it.zone.is_empty(), !it.region.is_empty());
    entries
        .iter()
        .filter(fits)
        .reduce(|best, it| if closeness(it) > closeness(best) { it } else { best })
        .map(|it| &it.price)
}

#[cfg(test)]
mod tests {
    use federation_types::price::NodePrice;

    use super::*;

    fn row(region: &str, zone: &str, usd: &str, as_of: &str) -> NodePrice {
        NodePrice {
            provider: "eks".into(),
            region: region.into(),
            zone: zone.into(),
            instance_type: "m6i.xlarge".into(),
            on_demand_usd_hour: (!usd.is_empty()).then(|| usd.to_owned()),
            as_of: as_of.into(),
            ..NodePrice::default()
        }
    }

    fn index(max_age: Option<&str>, rows: Vec<NodePrice>) -> PriceIndex {
        let book = PriceBookSpec {
            max_age: max_age.map(str::to_owned),
            prices: rows,
            ..PriceBookSpec::default()
        };
        PriceIndex::build([("book", &book)], "2026-11-21T00:00:00Z")
    }

    #[test]
    fn the_closest_place_wins() {
        let index = index(
            None,
            vec![
                row("", "", "0.10", "2026-11-01"),
                row("eu-west-1", "", "0.20", "2026-11-01"),
                row("eu-west-1", "eu-west-1a", "0.30", "2026-11-01"),
            ],
        );
        let hour = |region, zone| index.find("eks", region, zone, "m6i.xlarge").unwrap().hour.0;
        assert_eq!(hour("us-east-1", ""), 100_000);
        assert_eq!(hour("eu-west-1", "eu-west-1b"), 200_000);
        assert_eq!(hour("eu-west-1", "eu-west-1a"), 300_000);
        assert!(index.find("gke", "eu-west-1", "", "m6i.xlarge").is_none());
    }

    #[test]
    fn rule_5_4_a_stale_price_ranks_a_quarter_dearer_and_an_undated_one_is_usable() {
        let stale = index(Some("720h"), vec![row("", "", "0.20", "2026-10-01")]);
        let price = stale.find("eks", "", "", "m6i.xlarge").unwrap();
        assert_eq!((price.trust, price.ranked().0), (Trust::Stale, 250_000));
        let undated = index(Some("720h"), vec![row("", "", "0.20", "")]);
        let price = undated.find("eks", "", "", "m6i.xlarge").unwrap();
        assert_eq!((price.trust, price.ranked().0), (Trust::Undated, 200_000));
        let unknown = index(None, vec![row("", "", "", "2026-11-01")]);
        assert!(unknown.find("eks", "", "", "m6i.xlarge").is_none());
    }
}
