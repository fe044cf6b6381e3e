//! What is paid beside nodes, from the price books: charges by name, licences by node, storage, egress; and which nodes
//! are paid for in advance.

use std::collections::BTreeMap;

use federation_types::{
    cluster::MemberClusterSpec,
    money::Money,
    price::{ChargeUnit, Commitment, EgressClass, PriceBookSpec},
    validate::days,
};
use serde::Serialize;

/// A rate in µ$, and whether it comes from a sample book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rate {
    pub micros: i64,
    pub sample: bool,
}

/// The rates of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Per hour, for each cluster that a workload is in which brings it.
    pub charges: BTreeMap<String, Rate>,
    /// Per hour and node, by name.
    pub per_node: BTreeMap<String, Rate>,
    /// Per GiB and month by storage class; the empty class is for all others.
    pub storage: BTreeMap<String, Rate>,
    /// Per GiB.
    egress: BTreeMap<EgressClass, Rate>,
}

impl Rates {
    /// All licences of one node together, per hour.
    pub fn node(&self) -> Money {
        self.per_node.values().map(|it| Money(it.micros)).sum()
    }

    /// What a GiB of a storage class costs per month.
    pub fn storage(&self, class: &str) -> Option<Rate> {
        self.storage.get(class).or_else(|| self.storage.get("")).copied()
    }

    /// What a GiB costs that goes so far; to another provider it costs what the internet does, unless a price is given.
    pub fn egress(&self, class: EgressClass) -> Option<Rate> {
        let internet = || match class {
            EgressClass::Provider => self.egress.get(&EgressClass::Internet),
            EgressClass::Zone | EgressClass::Region | EgressClass::Internet => None,
        };
        self.egress.get(&class).or_else(internet).copied()
    }
}

/// How far traffic goes from a cluster to a place; `None`: it stays where it costs nothing.
pub(crate) fn distance(
    from: &MemberClusterSpec,
    provider: &str,
    region: &str,
    zones: Option<&[String]>,
) -> Option<EgressClass> {
    if from.provider != provider {
        return Some(EgressClass::Provider);
    }
    if from.region != region {
        return Some(EgressClass::Region);
    }
    // A managed service answers in every zone of its region.
    zones.is_some_and(|it| it != from.zones).then_some(EgressClass::Zone)
}

/// How closely a row fits: region, provider, anywhere; then own books before samples.
type Fit = (bool, bool, bool);

#[derive(Clone, Debug)]
struct Row<K> {
    provider: String,
    region: String,
    key: K,
    rate: Rate,
}

impl<K> Row<K> {
    fn fit(&self, provider: &str, region: &str) -> Option<Fit> {
        let fits = |own: &str, asked: &str| own.is_empty() || own == asked;
        (fits(&self.provider, provider) && fits(&self.region, region)).then_some((
            !self.region.is_empty(),
            !self.provider.is_empty(),
            !self.rate.sample,
        ))
    }
}

/// The rates of all books.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateBook {
    charges: Vec<Row<(ChargeUnit, String)>>,
    storage: Vec<Row<String>>,
    egress: Vec<Row<EgressClass>>,
    /// Those that have not ended.
    pub(crate) commitments: Vec<Commitment>,
}

impl RateBook {
    /// Takes a book in; the earlier one wins where two fit equally. `today` is in days since 1970.
    pub(crate) fn add(&mut self, book: &PriceBookSpec, today: Option<i64>) {
        let row = |provider: &str, region: &str, usd: &str| {
            let rate = Rate { micros: Money::parse_usd(usd)?.0, sample: book.sample };
            Some(Row { provider: provider.to_owned(), region: region.to_owned(), key: (), rate })
        };
        self.charges.extend(book.charges.iter().filter_map(|it| {
            let row = row(&it.provider, &it.region, &it.usd_hour)?;
            Some(row.of((it.per, it.name.clone())))
        }));
        self.storage.extend(book.storage.iter().filter_map(|it| {
            Some(row(&it.provider, &it.region, &it.usd_gib_month)?.of(it.class.clone()))
        }));
        self.egress.extend(
            book.egress
                .iter()
                .filter_map(|it| Some(row(&it.provider, &it.region, &it.usd_gib)?.of(it.to))),
        );
        let runs = |it: &&Commitment| match it.until.as_deref().and_then(days).zip(today) {
            Some((until, today)) => today <= until,
            None => true,
        };
        self.commitments.extend(book.commitments.iter().filter(runs).cloned());
    }

    /// The rates of a place.
    pub(crate) fn of(&self, provider: &str, region: &str) -> Rates {
        let mut rates = Rates {
            storage: closest(&self.storage, provider, region),
            egress: closest(&self.egress, provider, region),
            ..Rates::default()
        };
        for ((unit, name), rate) in closest(&self.charges, provider, region) {
            match unit {
                ChargeUnit::Cluster => rates.charges.insert(name, rate),
                ChargeUnit::Node => rates.per_node.insert(name, rate),
            };
        }
        rates
    }
}

impl Row<()> {
    fn of<K>(self, key: K) -> Row<K> {
        Row { provider: self.provider, region: self.region, key, rate: self.rate }
    }
}

fn closest<K: Ord + Clone>(rows: &[Row<K>], provider: &str, region: &str) -> BTreeMap<K, Rate> {
    let mut best: BTreeMap<K, (Fit, Rate)> = BTreeMap::new();
    for row in rows {
        let Some(fit) = row.fit(provider, region) else { continue };
        if best.get(&row.key).is_none_or(|(it, _)| fit > *it) {
            best.insert(row.key.clone(), (fit, row.rate));
        }
    }
    best.into_iter().map(|(key, (_, rate))| (key, rate)).collect()
}

#[cfg(test)]
mod tests {
    use federation_types::price::{Charge, EgressPrice};

    use super::*;

    #[test]
    fn the_closest_rate_counts_and_an_own_one_before_the_sample() {
        let charge = |provider: &str, region: &str, usd: &str| Charge {
            name: "nat".into(),
            provider: provider.into(),
            region: region.into(),
            usd_hour: usd.into(),
            ..Charge::default()
        };
        let sample = PriceBookSpec {
            sample: true,
            charges: vec![charge("eks", "", "0.04"), charge("eks", "eu", "0.05")],
            ..PriceBookSpec::default()
        };
        let own = PriceBookSpec { charges: vec![charge("eks", "", "0.03")], ..Default::default() };
        let mut book = RateBook::default();
        book.add(&sample, None);
        book.add(&own, None);
        let nat = |region: &str| book.of("eks", region).charges["nat"];
        assert_eq!(nat("us"), Rate { micros: 30_000, sample: false });
        assert_eq!(nat("eu"), Rate { micros: 50_000, sample: true });
        assert!(book.of("gke", "eu").charges.is_empty());
    }

    #[test]
    fn to_another_cloud_costs_what_the_internet_does_unless_it_is_said() {
        let price = |to, usd: &str| EgressPrice { to, usd_gib: usd.into(), ..Default::default() };
        let mut spec = PriceBookSpec {
            egress: vec![price(EgressClass::Internet, "0.09")],
            ..PriceBookSpec::default()
        };
        let other = |spec: &PriceBookSpec| {
            let mut book = RateBook::default();
            book.add(spec, None);
            book.of("eks", "").egress(EgressClass::Provider).map(|it| it.micros)
        };
        assert_eq!(other(&spec), Some(90_000));
        spec.egress.push(price(EgressClass::Provider, "0.02"));
        assert_eq!(other(&spec), Some(20_000));
    }

    #[test]
    fn distances_are_told() {
        let place = |provider: &str, region: &str, zone: &str| MemberClusterSpec {
            provider: provider.into(),
            region: region.into(),
            zones: vec![zone.into()],
            ..MemberClusterSpec::default()
        };
        let from = place("eks", "eu", "a");
        let to =
            |it: &MemberClusterSpec| distance(&from, &it.provider, &it.region, Some(&it.zones));
        assert_eq!(to(&place("eks", "eu", "a")), None);
        assert_eq!(to(&place("eks", "eu", "b")), Some(EgressClass::Zone));
        assert_eq!(to(&place("eks", "us", "a")), Some(EgressClass::Region));
        assert_eq!(to(&place("gke", "eu", "a")), Some(EgressClass::Provider));
        assert_eq!(distance(&from, "eks", "eu", None), None);
    }
}
